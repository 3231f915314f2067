"""What people ask of trainings, written with the audit's entry: by REST, by page, by command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shelfsight.access import audit
from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.jobs import store, workers
from shelfsight.jobs.trainings import Reason, TrainingState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.access.rules import Asker
    from shelfsight.database.engine import Database
    from shelfsight.jobs.trainings import Training

NO_WORKER = "no worker is running: start `shelfsight serve` or `shelfsight worker`"
_SILENT_AFTER = timedelta(seconds=60)
"""Three times as long as workers let each other be silent: clocks differ a little."""
_RETRIED = frozenset({TrainingState.FAILED, TrainingState.CANCELLED, TrainingState.IDLE})


def ask(database: Database, channel: str, by: Asker, *, forced: bool = False) -> Training:
    """Ask for a training of a channel, and return it: the one that waits already, if there is one.

    Args:
        forced: whether what it publishes becomes stable whatever the gate says.

    Raises:
        NotFoundError: there is no such channel.
    """
    with database.write(actor=by.actor) as tx:
        return _ask(tx, channel, by, {"forced": forced})


def ask_again(database: Database, training_id: int, by: Asker, *, channel: str | None = None) -> Training:
    """Ask for another training like one that came to nothing, and return the new one.

    Args:
        channel: whose training it must be; None = whosesoever.

    Raises:
        NotFoundError: there is no such training.
        ConflictError: it has not ended, or it published what it learned.
    """
    with database.write(actor=by.actor) as tx:
        training = find(tx, training_id, channel)
        if training.status not in _RETRIED:
            what = f"training {training_id} of {training.channel} is {training.status}"
            raise ConflictError(f"{what}: only one that failed, was cancelled or had nothing to learn is tried again")
        return _ask(tx, training.channel, by, {"forced": training.forced, "retryOf": training_id})


def cancel(database: Database, training_id: int, by: Asker, *, channel: str | None = None) -> Training:
    """Ask for the end of a training, and return it: one that waits has ended, one that runs ends within two seconds.

    Args:
        channel: whose training it must be; None = whosesoever.

    Raises:
        NotFoundError: there is no such training.
        ConflictError: it has ended.
    """
    with database.write(actor=by.actor) as tx:
        before = find(tx, training_id, channel)
        if before.cancelled_at is not None and not before.status.ended:
            return before
        after = store.cancel(tx, training_id, datetime.now(UTC))
        _audit(tx, "training_cancelled", after, by, {})
        return after


def find(tx: Connection, training_id: int, channel: str | None = None) -> Training:
    """Return a training.

    Raises:
        NotFoundError: there is none of that id, or it is another channel's.
    """
    training = store.get(tx, training_id)
    if channel is not None and training.channel != channel:
        raise NotFoundError(f"there is no training {training_id}: list the trainings of the channel")
    return training


def has_worker(tx: Connection) -> bool:
    """Return whether a worker is there to do what is asked."""
    since = datetime.now(UTC) - _SILENT_AFTER
    return any(one.stopped_at is None and one.seen_at >= since for one in workers.all_workers(tx))


def _ask(tx: Connection, channel: str, by: Asker, details: dict[str, Any]) -> Training:
    training = store.request(
        tx,
        channel,
        reason=Reason.PERSON,
        requested_by=by.actor,
        forced=details["forced"],
        now=datetime.now(UTC),
    )
    _audit(tx, "training_requested", training, by, details)
    return training


def _audit(tx: Connection, action: str, training: Training, by: Asker, details: dict[str, Any]) -> None:
    audit.record(
        tx,
        actor=by.actor,
        action=action,
        channel=training.channel,
        subject=str(training.id),
        address=by.address,
        details=details,
    )
