"""Time zones, as far as this machine knows them: what it knows lies on its disk."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_UNKNOWN = (ZoneInfoNotFoundError, OSError, ValueError)  # an OSError is the name of a folder


def zone_of(name: str) -> tzinfo:
    """Return a time zone; UTC where somebody has written into the table what is none."""
    try:
        return ZoneInfo(name)
    except _UNKNOWN:
        return UTC


def check_time_zone(name: str) -> None:
    """Refuse a time zone that this machine does not know.

    Raises:
        UsageError: it does not.
    """
    try:
        ZoneInfo(name)
    except _UNKNOWN:
        raise UsageError(f"timeZone is {name!r}, which is no time zone: use a name such as Europe/Berlin") from None
