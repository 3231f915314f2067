"""Rollouts in both databases: every move leaves there what it leaves on paper."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert, select, update

from shelfsight.database.tables import channels, model_metadata, rollouts
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError, UsageError
from shelfsight.registry import store as versions
from shelfsight.registry.rules import Status
from shelfsight.rollout import store
from shelfsight.rollout.decisions import Standing, advance, halt, hold, resume, roll_back, start
from shelfsight.rollout.rules import Outcome, Plan, Platform, Stage, Tier, stage_of
from tests.rollout.paper import on_paper, view, without_salts

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database
    from shelfsight.rollout.decisions import Move
    from tests.rollout.paper import Paper

NUMBERS = ("1.0.0", "1.0.1", "1.0.2")
TEN, FIFTY = Stage(share_bp=1000), Stage(share_bp=5000)


@pytest.fixture
def rows(database: Database) -> Database:
    """The channel T_1 with three versions in testing, as rows alone."""
    with database.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
        for number in NUMBERS:
            row = {"channel_id": "T_1", "version": f"v{number}", "file_path": ""}
            tx.execute(insert(model_metadata).values(row))
    return database


def standing(database: Database) -> Standing:
    with database.read() as tx:
        return store.standing(tx, "T_1")


def make(database: Database, decide: Callable[[Standing], Move]) -> Standing:
    """Make a move, and return how the channel stands."""
    with database.write(actor="anna") as tx:
        store.carry_out(tx, "T_1", decide(store.locked(tx, "T_1")))
        return store.standing(tx, "T_1")


def release(database: Database, number: str) -> None:
    with database.write() as tx:
        versions.make_stable(tx, "T_1", number)


def sql(database: Database, number: str, **columns: Any) -> None:
    with database.write() as tx:
        tx.execute(update(model_metadata).where(model_metadata.c.version == f"v{number}").values(columns))


def begin(database: Database, plan: Plan | None = None) -> Standing:
    """Make 1.0.0 stable and begin to roll out 1.0.1."""
    release(database, "1.0.0")
    return make(database, lambda now: start(now, "1.0.1", plan or Plan()))


def _any_move(chance: random.Random) -> Callable[[Standing], Move]:
    stage = Stage(share_bp=chance.choice([1, 500, 1000, 5000, 9999, 10_000]), is_shadow=chance.random() < 0.3)
    planned = tuple(sorted(chance.sample(range(1, 10_000), chance.randrange(3))))
    first = replace(stage, share_bp=min(stage.share_bp, 9999))
    plan = Plan(first=first, stages_bp=planned, tiers=(Tier.LOW,), threshold=0.2, min_app_version="2.1")
    starting = partial(start, wanted=chance.choice(NUMBERS), plan=plan)
    going = partial(advance, to=stage)
    often: list[Callable[[Standing], Move]] = [starting, advance, going]
    now_and_then: list[Callable[[Standing], Move]] = [hold, resume, roll_back, partial(halt, reason="worse")]
    return chance.choice([*often, *often, *now_and_then])


def _tried(move: Callable[[], Standing | Paper]) -> tuple[Any, str | None]:
    """Return what a move led to, or why it was refused."""
    try:
        return move(), None
    except (ConflictError, NotFoundError) as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("seed", range(4))
def test_every_move_leaves_in_a_database_what_it_leaves_on_paper(rows: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    release(rows, "1.0.0")
    paper, salts, made = on_paper(*NUMBERS, stable="1.0.0"), dict[int, tuple[str, str]](), 0
    while made < 40:
        before, decide = standing(rows), _any_move(chance)
        expected, refused = _tried(lambda: paper.make(decide(paper.standing)))  # noqa: B023 (called here)
        after, refused_too = _tried(lambda: make(rows, decide))  # noqa: B023 (as well)
        assert refused_too == refused
        if refused:
            continue
        assert _columns(after) == _columns(expected.standing)
        assert without_salts(view(after)) == without_salts(view(expected.standing))
        assert (after.sequence > before.sequence) is (view(after) != view(before))
        for one in after.rollouts:  # the salts of a rollout are its own, from beginning to end
            assert salts.setdefault(one.id, (one.salt, one.shadow_salt)) == (one.salt, one.shadow_salt)
        paper, made = expected, made + 1
    assert len({salt for pair in salts.values() for salt in pair}) == 2 * len(salts) > 4


def _columns(now: Standing) -> list[tuple[Any, ...]]:
    """Return what the rows say that moves write."""
    running = {one.version: one for one in now.rollouts}
    found = []
    for one in now.versions:
        rollout = running.get(one.version)
        whom = None if rollout is None else (rollout.stages_bp, rollout.tiers, rollout.held_at is None)
        own = (one.version, one.status, one.is_stable, stage_of(one), one.rollout_percentage, one.shadow_percentage)
        found.append((*own, one.shadow_mode, one.rollback_threshold, one.min_app_version, whom))
    return found


def test_a_start_writes_its_plan_beside_the_share(rows: Database) -> None:
    plan = Plan(
        first=Stage(share_bp=250),
        stages_bp=(300, 4000),
        platforms=(Platform.WEB, Platform.IOS),
        tiers=(Tier.HIGH,),
        threshold=0.1,
        min_app_version="2.1.0",
    )
    begun = begin(rows, plan)
    (rollout,) = begun.rollouts
    assert (rollout.stages_bp, rollout.platforms, rollout.tiers) == ((300, 4000), ("web", "ios"), ("high",))
    assert (rollout.started_by, rollout.outcome, rollout.ended_at) == ("anna", Outcome.NONE, None)
    assert rollout.salt != rollout.shadow_salt
    candidate = begun.versions[1]
    assert (candidate.rollout_percentage, candidate.rollback_threshold) == (2.5, 0.1)
    assert (candidate.min_app_version, candidate.status) == ("2.1.0", Status.TESTING)


def test_what_a_plan_leaves_open_stays_as_the_row_says(rows: Database) -> None:
    sql(rows, "1.0.1", rollback_threshold=0.3, min_app_version="1.5")
    begun = begin(rows)
    assert (begun.versions[1].rollback_threshold, begun.versions[1].min_app_version) == (0.3, "1.5")
    make(rows, roll_back)
    begun = make(rows, lambda now: start(now, "1.0.1", Plan(min_app_version="")))
    assert begun.versions[1].min_app_version is None


def test_a_deprecated_version_can_be_rolled_out_again_and_is_then_in_testing(rows: Database) -> None:
    release(rows, "1.0.0")
    with rows.write() as tx:
        versions.deprecate(tx, "T_1", "1.0.1")
    begun = make(rows, lambda now: start(now, "1.0.1", Plan()))
    assert (begun.versions[1].status, begun.versions[1].deprecated_at) == (Status.TESTING, None)
    assert make(rows, roll_back).versions[1].status is Status.TESTING


def test_what_was_stable_once_is_rolled_back_to_as_before_when_its_second_rollout_was_taken_back(
    rows: Database,
) -> None:
    release(rows, "1.0.0")
    release(rows, "1.0.1")
    begun = make(rows, lambda now: start(now, "1.0.0", Plan(first=TEN)))
    assert begun.versions[0].status is Status.TESTING
    assert make(rows, roll_back).versions[0].status is Status.DEPRECATED


def test_a_roll_back_ends_every_rollout_that_sql_has_begun_and_says_why(rows: Database) -> None:
    release(rows, "1.0.0")
    sql(rows, "1.0.1", status="active", rollout_percentage=10)
    sql(rows, "1.0.2", shadow_mode=True, shadow_percentage=20)
    ended = make(rows, lambda now: roll_back(now, reason="beeps"))
    assert (ended.rollouts, [stage_of(one) for one in ended.versions]) == ((), [None] * 3)
    assert [one.status for one in ended.versions] == [Status.ACTIVE, Status.TESTING, Status.TESTING]
    with rows.read() as tx:
        past, _ = store.page(tx, "T_1", limit=10)
    assert [(one.version, one.outcome, one.reason) for one in past] == [
        ("1.0.2", Outcome.ROLLED_BACK, "beeps"),
        ("1.0.1", Outcome.ROLLED_BACK, "beeps"),
    ]
    assert all(one.ended_at is not None for one in past)


def test_a_move_keeps_the_status_that_sql_gave(rows: Database) -> None:
    release(rows, "1.0.0")
    sql(rows, "1.0.1", status="active", rollout_percentage=10)
    after = make(rows, lambda now: advance(now, FIFTY))
    assert (after.versions[1].status, after.versions[1].rollout_percentage) == (Status.ACTIVE, 50)


@pytest.mark.parametrize(
    ("stages", "found"),
    [
        ([5000, 1000, 5000], (1000, 5000)),
        ([], ()),
        ([True], (1000, 5000)),
        ({"a": 1}, (1000, 5000)),
        ([0, 99], (1000, 5000)),
    ],
)
def test_stages_that_somebody_typed_are_read_as_far_as_they_make_sense(
    rows: Database, stages: Any, found: tuple[int, ...]
) -> None:
    begin(rows)
    with rows.write() as tx:
        tx.execute(update(rollouts).values(stages_bp=stages))
    assert standing(rows).rollouts[0].stages_bp == found


def test_whom_somebody_typed_is_for_nobody_else(rows: Database) -> None:
    begin(rows)
    with rows.write() as tx:
        tx.execute(update(rollouts).values(platforms="web", tiers=[1]))
    assert (standing(rows).rollouts[0].platforms, standing(rows).rollouts[0].tiers) == (("web",), ("1",))


def test_holding_changes_nothing_for_devices(rows: Database) -> None:
    begun = begin(rows)
    held = make(rows, lambda now: hold(now, reason="wait"))
    assert (held.sequence, view(held)) == (begun.sequence, view(begun))
    assert (held.rollouts[0].reason, held.rollouts[0].held_at is None) == ("wait", False)
    assert held.rollouts[0].stage_at == begun.rollouts[0].stage_at
    resumed = make(rows, resume)
    assert (resumed.sequence, resumed.rollouts[0].held_at) == (begun.sequence, None)


def test_history_comes_page_by_page(rows: Database) -> None:
    release(rows, "1.0.0")
    for _ in range(5):
        make(rows, lambda now: start(now, "1.0.1", Plan()))
        make(rows, roll_back)
    seen, before = [], None
    while True:
        with rows.read() as tx:
            found, before = store.page(tx, "T_1", before=before, limit=2)
        seen += found
        if before is None:
            break
    with rows.read() as tx:
        ids = list(tx.scalars(select(rollouts.c.id).order_by(rollouts.c.id.desc())))
        last = store.last_of(tx, "T_1", "1.0.1")
        assert store.last_of(tx, "T_1", "1.0.2") is None
    assert [one.id for one in seen] == ids
    assert last == seen[0]
    assert len({one.salt for one in seen} | {one.shadow_salt for one in seen}) == 10


def test_of_two_rollouts_of_two_channels_each_sees_its_own(rows: Database) -> None:
    with rows.write() as tx:
        tx.execute(insert(channels).values(id="T_2", token="ck_2"))
        row = {"version": "v1.0.1", "file_path": "", "rollout_percentage": 10}
        tx.execute(insert(model_metadata).values(channel_id="T_2", **row))
    begin(rows)
    make(rows, roll_back)
    with rows.read() as tx:
        (other,) = store.running(tx, "T_2")
        assert store.running(tx, "T_1") == []
    assert (other.channel, other.outcome) == ("T_2", Outcome.NONE)


def test_what_is_read_is_of_one_moment(postgresql: Database) -> None:
    with postgresql.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
        for number in NUMBERS:
            row = {"channel_id": "T_1", "version": f"v{number}", "file_path": ""}
            tx.execute(insert(model_metadata).values(row))
    begun = begin(postgresql)
    due = [True]

    def another_ends_it(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if due and "FROM model_metadata" in statement:  # after the sequence was read
            due.clear()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(make, postgresql, roll_back).result(30)

    event.listen(postgresql.engine, "before_cursor_execute", another_ends_it)
    found = standing(postgresql)
    event.remove(postgresql.engine, "before_cursor_execute", another_ends_it)
    assert (found.running, found.sequence > begun.sequence) == (None, True)


def test_what_changes_all_the_time_is_not_waited_for(rows: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter(range(100))
    monkeypatch.setattr(store, "_sequence", lambda *_: next(counted))
    with pytest.raises(StaleWriteError, match="change faster than they can be read"):
        standing(rows)


def test_a_channel_that_is_not_there_is_said_so(rows: Database) -> None:
    with rows.write() as tx:
        with pytest.raises(NotFoundError, match="there is no channel 'T_9'"):
            store.standing(tx, "T_9")
        with pytest.raises(NotFoundError, match="channel 'T_9' is not there"):
            store.locked(tx, "T_9")


def test_a_share_too_small_to_count_is_still_a_stage(rows: Database) -> None:
    release(rows, "1.0.0")
    sql(rows, "1.0.1", rollout_percentage=0.001)
    running = standing(rows).running
    assert running is not None
    assert (running.stage, running.next_stage) == (Stage(share_bp=0), TEN)
    with pytest.raises(UsageError):
        Plan(first=running.stage)
