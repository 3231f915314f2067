"""The SQL of trainings: asked for, begun, on their way, ended."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, insert, select, update

from shelfsight.catalog.rules import TrainingStatus
from shelfsight.catalog.store import channels as channel_store
from shelfsight.catalog.store import due
from shelfsight.catalog.store.changes import lock
from shelfsight.database.tables import channels, training_log, trainings
from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.jobs.trainings import LogLine, Reason, Training, TrainingState

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

_UNFINISHED = (TrainingState.QUEUED.value, TrainingState.TRAINING.value)


def request(
    tx: Connection, channel: str, *, reason: Reason, requested_by: str, forced: bool = False, now: datetime
) -> Training:
    """Ask for a training of a channel, and return it: the one that waits already, if there is one.

    One that waits will see every change so far, so a second would learn nothing. One that runs may not.

    Raises:
        NotFoundError: there is no such channel.
    """
    lock(tx, channel)
    due.not_before(tx, channel)
    waiting = and_(trainings.c.channel_id == channel, trainings.c.status == TrainingState.QUEUED.value)
    found = tx.execute(select(trainings).where(waiting)).mappings().first()
    if found is not None:
        if forced and not found["forced"]:
            tx.execute(update(trainings).where(waiting).values(forced=True))
        return get(tx, found["id"])
    row = {"channel_id": channel, "status": TrainingState.QUEUED.value, "reason": reason.value, "forced": forced}
    asked = insert(trainings).values(**row, requested_by=requested_by, created_at=now).returning(trainings.c.id)
    training = get(tx, tx.execute(asked).scalar_one())
    _log(tx, training, f"asked for by {requested_by}: {reason}", now)
    _show(tx, channel)
    return training


def not_enqueued(tx: Connection, limit: int) -> list[Training]:
    """Return trainings that wait and that the job queue has not got yet, the oldest first."""
    waiting = and_(trainings.c.status == TrainingState.QUEUED.value, trainings.c.enqueued_at.is_(None))
    rows = tx.execute(select(trainings).where(waiting).order_by(trainings.c.id).limit(limit))
    return [_training(row) for row in rows.mappings()]


def unfinished(tx: Connection) -> list[int]:
    """Return the ids of the trainings that the job queue has and that have not ended, the oldest first."""
    under_way = and_(trainings.c.status.in_(_UNFINISHED), trainings.c.enqueued_at.is_not(None))
    return list(tx.scalars(select(trainings.c.id).where(under_way).order_by(trainings.c.id)))


def note_enqueued(tx: Connection, training_id: int, now: datetime) -> None:
    """Note that the job queue has a training."""
    tx.execute(update(trainings).where(trainings.c.id == training_id).values(enqueued_at=now))


def begin(tx: Connection, training_id: int, now: datetime) -> bool:
    """Begin a training, or go on with one whose worker died; return False when it has ended or is to end.

    Every change up to now is seen by it; later ones make the channel due again.
    """
    training = _locked(tx, training_id)
    if training.status.ended or training.cancelled_at is not None:
        return False
    if training.status is TrainingState.QUEUED:
        revision = select(channels.c.revision).where(channels.c.id == training.channel).scalar_subquery()
        begun = {"status": TrainingState.TRAINING.value, "started_at": now, "catalogue_revision": revision}
        tx.execute(update(trainings).where(trainings.c.id == training_id).values(begun))
        due.forget(tx, training.channel)
        _show(tx, training.channel)
    again = training.status is TrainingState.TRAINING
    _log(tx, training, "another worker goes on with it" if again else "begun", now)
    return True


def note_progress(tx: Connection, training_id: int, *, stage: str, done: int, total: int, now: datetime) -> None:
    """Note how far a training is; a new stage is written into its log."""
    before = get(tx, training_id)
    progress = {"stage": stage, "done": done, "total": total, "progress_at": now}
    tx.execute(update(trainings).where(trainings.c.id == training_id).values(progress))
    if stage != before.stage:
        _log(tx, before, f"{stage}: {total}" if total else stage, now)


def note_gate(tx: Connection, training_id: int, gate: str, now: datetime) -> None:
    """Note what the comparison with the active version says."""
    tx.execute(update(trainings).where(trainings.c.id == training_id).values(gate=gate))
    _log(tx, get(tx, training_id), gate, now)


def note(tx: Connection, training: Training, line: str, now: datetime) -> None:
    """Write a line into the log of a training."""
    _log(tx, training, line, now)


def log_of(tx: Connection, training_id: int) -> list[LogLine]:
    """Return what was done in a training, in that order."""
    mine = select(training_log).where(training_log.c.training_id == training_id).order_by(training_log.c.id)
    return [LogLine(at=row.at, line=row.line) for row in tx.execute(mine)]


def end(tx: Connection, training_id: int, state: TrainingState, *, error: str | None = None, now: datetime) -> None:
    """End a training that has not ended. What a failed or cancelled one has not learned waits for the night."""
    training = get(tx, training_id)
    lock(tx, training.channel)
    unfinished = and_(trainings.c.id == training_id, trainings.c.status.in_(_UNFINISHED))
    ended = update(trainings).where(unfinished).values(status=state.value, error=error, ended_at=now)
    if tx.execute(ended).rowcount == 0:
        return
    _log(tx, training, f"{state}: {error}" if error else state.value, now)
    if state in {TrainingState.FAILED, TrainingState.CANCELLED}:
        due.at_night(tx, training.channel, now)
    _show(tx, training.channel, ended=state)


def cancel(tx: Connection, training_id: int, now: datetime) -> Training:
    """Ask for the end of a training: one that waits ends here, one that runs within two seconds.

    Raises:
        NotFoundError: there is no such training.
        ConflictError: it has ended.
    """
    training = _locked(tx, training_id)
    if training.status.ended:
        raise ConflictError(f"training {training_id} of {training.channel} has ended: it is {training.status}")
    tx.execute(update(trainings).where(trainings.c.id == training_id).values(cancelled_at=now))
    _log(tx, training, "asked to end", now)
    if training.status is TrainingState.QUEUED:
        end(tx, training_id, TrainingState.CANCELLED, now=now)
    return get(tx, training_id)


def is_cancelled(tx: Connection, training_id: int) -> bool:
    """Return whether somebody asked for its end."""
    return tx.scalar(select(trainings.c.cancelled_at).where(trainings.c.id == training_id)) is not None


def get(tx: Connection, training_id: int) -> Training:
    """Return a training.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = tx.execute(select(trainings).where(trainings.c.id == training_id)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no training {training_id}: list the trainings of the channel")
    return _training(row)


def _locked(tx: Connection, training_id: int) -> Training:
    """Return a training as it is once nobody else can change it."""
    lock(tx, get(tx, training_id).channel)
    return get(tx, training_id)


def page(
    tx: Connection, channel: str | None = None, *, before: int | None = None, limit: int
) -> tuple[list[Training], int | None]:
    """Return trainings, of one channel or of all, newest first, and where the next page begins, if any does."""
    query = select(trainings).order_by(trainings.c.id.desc()).limit(limit + 1)
    if channel is not None:
        query = query.where(trainings.c.channel_id == channel)
    if before is not None:
        query = query.where(trainings.c.id < before)
    rows = tx.execute(query).mappings().all()
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    return [_training(row) for row in rows[:limit]], following


def _log(tx: Connection, training: Training, line: str, now: datetime) -> None:
    entry = {"channel_id": training.channel, "training_id": training.id, "at": now, "line": line}
    tx.execute(insert(training_log).values(entry))


def _show(tx: Connection, channel: str, *, ended: TrainingState | None = None) -> None:
    """Let the channel's settings say what its trainings do."""

    def has(state: TrainingState) -> bool:
        mine = and_(trainings.c.channel_id == channel, trainings.c.status == state.value)
        return bool(tx.scalar(select(exists().where(mine))))

    if has(TrainingState.TRAINING):
        status = TrainingStatus.TRAINING
    elif has(TrainingState.QUEUED):
        status = TrainingStatus.QUEUED
    elif ended in {TrainingState.FAILED, TrainingState.IDLE, TrainingState.READY}:
        status = TrainingStatus(ended.value)
    else:  # cancelled: as it was before
        published = select(channels.c.model_version).where(channels.c.id == channel)
        status = TrainingStatus.READY if tx.scalar(published) else TrainingStatus.IDLE
    channel_store.set_training(tx, channel, status)


def _training(row: RowMapping) -> Training:
    same: dict[str, Any] = {one.name: row[one.name] for one in fields(Training) if one.name in row}
    label: str | None = row["version"]
    own = {
        "channel": row["channel_id"],
        "status": TrainingState(row["status"]),
        "reason": Reason(row["reason"] or Reason.PERSON),
        "forced": bool(row["forced"]),
        "version": None if label is None else label.removeprefix("v"),
    }
    return Training(**{**same, **own})
