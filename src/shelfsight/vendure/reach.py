"""Where files of a Vendure server are asked for: on that server wherever it is, and on the public internet."""

from __future__ import annotations

import ipaddress
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shelfsight.catalog.fetch import REDIRECTS, REDIRECTS_MOST
from shelfsight.catalog.reach import SECONDS_A_URL, Reach, checked_url, header_of, is_public, redirected, resolve
from shelfsight.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpcore2

    from shelfsight.catalog.reach import Web

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a server that may answer later."""

_PORTS = {"http": 80, "https": 443}


class NotAllowedError(UnreachableError):
    """An address that may not be asked: it will not be allowed later either."""


def own_reach(api_url: str, *, seconds: float = SECONDS_A_URL) -> Reach:
    """Return what may be asked for the files of the Vendure whose Admin API is at `api_url`.

    That server, by host and port, may be anywhere; http and https on their usual ports are one. Every other one must
    be on the public internet.

    Args:
        seconds: for an answer, with all that it redirects to.
    """
    parts = urlsplit(api_url)
    host = (parts.hostname or "").encode("idna").decode()
    port = parts.port or _PORTS[parts.scheme]
    own = {(host, one) for one in (_PORTS.values() if port in _PORTS.values() else [port])}

    def resolved(host: str, port: int) -> list[str]:
        found = resolve(host, port)
        if (host, port) not in own and not all(is_public(ipaddress.ip_address(address)) for address in found):
            raise NotAllowedError("its server is neither Vendure's own nor on the public internet")
        return found

    return Reach(is_allowed=lambda _: True, resolve=resolved, ports=None, seconds=seconds)


@contextmanager
def answered(
    url: str, web: Web, reach: Reach, headers: Sequence[tuple[bytes, bytes]], *, ends_at: float = float("inf")
) -> Iterator[httpcore2.Response]:
    """Yield what is answered at a URL, or where it redirects to, each place of which may be asked.

    Args:
        web: what asks within `reach`.
        ends_at: as of `Web.asking`.

    Raises:
        NotAllowedError: a place may never be asked, or there are too many of them.
        UnreachableError: the server does not answer; it may do so later.
    """
    with web.asking(ends_at=ends_at) as pool:
        for _ in range(REDIRECTS_MOST + 1):
            target = _checked(url, reach)
            with pool.stream("GET", target, headers=list(headers)) as response:
                location = header_of(response, b"location")
                if response.status not in REDIRECTS or not location:
                    yield response
                    return
            url = _redirected(target, location)
    raise NotAllowedError(f"redirected more than {REDIRECTS_MOST} times")


def _checked(url: str, reach: Reach) -> str:
    try:
        return checked_url(url, reach)
    except UnreachableError as exc:
        raise NotAllowedError(str(exc)) from None


def _redirected(url: str, location: str) -> str:
    try:
        return redirected(url, location)
    except UnreachableError as exc:
        raise NotAllowedError(str(exc)) from None
