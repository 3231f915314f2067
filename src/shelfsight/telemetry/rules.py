"""What devices may report. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shelfsight.moments import is_sensible

MOST_EVENTS = 500
"""That one request may bring."""

EVENTS_A_MINUTE = 6_000
"""Of a channel: a supermarket's 50 tills, each recognising once a second, reporting that and its shadow's answer."""


class EventKind(StrEnum):
    """What happened on a device."""

    PREDICTION = "prediction"
    CORRECTION = "correction"
    SHADOW = "shadow"
    LOAD_FAILURE = "load_failure"
    DOWNLOAD_FAILURE = "download_failure"
    CHECKSUM_FAILURE = "checksum_failure"
    CONFIG_FAILURE = "config_failure"
    CACHE_HIT = "cache_hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a device reports.

    Attributes:
        id: the device's own; the same again is the same event.
        at: by the clock of the device, which may be wrong.
        version: of the model that it is about, None where there was none.
        device: HMAC of its local id with the release's salt: the same device within a release, nobody beyond.
        product: what the model answered.
        correct_product: what the person at the till chose instead.
        confidence: of the answer, 0..1.
        known: whether the confidence reached the threshold.
        latency_ms: from picture to answer.
        agrees: whether the shadow version answered as the active one.
        reason: of a failure, in words.
    """

    id: str
    at: datetime
    kind: EventKind
    version: str | None
    device: str | None
    product: str | None
    correct_product: str | None
    confidence: float | None
    known: bool | None
    latency_ms: float | None
    agrees: bool | None
    reason: str | None


def moment(at: datetime) -> datetime:
    """Return when something happened by a clock that may be wrong; without a time zone, it is UTC.

    Raises:
        ValueError: no clock shows it.
    """
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not is_sensible(aware):
        raise ValueError("no clock shows that: a year is 1970 to 9998")
    return aware
