"""Pictures from addresses on the web that a stranger names."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from shelfsight.catalog.images import MAX_IMAGE_BYTES, Added, Outcome, Upload
from shelfsight.catalog.reach import Reach, checked_url, header_of, opened, redirected
from shelfsight.errors import PictureError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpcore2

URLS_MOST = 20
"""Most addresses in one call."""
REDIRECTS_MOST = 3
SECONDS_A_CALL = 50.0
_AT_ONCE = 4
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SLOTS = BoundedSemaphore(2 * _AT_ONCE)
"""Pictures in memory at a time, whoever asked for them."""
HEADERS = [(b"accept", b"image/*"), (b"accept-encoding", b"identity"), (b"user-agent", b"shelfsight")]


def fetch_each(urls: Sequence[str], add: Callable[[Upload], Added], reach: Reach | None = None) -> list[Added]:
    """Fetch pictures, a few at a time, and add each; return what became of them, in order.

    Args:
        add: called in threads, as soon as its picture is there, so that few are in memory.

    Raises:
        UsageError: there are too many.
    """
    if len(urls) > URLS_MOST:
        raise UsageError(f"{len(urls)} addresses at once: send at most {URLS_MOST}")
    chosen = reach or Reach()
    ends_at = time.monotonic() + SECONDS_A_CALL

    def fetch_one(url: str) -> Added:
        with _SLOTS:
            try:
                data = fetch(url, chosen, ends_at=ends_at)
            except PictureError as reason:
                return Added(name=url, outcome=Outcome.REFUSED, reason=str(reason))
            return add(Upload(name=url, data=data))

    with ThreadPoolExecutor(_AT_ONCE, "shelfsight-fetch") as pool:
        return list(pool.map(fetch_one, urls))


def fetch(url: str, reach: Reach, *, ends_at: float = float("inf")) -> bytes:
    """Return the bytes at a URL.

    Args:
        ends_at: when to give up, by the monotonic clock, if `reach.seconds` do not end before.

    Raises:
        PictureError: it is no URL that may be asked, does not answer in time, or with more than a picture.
    """
    try:
        with opened(reach, ends_at=ends_at) as pool:
            for _ in range(REDIRECTS_MOST + 1):
                target = checked_url(url, reach)
                with pool.stream("GET", target, headers=HEADERS) as response:
                    location = header_of(response, b"location")
                    if response.status not in REDIRECTS or not location:
                        return picture_in(response, min(reach.max_bytes, MAX_IMAGE_BYTES))
                url = redirected(target, location)
    except UnreachableError as exc:
        raise PictureError(str(exc)) from None
    raise PictureError(f"redirected more than {REDIRECTS_MOST} times")


def picture_in(response: httpcore2.Response, max_bytes: int) -> bytes:
    """Return the bytes of an answer.

    Raises:
        PictureError: it is another one than was asked for, or too large.
    """
    if response.status != 200:
        raise PictureError(f"the server answers {response.status}")
    if header_of(response, b"content-encoding") not in {"", "identity"}:
        raise PictureError("the server sends it compressed, though it was asked not to")
    too_large = f"larger than {max_bytes // 2**20} MiB"
    length = header_of(response, b"content-length")
    if length.isdecimal() and int(length) > max_bytes:
        raise PictureError(too_large)
    data = bytearray()
    for chunk in response.iter_stream():
        data += chunk
        if len(data) > max_bytes:
            raise PictureError(too_large)
    return bytes(data)
