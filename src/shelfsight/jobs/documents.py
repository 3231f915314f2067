"""Trainings as JSON."""

from datetime import UTC, datetime
from math import ceil
from typing import Self

from pydantic import Field

from shelfsight.api.documents import ApiDocument
from shelfsight.jobs.trainings import Reason, Training, TrainingState


class TrainingRequestDocument(ApiDocument):
    """How to train."""

    force: bool = Field(
        default=False, description="Make it stable even if it is clearly worse than the active version"
    )


class LogDocument(ApiDocument):
    """Something that was done in a training."""

    at: datetime
    line: str


class TrainingDocument(ApiDocument):
    """A training of a channel."""

    id: int
    channel_id: str
    status: TrainingState
    reason: Reason = Field(description="What started it: changes of the catalogue, or a person")
    requested_by: str
    forced: bool = Field(description="Whether it becomes stable whatever the gate says")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_at: datetime | None = Field(description="When somebody asked for its end")
    stage: str = Field(description="What is being done, such as Looking at photos; empty before it begins")
    done: int
    total: int = Field(description="Of which so many are `done`; 0 where nobody knows")
    eta_seconds: int | None = Field(description="Until the end of the stage, if it goes on as so far; null = unknown")
    version: str | None = Field(description="What it published")
    product_count: int | None
    image_count: int | None
    training_duration: float | None = Field(description="Seconds")
    accuracy: float | None = Field(description="Held-out share of right answers")
    error: str | None = Field(description="Why it failed, or what is missing")
    gate: str = Field(description="What the comparison with the active version says")

    @classmethod
    def of(cls, training: Training, *, now: datetime | None = None) -> Self:
        """Return the document of a training, as it is now."""
        own = {
            name: getattr(training, name) for name in cls.model_fields if name not in {"channel_id", "eta_seconds"}
        }
        eta = eta_s(training, now or datetime.now(UTC))
        return cls(**own, channel_id=training.channel, eta_seconds=eta)


def eta_s(training: Training, now: datetime) -> int | None:
    """Return the seconds until the end of the stage, None where nobody knows.

    Only the first stage has a length, and it is nearly all of the time; so the clock runs from the start.
    """
    began = training.started_at
    if training.status is not TrainingState.TRAINING or began is None or not 0 < training.done < training.total:
        return None
    elapsed = max(0.0, (now - began).total_seconds())
    return ceil(elapsed / training.done * (training.total - training.done))
