"""What devices may report. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

MOST_EVENTS = 500
"""That one request may bring."""


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
