"""How a training stands, in a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.catalog.store import channels
from shelfsight.errors import NotFoundError
from shelfsight.jobs.trainings import TrainingState
from shelfsight.registry import store as versions
from shelfsight.registry.rules import Status

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.jobs.trainings import Training

TOO_FEW = "Add a second product with photos."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What became of the version that a training published.

    Attributes:
        stable: the version that is live now, None = none is.
        status: of the training's version; None where it is gone.
    """

    stable: str | None
    status: Status | None
    policy: ReleasePolicy


def outcome(tx: Connection, training: Training) -> str:
    """Return how a training stands.

    Raises:
        NotFoundError: its channel is gone.
    """
    settings = channels.get(tx, training.channel).settings
    stable = settings.model_version
    place = Place(
        stable=None if stable is None else stable.removeprefix("v"),
        status=_status(tx, training),
        policy=settings.release_policy,
    )
    return sentence(training, place)


def sentence(training: Training, place: Place) -> str:
    """Return how a training stands, from what became of its version."""
    match training.status:
        case TrainingState.QUEUED:
            return "Waiting for a worker."
        case TrainingState.TRAINING:
            return "Being cancelled." if training.cancelled_at else f"Training: {training.stage or 'starting'}."
        case TrainingState.READY:
            return _published(training, place)
        case TrainingState.IDLE:
            return training.error or TOO_FEW
        case TrainingState.FAILED:
            return f"Failed: {training.error or 'for a reason that nobody noted'}"
        case TrainingState.CANCELLED:
            return "Cancelled."
    assert_never(training.status)


def _published(training: Training, place: Place) -> str:
    version = training.version
    if version is not None and version == place.stable:
        return f"Version {version} is live."
    if place.status is Status.TESTING:
        if place.policy is ReleasePolicy.STAGED and not training.forced:
            return f"Version {version} is trained, and waits to be released. {training.gate}".rstrip()
        return f"Trained, but not released: {training.gate or f'version {version} is in testing.'}"
    return f"Version {version} was trained; version {place.stable} is live." if place.stable else "Trained."


def _status(tx: Connection, training: Training) -> Status | None:
    if training.version is None:
        return None
    try:
        return versions.version(tx, training.channel, training.version).status
    except NotFoundError:  # cleaned up
        return None
