"""What a training is, as its row says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class TrainingState(StrEnum):
    """Where a training stands; all but the first two are for ever."""

    QUEUED = "queued"
    TRAINING = "training"
    READY = "ready"
    IDLE = "idle"  # too few products with photos: nothing to learn, and nobody's fault
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {TrainingState.QUEUED, TrainingState.TRAINING}


class Reason(StrEnum):
    """What started a training."""

    CHANGES = "changes"  # those of the catalogue, by themselves
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of a channel.

    Attributes:
        stage, done, total: how far it is; a total of 0 is not known.
        error: why it failed, or what is missing.
        gate: what the comparison with the active version says.
        forced: whether it becomes stable whatever the gate says.
        version: what it published.
        training_duration: seconds.
    """

    id: int
    channel: str
    status: TrainingState
    reason: Reason
    requested_by: str
    forced: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_at: datetime | None
    stage: str
    done: int
    total: int
    version: str | None
    product_count: int | None
    image_count: int | None
    training_duration: float | None
    accuracy: float | None
    error: str | None
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """Something that was done in a training."""

    at: datetime
    line: str
