"""What a move changes, or why it cannot be made: shadow, then 10 %, 50 %, everybody; and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.registry.rules import ROLLOUT_STARTED, Status, newest_first, roll_back_target
from shelfsight.rollout.rules import EVERYBODY, Assignment, Outcome, assign, next_stage, stage_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from shelfsight.registry.rules import Version
    from shelfsight.rollout.rules import Plan, Rollout, Stage


class Action(StrEnum):
    """What a move does, as the audit names it."""

    STARTED = ROLLOUT_STARTED
    ADVANCED = "rollout_advanced"
    COMPLETED = "rollout_completed"
    HELD = "rollout_held"
    RESUMED = "rollout_resumed"
    ROLLED_BACK = "rollout_rolled_back"
    HALTED = "rollout_halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The rollout that moves are about."""

    version: Version
    rollout: Rollout
    stage: Stage

    @property
    def next_stage(self) -> Stage:
        """What it advances to."""
        return next_stage(self.rollout, self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a channel's versions stand.

    Attributes:
        versions: in the order in which they were published.
        rollouts: those that run, the oldest first.
        releases: every version that became stable, in that order; again after a roll-back.
        sequence: counted up by every change that devices see.
    """

    channel: str
    versions: tuple[Version, ...]
    rollouts: tuple[Rollout, ...]
    releases: tuple[str, ...]
    sequence: int

    @property
    def assignment(self) -> Assignment:
        """Which version is what."""
        return assign(self.versions, self.rollouts)

    @property
    def running(self) -> Running | None:
        """The rollout that moves are about: where SQL began several, the candidate's."""
        told = self.assignment
        offer = told.candidate or told.shadow
        stage = None if offer is None else stage_of(offer.version)
        if offer is None or stage is None:
            return None
        return Running(version=offer.version, rollout=offer.rollout, stage=stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What is to be changed.

    Attributes:
        before, after: which devices have the version; None = none.
        plan: of a rollout that starts.
        ends: the versions whose rollouts are taken back by it.
        instead: the version that is stable from then on, where the stable one is taken back.
        reason: why, in words of whoever makes it; may be empty.
    """

    action: Action
    version: str
    before: Stage | None
    after: Stage | None
    plan: Plan | None = None
    ends: tuple[str, ...] = ()
    instead: str | None = None
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """How the rollouts in `ends` end."""
        match self.action:
            case Action.ROLLED_BACK:
                return Outcome.ROLLED_BACK
            case Action.HALTED:
                return Outcome.HALTED
            case _:
                return Outcome.NONE

    @property
    def stable(self) -> str | None:
        """The version that it makes stable, None where it makes none."""
        if self.action is Action.COMPLETED:
            return self.version
        return self.instead

    @property
    def told(self) -> str | None:
        """The version that devices load which did not before, so that its files must be whole; None without one."""
        if self.stable is not None or self.after is None:
            return self.stable
        return self.version if self.before is None or self.after.is_beyond(self.before) else None


def start(standing: Standing, wanted: str, plan: Plan, *, reason: str = "") -> Move:
    """Return the start of a rollout of a version that is in testing, or deprecated.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it is stable, another is being rolled out, or there is no stable one beside it.
    """
    channel = standing.channel
    version = next((one for one in standing.versions if one.version == wanted), None)
    if version is None:
        known = ", ".join(one.version for one in newest_first(standing.versions)[:5]) or "none"
        raise NotFoundError(f"{channel} has no version {wanted}; it has {known}")
    if version.is_stable:
        raise ConflictError(f"version {wanted} of {channel} is the stable one: every device has it already")
    if standing.running is not None:
        raise ConflictError(_another_runs(channel, standing.running.version.version, wanted))
    if standing.assignment.stable is None:
        raise ConflictError(
            f"{channel} has no stable version for the other devices: `shelfsight versions release {channel} {wanted}`"
        )
    return Move(action=Action.STARTED, version=wanted, before=None, after=plan.first, plan=plan, reason=reason)


def _another_runs(channel: str, other: str, wanted: str) -> str:
    if other == wanted:
        return f"version {other} of {channel} is being rolled out already: advance it"
    return (
        f"version {other} of {channel} is being rolled out: let that come to its end first, or end it by "
        f"`shelfsight rollout rollback {channel}`"
    )


def advance(standing: Standing, to: Stage | None = None, *, reason: str = "") -> Move:
    """Return the step to the next stage of the rollout that runs, or to another one, which may be an earlier one.

    Raises:
        ConflictError: none runs, it is there already, or it is held and would grow.
    """
    running = _running(standing)
    after = to or running.next_stage
    which = f"the rollout of {running.version.version} in {standing.channel}"
    if after.share_bp == 0:
        raise ConflictError(f"{which} cannot go to 0 %: `shelfsight rollout rollback {standing.channel}` ends it")
    if after == running.stage and not after.is_everybody:
        raise ConflictError(f"{which} is at {after} already: name another share")
    if running.rollout.held_at is not None and (after.is_everybody or after.is_beyond(running.stage)):
        raise ConflictError(f"{which} is held: `shelfsight rollout resume {standing.channel}` first")
    return Move(
        action=Action.COMPLETED if after.is_everybody else Action.ADVANCED,
        version=running.version.version,
        before=running.stage,
        after=after,
        reason=reason,
    )


def hold(standing: Standing, *, reason: str = "") -> Move:
    """Return the holding of the rollout that runs: it grows no further.

    Raises:
        ConflictError: none runs, or it is held already.
    """
    running = _running(standing)
    if running.rollout.held_at is not None:
        raise ConflictError(f"the rollout of {running.version.version} in {standing.channel} is held already")
    return _as_it_is(Action.HELD, running, reason)


def resume(standing: Standing, *, reason: str = "") -> Move:
    """Return the end of a hold.

    Raises:
        ConflictError: no rollout runs, or it is not held.
    """
    running = _running(standing)
    if running.rollout.held_at is None:
        raise ConflictError(f"the rollout of {running.version.version} in {standing.channel} is not held: advance it")
    return _as_it_is(Action.RESUMED, running, reason)


def roll_back(standing: Standing, *, reason: str = "") -> Move:
    """Return the end of everything that is being rolled out, or else the way back to the version stable before.

    Raises:
        NotFoundError: nothing is being rolled out, and no version was stable before.
    """
    if standing.running is not None:
        return _end(Action.ROLLED_BACK, standing, reason)
    target = roll_back_target(standing.versions, standing.releases, None, standing.channel)
    taken_back = next(one.version for one in standing.versions if one.is_stable)
    return Move(
        action=Action.ROLLED_BACK,
        version=taken_back,
        before=EVERYBODY,
        after=None,
        instead=target.version,
        reason=reason,
    )


def halt(standing: Standing, *, reason: str) -> Move:
    """Return the end of everything that is being rolled out, because of what devices reported.

    Raises:
        ConflictError: no rollout runs.
    """
    return _end(Action.HALTED, standing, reason)


def status_after(version: str, releases: Collection[str]) -> Status:
    """Return what a version is when its rollout was taken back: one that was stable once is deprecated again.

    Args:
        releases: every version of the channel that became stable.
    """
    return Status.DEPRECATED if version in releases else Status.TESTING


def _end(action: Action, standing: Standing, reason: str) -> Move:
    running = _running(standing)
    return Move(
        action=action,
        version=running.version.version,
        before=running.stage,
        after=None,
        ends=tuple(one.version for one in standing.rollouts),
        reason=reason,
    )


def _as_it_is(action: Action, running: Running, reason: str) -> Move:
    stage = running.stage
    return Move(action=action, version=running.version.version, before=stage, after=stage, reason=reason)


def _running(standing: Standing) -> Running:
    found, channel = standing.running, standing.channel
    if found is None:
        raise ConflictError(f"nothing is being rolled out in {channel}: `shelfsight rollout start {channel} VERSION`")
    return found
