"""Fetches pictures from a Vendure server: a few at a time, slower when it is busy, and from nowhere else inside."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING

from shelfsight.catalog.fetch import HEADERS, picture_in
from shelfsight.catalog.images import MAX_IMAGE_BYTES
from shelfsight.catalog.reach import Web, header_of
from shelfsight.errors import PictureError, UnavailableError, UnreachableError
from shelfsight.vendure.reach import BUSY, NotAllowedError, answered, own_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpcore2

AT_ONCE = 4
"""Requests to a server at a time."""
TRIES = 4
"""For each picture, while its server is busy or silent."""

SILENT_MOST = 5
"""After so many pictures in a row that could not be fetched, their server is not asked any more."""

_FIRST_PAUSE_S = 0.5
_OWN_PAUSE_MOST_S = 8.0
_PAUSE_MOST_S = 60.0
_CONNECTION_KEPT_S = 3.0
"""Node closes one that is idle for five seconds."""

_DIGITS_MOST = 6


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
        self._reach = own_reach(api_url)
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
            with answered(url, web, self._reach, HEADERS) as response:
                if response.status in BUSY:
                    return _Busy(reason=f"the server answers {response.status}", after_s=_after_s(response))
                return picture_in(response, MAX_IMAGE_BYTES)
        except NotAllowedError as exc:
            raise PictureError(str(exc)) from None
        except UnreachableError as exc:
            return _Busy(reason=str(exc))


def _away(url: str, reason: str) -> UnavailableError:
    return UnavailableError(f"{url[:200]} cannot be fetched now: {reason}")


def _after_s(response: httpcore2.Response) -> float | None:
    said = header_of(response, b"retry-after")
    return float(said) if said.isascii() and said.isdigit() and len(said) <= _DIGITS_MOST else None
