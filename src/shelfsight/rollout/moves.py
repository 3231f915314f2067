"""The moves of a rollout: read, decide, and write in one transaction with the audit; then `latest` follows.

What a move would do is decided before the channel is locked, and again afterwards. Where the two differ, somebody
else was faster, and nothing is done: of two who advance at once, the second would go one stage further than it asked
for. Killed at any instant, a move has been made or not; `latest` follows by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfsight.access import audit
from shelfsight.api.preconditions import check_if_match
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError
from shelfsight.registry import latest
from shelfsight.registry.store import note_place
from shelfsight.registry.versions import check_whole
from shelfsight.rollout import decisions, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from shelfsight.registry.publish import Registry
    from shelfsight.rollout.decisions import Move, Standing
    from shelfsight.rollout.rules import Plan, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who makes a move.

    Attributes:
        if_match: the entity tag of the `sequence` that they have seen, as HTTP has it; None = whatever it is.
        reason: why, in their words.
    """

    actor: str
    address: str | None = None
    if_match: str | None = None
    reason: str = ""


def start(registry: Registry, channel: str, wanted: str, plan: Plan, *, by: Operator) -> Standing:
    """Begin the rollout of a version, and return how the channel stands.

    Raises:
        NotFoundError: there is no such channel or version.
        ConflictError: it is stable, another is being rolled out, or there is no stable one beside it.
        BundleError: its files are not whole.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.start(now, wanted, plan, reason=by.reason), by)


def advance(registry: Registry, channel: str, to: Stage | None = None, *, by: Operator) -> Standing:
    """Go to the next stage of the rollout that runs, or to another one, and return how the channel stands.

    At the last stage the version becomes stable, and the one that was is deprecated. An earlier stage is the undo of
    an advance.

    Raises:
        NotFoundError: there is no such channel.
        ConflictError: none runs, it is there already, or it is held and would grow.
        BundleError: more devices would load it, and its files are not whole.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.advance(now, to, reason=by.reason), by)


def hold(registry: Registry, channel: str, *, by: Operator) -> Standing:
    """Let the rollout that runs grow no further, and return how the channel stands; devices see no difference.

    Raises:
        NotFoundError: there is no such channel.
        ConflictError: none runs, or it is held already.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.hold(now, reason=by.reason), by)


def resume(registry: Registry, channel: str, *, by: Operator) -> Standing:
    """End a hold, and return how the channel stands.

    Raises:
        NotFoundError: there is no such channel.
        ConflictError: no rollout runs, or it is not held.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.resume(now, reason=by.reason), by)


def halt(registry: Registry, channel: str, *, by: Operator) -> Standing:
    """End what is being rolled out because of what devices reported, and return how the channel stands.

    Raises:
        NotFoundError: there is no such channel.
        ConflictError: nothing is being rolled out.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.halt(now, reason=by.reason), by)


def roll_back(registry: Registry, channel: str, *, by: Operator) -> Standing:
    """Take back what is being rolled out, or else the stable version, and return how the channel stands.

    Raises:
        NotFoundError: there is no such channel, or no version to go back to.
        BundleError: the files of the version that was stable before are not whole.
        StaleWriteError: somebody was faster.
    """
    return _make(registry, channel, lambda now: decisions.roll_back(now, reason=by.reason), by)


def _make(registry: Registry, channel: str, decide: Callable[[Standing], Move], by: Operator) -> Standing:
    """Make a move, and return how the channel stands afterwards."""
    with registry.database.read() as tx:
        seen = store.standing(tx, channel)
    check_if_match(by.if_match, seen.sequence)
    move = decide(seen)
    if move.told is not None:
        version = next(one for one in seen.versions if one.version == move.told)
        check_whole(registry, version)  # slow, and from storage: before anybody has to wait
    with registry.database.write(actor=by.actor) as tx:
        now = store.locked(tx, channel)
        check_if_match(by.if_match, now.sequence)
        if _decided(decide, now) != move:
            raise StaleWriteError(f"somebody else has just changed the rollout in {channel}: look again, and retry")
        store.carry_out(tx, channel, move)
        _audit(tx, channel, move, by)
        if move.stable is not None:
            note_place(tx, channel, latest.base_url(channel))
        after = store.standing(tx, channel)
    if move.stable is not None:
        latest.point(registry.database, registry.storage, channel)
    return after


def _decided(decide: Callable[[Standing], Move], now: Standing) -> Move | None:
    """Return what the move would be now, None where it cannot be made any more."""
    try:
        return decide(now)
    except (ConflictError, NotFoundError):
        return None


def _audit(tx: Connection, channel: str, move: Move, by: Operator) -> None:
    details: dict[str, Any] = {"from": _said(move.before), "to": _said(move.after), "reason": move.reason}
    if move.instead is not None:
        details["instead"] = f"v{move.instead}"
    if move.ends:
        details["ends"] = [f"v{version}" for version in move.ends]
    if move.plan is not None:
        details |= {
            "stages": [share_bp / 100 for share_bp in move.plan.stages_bp],
            "platforms": list(move.plan.platforms),
            "tiers": list(move.plan.tiers),
        }
    audit.record(
        tx,
        actor=by.actor,
        action=move.action.value,
        channel=channel,
        subject=f"v{move.version}",
        address=by.address,
        details=details,
    )


def _said(stage: Stage | None) -> dict[str, float] | None:
    """Return a stage as the audit says it."""
    if stage is None:
        return None
    return {"rolloutPercentage": stage.share.rollout_percentage, "shadowPercentage": stage.share.shadow_percentage}
