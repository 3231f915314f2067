"""Reads a deployed file back, as anybody would: without credentials, and from nowhere else inside."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from shelfsight.catalog.fetch import picture_in
from shelfsight.catalog.reach import Web
from shelfsight.errors import PictureError, UnavailableError, UnreachableError, VendureError
from shelfsight.vendure.reach import BUSY, NotAllowedError, answered, own_reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.catalog.reach import Reach

FILE_BYTES_MOST = 200 * 2**20

_WITHIN_S = 300.0
"""For a file, however often it is tried."""
_DELAYS_S = (0.0, 0.5, 2.0, 6.0)
"""Before each try."""
_HEADERS = [(b"accept", b"*/*"), (b"accept-encoding", b"identity"), (b"user-agent", b"shelfsight")]


def fetch_file(url: str, api_url: str, *, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """Return the bytes at the URL of an asset.

    Args:
        api_url: of Vendure's Admin API, whose server may be anywhere; others must be on the public internet.
        sleep: how to wait before each try.

    Raises:
        VendureError: they are not there, may not be asked for, or are more than `FILE_BYTES_MOST`.
        UnavailableError: the server does not answer.
    """
    reach, ends_at = own_reach(api_url, seconds=_WITHIN_S), time.monotonic() + _WITHIN_S
    reason = ""
    for delay_s in _DELAYS_S:
        sleep(delay_s)
        found = _once(url, reach, ends_at)
        if isinstance(found, bytes):
            return found
        reason = found
    raise UnavailableError(f"{url[:200]} cannot be read now: {reason}; try again later")


def _once(url: str, reach: Reach, ends_at: float) -> bytes | str:
    """Return the bytes, or why they cannot be had at the moment."""
    try:
        with closing(Web(reach)) as web, answered(url, web, reach, _HEADERS, ends_at=ends_at) as response:
            if response.status in BUSY:
                return f"the server answers {response.status}"
            return picture_in(response, FILE_BYTES_MOST)
    except (NotAllowedError, PictureError) as exc:
        advice = "check Vendure's asset server, its assetUrlPrefix, and proxies before it"
        raise VendureError(f"{url[:200]} cannot be read: {exc}; {advice}") from None
    except UnreachableError as exc:
        return str(exc)
