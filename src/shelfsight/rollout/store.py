"""The SQL of rollouts: how a channel stands, what a move changes, what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from sqlalchemy import and_, select, update

from shelfsight.catalog.store.changes import lock
from shelfsight.database import clock
from shelfsight.database.tables import channels, rollouts
from shelfsight.errors import NotFoundError, StaleWriteError
from shelfsight.registry import store as versions
from shelfsight.registry.rules import Share, Status
from shelfsight.rollout.decisions import Action, Standing, status_after
from shelfsight.rollout.rules import EVERYBODY_BP, STAGES_BP, Outcome, Rollout

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, RowMapping

    from shelfsight.rollout.decisions import Move
    from shelfsight.rollout.rules import Plan


_ROUNDS = 10


def standing(tx: Connection, channel: str) -> Standing:
    """Return how a channel's versions stand: all of it at one moment, though PostgreSQL reads statement by statement.

    Raises:
        NotFoundError: there is no such channel.
        StaleWriteError: it changes all the time.
    """
    sequence = _sequence(tx, channel)
    for _ in range(_ROUNDS):
        found = Standing(
            channel=channel,
            versions=tuple(versions.versions(tx, channel)),
            rollouts=tuple(running(tx, channel)),
            releases=tuple(versions.releases_of(tx, channel)),
            sequence=sequence,
        )
        sequence = _sequence(tx, channel)
        if sequence == found.sequence:
            return found
    raise StaleWriteError(f"the versions of {channel} change faster than they can be read: try again")


def locked(tx: Connection, channel: str) -> Standing:
    """Return how a channel's versions stand; nobody else moves one before the transaction ends.

    Raises:
        NotFoundError: there is no such channel.
    """
    lock(tx, channel)
    return standing(tx, channel)


def running(tx: Connection, channel: str) -> list[Rollout]:
    """Return the rollouts of a channel that run, the oldest first."""
    query = select(rollouts).where(_runs(channel)).order_by(rollouts.c.id)
    return [_rollout(row) for row in tx.execute(query).mappings()]


def page(tx: Connection, channel: str, *, before: int | None = None, limit: int) -> tuple[list[Rollout], int | None]:
    """Return rollouts of a channel, the newest first, and where the next page begins, if any does."""
    query = select(rollouts).where(rollouts.c.channel_id == channel).order_by(rollouts.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(rollouts.c.id < before)
    rows = tx.execute(query).mappings().all()
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    return [_rollout(row) for row in rows[:limit]], following


def last_of(tx: Connection, channel: str, version: str) -> Rollout | None:
    """Return the last rollout of a version, whether it runs or has ended; None where there never was one."""
    mine = and_(rollouts.c.channel_id == channel, rollouts.c.version == f"v{version}")
    row = tx.execute(select(rollouts).where(mine).order_by(rollouts.c.id.desc()).limit(1)).mappings().first()
    return None if row is None else _rollout(row)


def carry_out(tx: Connection, channel: str, move: Move) -> None:
    """Change what a move changes, in a channel that is locked; triggers begin and end its rollouts."""
    match move.action:
        case Action.STARTED:
            _start(tx, channel, move)
        case Action.ADVANCED:
            if move.after is not None:
                versions.give_share(tx, channel, move.version, move.after.share)
            _note(tx, channel, move.version, reason=move.reason)
        case Action.COMPLETED:
            _note(tx, channel, move.version, reason=move.reason)
            versions.make_stable(tx, channel, move.version)
        case Action.HELD:
            _note(tx, channel, move.version, reason=move.reason, held_at=clock.now(tx))
        case Action.RESUMED:
            _note(tx, channel, move.version, reason=move.reason, held_at=None)
        case Action.ROLLED_BACK | Action.HALTED:
            _take_back(tx, channel, move)
        case _:
            assert_never(move.action)


def _take_back(tx: Connection, channel: str, move: Move) -> None:
    releases = versions.releases_of(tx, channel)
    for version in move.ends:
        _note(tx, channel, version, reason=move.reason, outcome=move.outcome.value)
        versions.give_share(tx, channel, version, Share(), more={"status": status_after(version, releases)})
    if move.instead is not None:
        versions.make_stable(tx, channel, move.instead)


def _start(tx: Connection, channel: str, move: Move) -> None:
    if move.plan is None or move.after is None:
        raise ValueError(move)
    versions.give_share(tx, channel, move.version, move.after.share, more=_of_version(move.plan))
    # Whom it is for counts as a change by itself, so it is written only where it says something.
    whom = {"platforms": list(move.plan.platforms), "tiers": list(move.plan.tiers)}
    said = {name: values for name, values in whom.items() if values}
    _note(tx, channel, move.version, reason=move.reason, stages_bp=list(move.plan.stages_bp), **said)


def _of_version(plan: Plan) -> dict[str, Any]:
    """Return what a plan says of the version itself, as columns."""
    columns: dict[str, Any] = {"status": Status.TESTING}
    if plan.threshold is not None:
        columns["rollback_threshold"] = plan.threshold
    if plan.min_app_version is not None:
        columns["min_app_version"] = plan.min_app_version or None
    return columns


def _note(tx: Connection, channel: str, version: str, **columns: Any) -> None:
    """Write into the row of the rollout of a version that runs."""
    of_version = and_(_runs(channel), rollouts.c.version == f"v{version}")
    tx.execute(update(rollouts).where(of_version).values(**columns))


def _sequence(tx: Connection, channel: str) -> int:
    sequence: int | None = tx.scalar(select(channels.c.sequence).where(channels.c.id == channel))
    if sequence is None:
        raise NotFoundError(f"there is no channel {channel!r}: create it first, or check the id")
    return sequence


def _runs(channel: str) -> ColumnElement[bool]:
    return and_(rollouts.c.channel_id == channel, rollouts.c.ended_at.is_(None))


def _rollout(row: RowMapping) -> Rollout:
    same = {name: row[name] for name in Rollout.__dataclass_fields__ if name in row}
    own = {
        "channel": row["channel_id"],
        "version": row["version"].removeprefix("v"),
        "stages_bp": _stages(row["stages_bp"]),
        "platforms": _words(row["platforms"]),
        "tiers": _words(row["tiers"]),
        "outcome": Outcome(row["outcome"]),
    }
    return Rollout(**{**same, **own})


def _stages(value: Any) -> tuple[int, ...]:
    """Return the shares in a row; where somebody wrote what are none, those of every rollout."""
    if not isinstance(value, list) or not all(type(one) is int and 0 < one < EVERYBODY_BP for one in value):
        return STAGES_BP
    return tuple(sorted(set(value)))


def _words(value: Any) -> tuple[str, ...]:
    """Return the words in a row; where somebody wrote something else, one that no device says: for nobody."""
    if isinstance(value, list):
        return tuple(map(str, value))
    return (str(value),)
