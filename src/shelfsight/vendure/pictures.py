"""Fetches pictures from a Vendure server: a few at a time, slower when it is busy, and from nowhere else inside."""

from __future__ import annotations

import ipaddress
import time
from contextlib import contextmanager
from dataclasses import dataclass
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from shelfsight.catalog.fetch import HEADERS, REDIRECTS, REDIRECTS_MOST, picture_in
from shelfsight.catalog.images import MAX_IMAGE_BYTES
from shelfsight.catalog.reach import Reach, Web, checked_url, header_of, is_public, resolve
from shelfsight.errors import PictureError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpcore2

AT_ONCE = 4
"""Requests to a server at a time."""
TRIES = 4
"""For each picture, while its server is busy or silent."""

SILENT_MOST = 5
"""After so many pictures in a row that could not be fetched, their server is not asked any more."""

_PORTS = {"http": 80, "https": 443}
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_PAUSE_S = 0.5
_OWN_PAUSE_MOST_S = 8.0
_PAUSE_MOST_S = 60.0
_CONNECTION_KEPT_S = 3.0
"""Node closes one that is idle for five seconds."""

_DIGITS_MOST = 6


class _NotAllowedError(UnreachableError):
    """A server that may not be asked: it will not be allowed later either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Busy:
    """The server cannot answer now; `after_s`: when it wants to be asked again, None = it does not say."""

    reason: str
    after_s: float | None = None


class Pace:
    """How long all who fetch from a server wait when it is busy; threads share one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let the first request go at once."""
        self._clock = clock
        self._lock = Lock()
        self._busy = 0
        self._free_at = clock()

    def wait_s(self) -> float:
        """Return how long to wait before the next request."""
        with self._lock:
            return max(0.0, self._free_at - self._clock())

    def note(self, busy: _Busy | None) -> None:
        """Note how a request went; None: it was answered."""
        with self._lock:
            if busy is None:
                self._busy = 0
                return
            self._busy += 1
            own_s = min(_FIRST_PAUSE_S * 2 ** min(self._busy - 1, 10), _OWN_PAUSE_MOST_S)
            pause_s = max(own_s, min(busy.after_s or 0.0, _PAUSE_MOST_S))
            self._free_at = max(self._free_at, self._clock() + pause_s)


class Pictures:
    """The pictures of one Vendure server; threads share one."""

    def __init__(self, api_url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Fetch from the server of `api_url`, wherever it is, and from the public internet.

        Args:
            sleep: how to wait while it is busy.
        """
        own = _origin(api_url)
        self._reach = Reach(is_allowed=lambda _: True, resolve=lambda *place: _resolved(place, own), ports=None)
        self._webs: LifoQueue[Web] = LifoQueue(AT_ONCE)
        for _ in range(AT_ONCE):
            self._webs.put(Web(self._reach, keeps_s=_CONNECTION_KEPT_S))
        self._pace = Pace()
        self._sleep = sleep
        self._silent = 0
        self._is_closed = False

    def close(self) -> None:
        """Close the connections once they are idle; who fetches later is told that there is none."""
        self._is_closed = True
        for web in [self._webs.get() for _ in range(AT_ONCE)]:
            web.close()
            self._webs.put(web)

    def fetch(self, url: str) -> bytes:
        """Return the bytes of a picture.

        Raises:
            PictureError: it cannot be had, however often it is tried.
            UnavailableError: its server is busy or silent; later it may answer.
        """
        reason = ""
        for _ in range(TRIES):
            with self._web() as web:
                if self._is_closed or self._silent >= SILENT_MOST:
                    raise _away(url, "the sync has ended" if self._is_closed else "the server did not answer others")
                self._sleep(self._pace.wait_s())
                found = self._once(url, web)
            if isinstance(found, bytes):
                self._pace.note(None)
                self._silent = 0
                return found
            self._pace.note(found)
            reason = found.reason
        self._silent += 1
        raise _away(url, reason)

    @contextmanager
    def _web(self) -> Iterator[Web]:
        web = self._webs.get()
        try:
            yield web
        finally:
            self._webs.put(web)

    def _once(self, url: str, web: Web) -> bytes | _Busy:
        try:
            with web.asking() as pool:
                for _ in range(REDIRECTS_MOST + 1):
                    target = _checked(url, self._reach)
                    with pool.stream("GET", target, headers=HEADERS) as response:
                        if response.status in _BUSY:
                            return _Busy(reason=f"the server answers {response.status}", after_s=_after_s(response))
                        location = header_of(response, b"location")
                        if response.status not in REDIRECTS or not location:
                            return picture_in(response, MAX_IMAGE_BYTES)
                    url = urljoin(target, location)
        except _NotAllowedError as exc:
            raise PictureError(str(exc)) from None
        except UnreachableError as exc:
            return _Busy(reason=str(exc))
        raise PictureError(f"redirected more than {REDIRECTS_MOST} times")


def _away(url: str, reason: str) -> UnavailableError:
    return UnavailableError(f"{url[:200]} cannot be fetched now: {reason}")


def _checked(url: str, reach: Reach) -> str:
    try:
        return checked_url(url, reach)
    except UnreachableError as exc:
        raise _NotAllowedError(str(exc)) from None


def _resolved(place: tuple[str, int], own: tuple[str, int]) -> list[str]:
    """Return the addresses of a server; of another one than Vendure's own, only if all of them are public."""
    found = resolve(*place)
    if place != own and not all(is_public(ipaddress.ip_address(address)) for address in found):
        raise _NotAllowedError("its server is neither Vendure's own nor on the public internet")
    return found


def _origin(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    return host, parts.port or _PORTS[parts.scheme]


def _after_s(response: httpcore2.Response) -> float | None:
    said = header_of(response, b"retry-after")
    return float(said) if said.isascii() and said.isdigit() and len(said) <= _DIGITS_MOST else None
