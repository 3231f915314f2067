"""Moments that a clock may show: databases and files hold others, and sums of them go wrong. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def is_sensible(at: datetime) -> bool:
    """Return whether any clock may show a moment: one with a time zone, of 1970 to 9998."""
    return at.tzinfo is not None and _EARLIEST <= at < _LATEST


def nearest(at: datetime) -> datetime:
    """Return a moment with a time zone, or the nearest that some clock may show."""
    return min(max(at, _EARLIEST), _LATEST)
