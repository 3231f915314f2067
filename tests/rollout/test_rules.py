"""Which version is what, whom a rollout is for, and which moves there are: by themselves, and in any order."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shelfsight.errors import ConflictError, NotFoundError, UsageError
from shelfsight.registry.rules import Status, Version, roll_back_target
from shelfsight.rollout.decisions import (
    Action,
    Move,
    Standing,
    advance,
    halt,
    hold,
    resume,
    roll_back,
    start,
    status_after,
)
from shelfsight.rollout.rules import (
    EVERYBODY,
    FIRST,
    Outcome,
    Plan,
    Platform,
    Stage,
    State,
    Tier,
    assign,
    basis_points,
    is_for,
    next_stage,
    stage_of,
    state_of,
)
from tests.registry.test_rules import NOW, version
from tests.rollout.paper import Paper, on_paper, rollout_of, view, without_salts

TEN, FIFTY = Stage(share_bp=1000), Stage(share_bp=5000)


def rolled(number: str, **columns: Any) -> Version:
    return replace(version(number, status=Status.TESTING), **columns)


def shop(**columns: Any) -> Standing:
    """Return a channel with 1.0.0, which is stable, and 1.0.1 with these columns."""
    versions = (version("1.0.0", stable=True), rolled("1.0.1", **columns))
    rollouts = (rollout_of("1.0.1"),) if stage_of(versions[1]) else ()
    return Standing(channel="T_1", versions=versions, rollouts=rollouts, releases=("1.0.0",), sequence=7)


SHADOW = {"shadow_mode": True, "shadow_percentage": 10}


@pytest.mark.parametrize(
    ("percentage", "share_bp"), [(0, 0), (0.01, 1), (10, 1000), (12.34, 1234), (33.333, 3333), (100, 10_000)]
)
def test_a_percentage_is_so_many_basis_points(percentage: float, share_bp: int) -> None:
    assert basis_points(percentage) == share_bp


@given(st.integers(0, 10_000), st.booleans())
def test_a_stage_survives_being_a_row(share_bp: int, is_shadow: bool) -> None:
    stage = Stage(share_bp=share_bp, is_shadow=is_shadow)
    share = stage.share
    row = rolled(
        "1.0.1",
        rollout_percentage=share.rollout_percentage,
        shadow_mode=share.shadow_percentage > 0,
        shadow_percentage=share.shadow_percentage,
    )
    assert stage_of(row) == (stage if share_bp else None)


@pytest.mark.parametrize(
    ("columns", "state", "stage"),
    [
        ({}, State.TESTING, None),
        ({"shadow_percentage": 10}, State.TESTING, None),  # a share, and no mode to have it in
        ({"shadow_mode": True}, State.TESTING, None),
        (SHADOW, State.SHADOW, FIRST),
        ({"rollout_percentage": 10}, State.ROLLING, TEN),
        ({"rollout_percentage": 10, **SHADOW}, State.ROLLING, TEN),  # by SQL
        ({"rollout_percentage": 10, "status": Status.ACTIVE}, State.ROLLING, TEN),  # as well
        ({"rollout_percentage": 10, "status": Status.DEPRECATED}, State.DEPRECATED, None),
        ({"rollout_percentage": 100, "status": Status.ACTIVE, "is_stable": True}, State.STABLE, None),
    ],
)
def test_a_row_says_where_a_version_is_on_its_way(columns: Any, state: State, stage: Stage | None) -> None:
    row = rolled("1.0.1", **columns)
    assert (state_of(row, None), stage_of(row)) == (state, stage)


@pytest.mark.parametrize("columns", [SHADOW, {"rollout_percentage": 10}])
def test_what_is_held_is_neither_shadow_nor_rolling(columns: Any) -> None:
    assert state_of(rolled("1.0.1", **columns), rollout_of("1.0.1", held_at=NOW)) is State.HELD


def test_the_stable_version_the_candidate_and_the_shadow_are_told_apart() -> None:
    versions = [version("1.0.0", stable=True), rolled("1.0.1", rollout_percentage=25), rolled("1.0.2", **SHADOW)]
    told = assign(versions, [rollout_of("1.0.1", count=1), rollout_of("1.0.2", count=2)])
    assert told.stable == versions[0]
    assert told.candidate is not None
    assert (told.candidate.version, told.candidate.share_bp, told.candidate.salt) == (versions[1], 2500, "salt 1")
    assert told.shadow is not None
    assert (told.shadow.version, told.shadow.share_bp, told.shadow.salt) == (versions[2], 1000, "shadow salt 2")


def test_of_several_rollouts_the_last_published_counts() -> None:
    versions = [rolled("2.0.0", rollout_percentage=5), rolled("1.0.1", rollout_percentage=25)]
    told = assign(versions, [rollout_of("1.0.1", count=1), rollout_of("2.0.0", count=2)])
    assert told.candidate is not None
    assert told.candidate.version.version == "1.0.1"
    assert (told.stable, told.shadow) == (None, None)


@pytest.mark.parametrize(
    "columns",
    [
        {"rollout_percentage": 10, "status": Status.DEPRECATED},
        {"rollout_percentage": 100, "status": Status.ACTIVE, "is_stable": True},
        {"shadow_percentage": 10},
        {"shadow_mode": True},
        {},
    ],
)
def test_who_is_stable_deprecated_or_without_a_share_is_no_candidate(columns: Any) -> None:
    told = assign([rolled("1.0.1", **columns)], [rollout_of("1.0.1")])
    assert (told.candidate, told.shadow) == (None, None)


def test_without_a_salt_nobody_can_be_in() -> None:
    told = assign([rolled("1.0.1", rollout_percentage=10, **SHADOW)], [])
    assert (told.candidate, told.shadow) == (None, None)


@pytest.mark.parametrize(
    ("platforms", "tiers", "platform", "tier", "expected"),
    [
        ((), (), Platform.UNIVERSAL, Tier.ANY, True),
        (("web",), (), Platform.WEB, Tier.LOW, True),
        (("web",), (), Platform.IOS, Tier.LOW, False),
        (("web",), (), Platform.UNIVERSAL, Tier.ANY, False),  # who does not say gets only what is for everybody
        (("web", "ios"), ("high",), Platform.IOS, Tier.HIGH, True),
        (("web", "ios"), ("high",), Platform.IOS, Tier.MID, False),
        (("windows",), (), Platform.DESKTOP, Tier.ANY, False),  # typed into the table: nobody is meant
    ],
)
def test_a_rollout_is_for_whom_it_names(
    platforms: Any, tiers: Any, platform: Platform, tier: Tier, expected: bool
) -> None:
    assert is_for(rollout_of("1.0.1", platforms=platforms, tiers=tiers), platform, tier) is expected


@pytest.mark.parametrize(
    ("stages", "stage", "following"),
    [
        ((1000, 5000), FIRST, TEN),
        ((1000, 5000), Stage(share_bp=9000, is_shadow=True), TEN),  # however large the shadow
        ((1000, 5000), TEN, FIFTY),
        ((1000, 5000), Stage(share_bp=2000), FIFTY),  # between two
        ((1000, 5000), FIFTY, EVERYBODY),
        ((1000, 5000), EVERYBODY, EVERYBODY),  # by SQL, and not stable yet
        ((), FIRST, EVERYBODY),
    ],
)
def test_the_next_stage_is_the_next_larger_share(stages: Any, stage: Stage, following: Stage) -> None:
    assert next_stage(rollout_of("1.0.1", stages_bp=stages), stage) == following


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"first": Stage(share_bp=0)}, "to 0 % of the devices is none"),
        ({"first": EVERYBODY}, "100 % at once is no rollout"),
        ({"stages_bp": (5000, 1000)}, "stages of 50, 10 % make no sense"),
        ({"stages_bp": (1000, 1000)}, "make no sense"),
        ({"stages_bp": (0,)}, "make no sense"),
        ({"stages_bp": (10_000,)}, "make no sense"),
        ({"stages_bp": tuple(range(1, 22))}, "21 stages are too many"),
        ({"threshold": 0}, "a threshold of 0 makes no sense"),
        ({"threshold": 5}, "a threshold of 5 makes no sense"),
        ({"threshold": float("nan")}, "a threshold of nan makes no sense"),
        ({"min_app_version": "two"}, "'two' is no version of an app"),
        ({"min_app_version": "2.1.0\n"}, "is no version of an app"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(plan: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Plan(**plan)


@pytest.mark.parametrize("share_bp", [-1, 10_001])
def test_a_share_that_is_none_is_refused(share_bp: int) -> None:
    with pytest.raises(UsageError, match="% of the devices make no sense"):
        Stage(share_bp=share_bp)


@pytest.mark.parametrize("number", ["2", "2.1", "2.1.0", "2.1.0.4", ""])
def test_an_apps_version_is_numbers(number: str) -> None:
    assert Plan(min_app_version=number).min_app_version == number


def _held(standing: Standing) -> Standing:
    return replace(standing, rollouts=tuple(replace(one, held_at=NOW) for one in standing.rollouts))


@pytest.mark.parametrize(
    ("standing", "wanted", "error", "said"),
    [
        (shop(), "9.9.9", NotFoundError, r"T_1 has no version 9\.9\.9; it has 1\.0\.1, 1\.0\.0"),
        (shop(), "1.0.0", ConflictError, r"version 1\.0\.0 of T_1 is the stable one: every device has it"),
        (shop(rollout_percentage=10), "1.0.1", ConflictError, r"1\.0\.1 of T_1 is being rolled out already: advance"),
        (shop(**SHADOW), "1.0.1", ConflictError, "is being rolled out already"),
        (
            replace(shop(rollout_percentage=10), versions=(*shop(rollout_percentage=10).versions, rolled("1.0.2"))),
            "1.0.2",
            ConflictError,
            r"version 1\.0\.1 of T_1 is being rolled out: .* `shelfsight rollout rollback T_1`",
        ),
        (
            replace(shop(), versions=(rolled("1.0.1"),)),
            "1.0.1",
            ConflictError,
            r"T_1 has no stable version .* `shelfsight versions release T_1 1\.0\.1`",
        ),
        (replace(shop(), versions=()), "1.0.1", NotFoundError, "it has none"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(
    standing: Standing, wanted: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        start(standing, wanted, Plan())


@pytest.mark.parametrize(
    ("standing", "to", "said"),
    [
        (shop(), None, "nothing is being rolled out in T_1: `shelfsight rollout start T_1 VERSION`"),
        (shop(rollout_percentage=10), TEN, r"rollout of 1\.0\.1 in T_1 is at 10 % already"),
        (shop(**SHADOW), FIRST, "is at shadow 10 % already"),
        (shop(rollout_percentage=10), Stage(share_bp=0), "cannot go to 0 %: `shelfsight rollout rollback T_1`"),
        (_held(shop(rollout_percentage=10)), None, "is held: `shelfsight rollout resume T_1` first"),
        (_held(shop(**SHADOW)), None, "is held"),
        (_held(shop(rollout_percentage=100)), None, "is held"),  # by SQL: to become stable is to grow
    ],
)
def test_an_advance_that_makes_no_sense_is_refused(standing: Standing, to: Stage | None, said: str) -> None:
    with pytest.raises(ConflictError, match=said):
        advance(standing, to)


@pytest.mark.parametrize(
    ("columns", "to", "action", "after"),
    [
        (SHADOW, None, Action.ADVANCED, TEN),
        (SHADOW, FIFTY, Action.ADVANCED, FIFTY),
        ({"rollout_percentage": 10}, None, Action.ADVANCED, FIFTY),
        ({"rollout_percentage": 50}, None, Action.COMPLETED, EVERYBODY),
        ({"rollout_percentage": 10}, EVERYBODY, Action.COMPLETED, EVERYBODY),
        ({"rollout_percentage": 100}, None, Action.COMPLETED, EVERYBODY),  # by SQL, and not stable yet
        ({"rollout_percentage": 50}, TEN, Action.ADVANCED, TEN),
        ({"rollout_percentage": 50}, FIRST, Action.ADVANCED, FIRST),
    ],
)
def test_an_advance_goes_to_the_next_stage_or_to_the_one_that_is_named(
    columns: Any, to: Stage | None, action: Action, after: Stage
) -> None:
    standing = shop(**columns)
    move = advance(standing, to, reason="because")
    assert (move.action, move.version, move.before, move.after) == (
        action,
        "1.0.1",
        stage_of(standing.versions[1]),
        after,
    )
    assert move.reason == "because"


def test_what_is_held_may_shrink() -> None:
    assert advance(_held(shop(rollout_percentage=50)), TEN).after == TEN


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(None, FIRST, True), (FIRST, TEN, True), (FIFTY, TEN, False), (TEN, FIRST, False), (TEN, None, False)],
)
def test_files_are_looked_at_before_more_devices_are_told(
    before: Stage | None, after: Stage | None, expected: bool
) -> None:
    move = Move(action=Action.ADVANCED, version="1.0.1", before=before, after=after)
    assert move.told == ("1.0.1" if expected else None)


def test_files_are_looked_at_before_a_version_becomes_stable() -> None:
    move = advance(shop(rollout_percentage=100))  # by SQL: every device has it already, but by another name
    assert (move.told, move.stable) == ("1.0.1", "1.0.1")


@pytest.mark.parametrize(
    ("move", "standing", "said"),
    [
        (hold, shop(), "nothing is being rolled out"),
        (resume, shop(), "nothing is being rolled out"),
        (hold, _held(shop(**SHADOW)), "is held already"),
        (resume, shop(**SHADOW), "is not held: advance it"),
    ],
)
def test_a_move_without_its_rollout_is_refused(move: Any, standing: Standing, said: str) -> None:
    with pytest.raises(ConflictError, match=said):
        move(standing)


def test_a_roll_back_takes_everything_back_that_sql_has_begun() -> None:
    versions = (version("1.0.0", stable=True), rolled("1.0.1", rollout_percentage=10), rolled("1.0.2", **SHADOW))
    rollouts = (rollout_of("1.0.1", count=1), rollout_of("1.0.2", count=2))
    standing = Standing(channel="T_1", versions=versions, rollouts=rollouts, releases=("1.0.0",), sequence=7)
    for move, outcome in (
        (roll_back(standing, reason="bad"), Outcome.ROLLED_BACK),
        (halt(standing, reason="bad"), Outcome.HALTED),
    ):
        assert (move.version, move.ends, move.after, move.outcome) == ("1.0.1", ("1.0.1", "1.0.2"), None, outcome)
        assert move.reason == "bad"


def test_where_nothing_is_rolled_out_the_stable_version_is_taken_back() -> None:
    versions = (version("1.0.0"), version("1.0.1", stable=True))
    standing = Standing(channel="T_1", versions=versions, rollouts=(), releases=("1.0.0", "1.0.1"), sequence=7)
    move = roll_back(standing, reason="bad")
    assert (move.version, move.before, move.after, move.instead) == ("1.0.1", EVERYBODY, None, "1.0.0")
    assert (move.stable, move.told, move.ends, move.reason) == ("1.0.0", "1.0.0", (), "bad")
    with pytest.raises(NotFoundError, match="no version of T_1 was stable before the present one"):
        roll_back(shop())
    with pytest.raises(ConflictError, match="nothing is being rolled out"):
        halt(standing, reason="bad")  # what devices report of a candidate takes no stable version back


@pytest.mark.parametrize(("number", "status"), [("1.0.0", Status.DEPRECATED), ("1.0.1", Status.TESTING)])
def test_what_was_stable_once_is_deprecated_again_after_a_roll_back(number: str, status: Status) -> None:
    assert status_after(number, ["1.0.0", "1.1.0"]) is status


NUMBERS = ("1.0.0", "1.0.1", "1.0.2")
stages = st.builds(
    Stage, share_bp=st.sampled_from([1, 500, 1000, 5000, 9999, 10_000]), is_shadow=st.booleans()
)  # fmt: skip


class AnyOrder(RuleBasedStateMachine):
    """A channel in which every move is tried at any time, and undone on a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.paper = on_paper(*NUMBERS)

    @rule(wanted=st.sampled_from(NUMBERS), first=stages, planned=st.sets(st.integers(1, 9999), max_size=3))
    def start(self, wanted: str, first: Stage, planned: set[int]) -> None:
        with suppress(ConflictError, UsageError):
            plan = Plan(first=first, stages_bp=tuple(sorted(planned)))
            self._make(start(self.paper.standing, wanted, plan))

    @rule(to=st.none() | stages)
    def advance(self, to: Stage | None) -> None:
        with suppress(ConflictError):
            self._make(advance(self.paper.standing, to))

    @rule(move=st.sampled_from([hold, resume, roll_back]))
    def other(self, move: Any) -> None:
        with suppress(ConflictError, NotFoundError):
            self._make(move(self.paper.standing))

    @rule(wanted=st.sampled_from(NUMBERS))
    def release(self, wanted: str) -> None:
        self.paper = self.paper.make_stable(wanted)

    @precondition(lambda self: self.paper.standing.assignment.stable is not None)
    @rule(wanted=st.sampled_from(NUMBERS))
    def deprecate(self, wanted: str) -> None:
        stable = self.paper.standing.assignment.stable
        if stable is not None and stable.version != wanted:
            self.paper = self.paper.deprecate(wanted)

    def _make(self, move: Move) -> None:
        before, after = self.paper, self.paper.make(move)
        _check_step(before, move, after)
        _check_undo(before, move, after)
        self.paper = after

    @invariant()
    def one_is_stable_at_most_and_one_rolled_out(self) -> None:
        standing = self.paper.standing
        assert sum(one.is_stable for one in standing.versions) <= 1
        assert len(standing.rollouts) <= 1
        rolling = [one.version for one in standing.versions if stage_of(one) is not None]
        assert rolling == [one.version for one in standing.rollouts]

    @invariant()
    def shares_are_shares(self) -> None:
        told = self.paper.standing.assignment
        assert told.candidate is None or told.shadow is None
        for offer in (told.candidate, told.shadow):
            assert offer is None or 0 < offer.share_bp <= 10_000
            assert offer is None or offer.version != told.stable


def _check_step(before: Paper, move: Move, after: Paper) -> None:
    was, running = before.standing.running, after.standing.running
    if move.action in {Action.HELD, Action.RESUMED}:
        assert view(before.standing) == view(after.standing)
    if was is not None and running is not None:  # sticky: who is in stays in
        assert (was.rollout.salt, was.rollout.shadow_salt) == (running.rollout.salt, running.rollout.shadow_salt)
        grew = running.stage.is_beyond(was.stage)
        assert not (grew and was.rollout.held_at)
    if was is None and running is not None:
        assert running.rollout.id > before.count  # a salt of its own
    if move.action is Action.COMPLETED:
        stable = before.standing.assignment.stable
        assert stable is None or _status(after, stable.version) is Status.DEPRECATED


def _status(paper: Paper, number: str) -> Status:
    return next(one.status for one in paper.standing.versions if one.version == number)


def _check_undo(before: Paper, move: Move, after: Paper) -> None:
    """Check that what the documentation names as the undo of a move lets every device have what it had."""
    match move.action:
        case Action.STARTED:
            assert view(after.make(roll_back(after.standing)).standing) == view(before.standing)
        case Action.ADVANCED:
            running = after.standing.running
            assert running is not None
            free = after.make(resume(after.standing)) if running.rollout.held_at else after
            assert view(free.make(advance(free.standing, move.before)).standing) == view(before.standing)
        case Action.HELD | Action.RESUMED:
            undo = resume if move.action is Action.HELD else hold
            assert after.make(undo(after.standing)).standing == before.standing
        case Action.COMPLETED:
            _check_undo_of_the_last_step(before, move, after)
        case Action.ROLLED_BACK | Action.HALTED if move.instead is not None:
            assert without_salts(view(after.make_stable(move.version).standing)) == (move.version, None, None)
        case Action.ROLLED_BACK | Action.HALTED:
            assert move.before is not None
            again = after.make(start(after.standing, move.version, Plan(first=move.before)))
            assert without_salts(view(again.standing)) == without_salts(view(before.standing))


def _check_undo_of_the_last_step(before: Paper, move: Move, after: Paper) -> None:
    stable = before.standing.assignment.stable
    assert stable is not None
    is_new = (
        move.version not in before.standing.releases
    )  # else its return may itself be a way back: the version is named
    wanted = None if is_new else stable.version
    back = roll_back_target(after.standing.versions, after.standing.releases, wanted, "T_1")
    assert back.version == stable.version
    rolled_back = after.make_stable(back.version)
    assert move.before is not None
    again = rolled_back.make(start(rolled_back.standing, move.version, Plan(first=move.before)))
    assert without_salts(view(again.standing)) == without_salts(view(before.standing))


TestAnyOrder = AnyOrder.TestCase
