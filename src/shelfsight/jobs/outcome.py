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
from shelfsight.rollout import store as rollouts
from shelfsight.rollout.rules import stage_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.jobs.trainings import Training
    from shelfsight.registry.rules import Version
    from shelfsight.rollout.rules import Rollout, Stage

TOO_FEW = "Add a second product with photos."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What became of the version that a training published.

    Attributes:
        stable: the version that is live now, None = none is.
        status: of the training's version; None where it is gone.
        stage: which devices have it in a rollout, None = none.
        taken_back: its last rollout, where that ended without it having become stable.
        rolled_out: another version that is being rolled out now.
    """

    stable: str | None
    status: Status | None
    policy: ReleasePolicy
    stage: Stage | None = None
    taken_back: Rollout | None = None
    rolled_out: str | None = None


def outcome(tx: Connection, training: Training) -> str:
    """Return how a training stands.

    Raises:
        NotFoundError: its channel is gone.
    """
    return sentence(training, _place(tx, training))


def _place(tx: Connection, training: Training) -> Place:
    settings = channels.get(tx, training.channel).settings
    stable = settings.model_version
    found = _version(tx, training)
    last = None if found is None else rollouts.last_of(tx, training.channel, found.version)
    others = [one.version for one in rollouts.running(tx, training.channel) if one.version != training.version]
    return Place(
        stable=None if stable is None else stable.removeprefix("v"),
        status=None if found is None else found.status,
        policy=settings.release_policy,
        stage=None if found is None else stage_of(found),
        taken_back=last if last is not None and last.ended_at is not None else None,
        rolled_out=others[-1] if others else None,
    )


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
    if place.stage is not None:
        return f"Version {version} is being rolled out: {_devices(place.stage)}."
    if place.status is Status.TESTING:
        return _not_released(training, place)
    return f"Version {version} was trained; version {place.stable} is live." if place.stable else "Trained."


def _not_released(training: Training, place: Place) -> str:
    version = training.version
    if place.taken_back is not None:
        return f"Version {version} was taken back from the devices. {place.taken_back.reason}".rstrip()
    if place.policy is not ReleasePolicy.STAGED or training.forced:
        return f"Trained, but not released: {training.gate or f'version {version} is in testing.'}"
    waits = "waits to be released" if place.rolled_out is None else f"waits: {place.rolled_out} is being rolled out"
    return f"Version {version} is trained, and {waits}. {training.gate}".rstrip()


def _devices(stage: Stage) -> str:
    share = f"{stage.share_bp / 100:g} % of the devices"
    return f"it runs in shadow on {share}" if stage.is_shadow else f"{share} have it"


def _version(tx: Connection, training: Training) -> Version | None:
    if training.version is None:
        return None
    try:
        return versions.version(tx, training.channel, training.version)
    except NotFoundError:  # cleaned up
        return None
