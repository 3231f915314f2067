"""A channel that is on paper alone. What a move changes there is what it must change in a database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shelfsight.registry.rules import Share, Status, Version
from shelfsight.rollout.decisions import Action, Move, Standing, status_after
from shelfsight.rollout.rules import Outcome, Plan, Rollout, stage_of
from tests.registry.test_rules import NOW, version

if TYPE_CHECKING:
    from shelfsight.rollout.rules import Offer

View = tuple[str | None, tuple[str, int, str] | None, tuple[str, int, str] | None]


def view(standing: Standing) -> View:
    """Return what decides for every device which version it has."""
    told = standing.assignment
    return (None if told.stable is None else told.stable.version, _seen(told.candidate), _seen(told.shadow))


def without_salts(seen: View) -> tuple[Any, ...]:
    return seen[0], *(None if offer is None else offer[:2] for offer in seen[1:])


def _seen(offer: Offer | None) -> tuple[str, int, str] | None:
    return None if offer is None else (offer.version.version, offer.share_bp, offer.salt)


def rollout_of(number: str, *, count: int = 1, **more: Any) -> Rollout:
    plan = Plan()
    row: dict[str, Any] = {
        "id": count,
        "channel": "T_1",
        "version": number,
        "salt": f"salt {count}",
        "shadow_salt": f"shadow salt {count}",
        "stages_bp": plan.stages_bp,
        "platforms": (),
        "tiers": (),
        "held_at": None,
        "reason": "",
        "started_at": NOW,
        "started_by": "anna",
        "stage_at": NOW,
        "ended_at": None,
        "outcome": Outcome.NONE,
    }
    return Rollout(**{**row, **more})


@dataclass(frozen=True)
class Paper:
    """A channel, and how many rollouts there were."""

    standing: Standing
    count: int = 0

    def make(self, move: Move) -> Paper:
        """Return the channel after a move."""
        match move.action:
            case Action.STARTED:
                return self._started(move)
            case Action.ADVANCED:
                assert move.after is not None
                return self._with(move.version, _columns(move.after.share))
            case Action.COMPLETED:
                return self.make_stable(move.version)
            case Action.HELD | Action.RESUMED:
                held_at = NOW if move.action is Action.HELD else None
                rollouts = [
                    replace(one, held_at=held_at) if one.version == move.version else one
                    for one in self.standing.rollouts
                ]
                return replace(self, standing=replace(self.standing, rollouts=tuple(rollouts)))
            case Action.ROLLED_BACK | Action.HALTED:
                after = self
                for number in move.ends:
                    status = status_after(number, self.standing.releases)
                    after = after._with(number, {"status": status, **_columns(Share())})
                return after if move.instead is None else after.make_stable(move.instead)

    def make_stable(self, wanted: str) -> Paper:
        """Return the channel after a release, or a roll-back to a version."""
        versions = [
            replace(one, status=Status.DEPRECATED, is_stable=False, **_columns(Share()))
            if one.status is Status.ACTIVE
            else replace(one, **_columns(Share()))
            for one in self.standing.versions
        ]
        stable = {"status": Status.ACTIVE, "is_stable": True, **_columns(Share(rollout_percentage=100))}
        all_versions = [replace(one, **stable) if one.version == wanted else one for one in versions]
        was_stable = any(one.is_stable and one.version == wanted for one in self.standing.versions)
        releases = self.standing.releases if was_stable else (*self.standing.releases, wanted)
        standing = replace(self.standing, versions=tuple(all_versions), rollouts=(), releases=releases)
        return replace(self, standing=standing)

    def deprecate(self, wanted: str) -> Paper:
        """Return the channel without a version that is not stable."""
        return self._with(wanted, {"status": Status.DEPRECATED, **_columns(Share())})

    def _started(self, move: Move) -> Paper:
        assert move.plan is not None
        plan = move.plan
        more: dict[str, Any] = {"status": Status.TESTING, **_columns(plan.first.share)}
        if plan.threshold is not None:
            more["rollback_threshold"] = plan.threshold
        if plan.min_app_version is not None:
            more["min_app_version"] = plan.min_app_version or None
        begun = rollout_of(
            move.version,
            count=self.count + 1,
            stages_bp=plan.stages_bp,
            platforms=plan.platforms,
            tiers=plan.tiers,
        )
        after = replace(self, count=self.count + 1)._with(move.version, more)
        rollouts = (*after.standing.rollouts, begun)
        return replace(after, standing=replace(after.standing, rollouts=rollouts))

    def _with(self, number: str, columns: dict[str, Any]) -> Paper:
        """Return the channel with another row; whoever has no share any more has no rollout."""
        versions = tuple(replace(one, **columns) if one.version == number else one for one in self.standing.versions)
        rolling = {one.version for one in versions if stage_of(one) is not None}
        rollouts = tuple(one for one in self.standing.rollouts if one.version in rolling)
        return replace(self, standing=replace(self.standing, versions=versions, rollouts=rollouts))


def on_paper(*numbers: str, stable: str | None = None) -> Paper:
    """Return a channel with versions in testing, one of which may be stable."""
    versions: list[Version] = [version(number, status=Status.TESTING) for number in numbers]
    blank = Paper(Standing(channel="T_1", versions=tuple(versions), rollouts=(), releases=(), sequence=1))
    return blank if stable is None else blank.make_stable(stable)


def _columns(share: Share) -> dict[str, Any]:
    return {
        "rollout_percentage": share.rollout_percentage,
        "shadow_mode": share.shadow_percentage > 0,
        "shadow_percentage": share.shadow_percentage,
    }
