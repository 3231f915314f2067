"""Moves in a real shop: what is audited, what is refused, who is first, and what a killed one leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from shelfsight.access import audit
from shelfsight.api.preconditions import etag
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.catalog.store import channels as channel_store
from shelfsight.database import tables
from shelfsight.errors import BundleError, ConflictError, NotFoundError, ShelfsightError, StaleWriteError
from shelfsight.registry import versions
from shelfsight.registry.follow import Follower
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.rollout import moves
from shelfsight.rollout.moves import Operator
from shelfsight.rollout.rules import FIRST as FIRST_STAGE
from shelfsight.rollout.rules import Plan, Platform, Stage
from tests.rollout.conftest import FIRST, SECOND, STABLE
from tests.rollout.mover import Job, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage
    from tests.rollout.conftest import Shop

ANNA = Operator(actor="admin:anna", address="192.0.2.7", reason="looks good")
TEN, FIFTY = Stage(share_bp=1000), Stage(share_bp=5000)


def begin(shop: Shop, stage: Stage = TEN, number: str = FIRST) -> None:
    moves.start(shop.registry, "T_1", number, Plan(first=stage), by=ANNA)


def details(shop: Shop, action: str) -> dict[str, Any]:
    with shop.database.read() as tx:
        (entry,) = [one for one in audit.list_entries(tx, channel="T_1", limit=1000) if one.action == action]
    assert (entry.actor, entry.address, entry.subject) == (ANNA.actor, ANNA.address, f"v{FIRST}")
    return dict(entry.details)


def test_every_move_is_in_the_audit_with_who_from_where_from_what_to_what_and_why(shop: Shop) -> None:
    plan = Plan(platforms=(Platform.WEB,), stages_bp=(1000,))
    moves.start(shop.registry, "T_1", FIRST, plan, by=ANNA)
    moves.advance(shop.registry, "T_1", by=ANNA)
    moves.hold(shop.registry, "T_1", by=ANNA)
    moves.resume(shop.registry, "T_1", by=ANNA)
    after = moves.advance(shop.registry, "T_1", by=ANNA)
    assert after == shop.standing()
    shadow = {"rolloutPercentage": 0, "shadowPercentage": 10}
    ten = {"rolloutPercentage": 10, "shadowPercentage": 0}
    everybody = {"rolloutPercentage": 100, "shadowPercentage": 0}
    whom = {"stages": [10], "platforms": ["web"], "tiers": []}
    why = {"reason": "looks good"}
    assert details(shop, "rollout_started") == {"from": None, "to": shadow, **whom, **why}
    assert details(shop, "rollout_advanced") == {"from": shadow, "to": ten, **why}
    assert details(shop, "rollout_held") == {"from": ten, "to": ten, **why}
    assert details(shop, "rollout_resumed") == {"from": ten, "to": ten, **why}
    assert details(shop, "rollout_completed") == {"from": ten, "to": everybody, **why}
    (rollout,) = shop.rollouts()
    assert (rollout.started_by, rollout.outcome, rollout.reason) == ("admin:anna", "stable", "looks good")


@pytest.mark.parametrize(("move", "outcome"), [(moves.roll_back, "rolled_back"), (moves.halt, "halted")])
def test_what_was_taken_back_is_in_the_audit_and_in_the_history(shop: Shop, move: Any, outcome: str) -> None:
    begin(shop)
    after = move(shop.registry, "T_1", by=ANNA)
    assert (after.running, shop.told()) == (None, (STABLE, None, None))
    assert shop.statuses()[FIRST] == "testing"
    ten = {"rolloutPercentage": 10, "shadowPercentage": 0}
    found = details(shop, f"rollout_{outcome}")
    assert found == {"from": ten, "to": None, "ends": [f"v{FIRST}"], "reason": "looks good"}
    (rollout,) = shop.rollouts()
    assert (rollout.outcome, rollout.reason) == (outcome, "looks good")


def test_at_the_last_stage_latest_follows_and_the_old_one_is_deprecated(shop: Shop) -> None:
    begin(shop)
    moves.advance(shop.registry, "T_1", Stage(share_bp=10_000), by=ANNA)
    assert (shop.told(), shop.latest()) == ((FIRST, None, None), FIRST)
    assert shop.statuses() == {STABLE: "deprecated", FIRST: "active", SECOND: "testing"}
    back = moves.roll_back(shop.registry, "T_1", by=ANNA)
    assert back == shop.standing()
    assert (shop.told(), shop.latest()) == ((STABLE, None, None), STABLE)


def test_a_channel_whose_model_has_no_place_yet_gets_one(shop: Shop) -> None:
    with shop.database.write() as tx:
        tx.execute(update(tables.channels).values(model_base_url=None))
    begin(shop)
    moves.advance(shop.registry, "T_1", Stage(share_bp=10_000), by=ANNA)
    with shop.database.read() as tx:
        assert channel_store.get(tx, "T_1").settings.model_base_url == "/assets/ml-models/T_1/latest"


def _damage(shop: Shop, number: str = FIRST) -> None:
    shop.registry.storage.put(f"ml-models/T_1/v{number}/model.onnx", b"decayed")


@pytest.mark.parametrize("reach", ["start", "advance", "complete"])
def test_no_device_is_told_of_a_version_whose_files_are_not_whole(shop: Shop, reach: str) -> None:
    if reach != "start":
        begin(shop, FIFTY if reach == "complete" else TEN)
    _damage(shop)
    before = shop.standing()
    told = partial(begin, shop) if reach == "start" else partial(moves.advance, shop.registry, "T_1", by=ANNA)
    with pytest.raises(BundleError, match=r"model\.onnx is not the file that the manifest names"):
        told()
    assert (shop.standing(), shop.latest()) == (before, STABLE)


def test_the_way_back_needs_no_files(shop: Shop) -> None:
    begin(shop, FIFTY)
    _damage(shop)
    moves.advance(shop.registry, "T_1", TEN, by=ANNA)
    moves.hold(shop.registry, "T_1", by=ANNA)
    moves.advance(shop.registry, "T_1", FIRST_STAGE, by=ANNA)
    moves.roll_back(shop.registry, "T_1", by=ANNA)
    assert shop.told() == (STABLE, None, None)


def test_a_roll_back_to_a_version_whose_files_are_not_whole_changes_nothing(shop: Shop) -> None:
    begin(shop)
    moves.advance(shop.registry, "T_1", Stage(share_bp=10_000), by=ANNA)
    _damage(shop, STABLE)
    with pytest.raises(BundleError):
        moves.roll_back(shop.registry, "T_1", by=ANNA)
    assert (shop.told(), shop.latest()) == ((FIRST, None, None), FIRST)


def test_without_a_rollout_and_without_an_older_version_there_is_nothing_to_take_back(shop: Shop) -> None:
    with pytest.raises(NotFoundError, match="no version of T_1 was stable before the present one"):
        moves.roll_back(shop.registry, "T_1", by=ANNA)


class Interrupting:
    """A storage during one of whose calls something else happens."""

    def __init__(self, storage: Storage, during: Callable[[], object]) -> None:
        self._storage, self._during = storage, during
        self._is_due = True

    def __getattr__(self, name: str) -> Any:
        if name == "get" and self._is_due:
            self._is_due = False
            self._during()
        return getattr(self._storage, name)


def _interrupted(shop: Shop, during: Callable[[], object]) -> Registry:
    return Registry(database=shop.database, storage=Interrupting(shop.registry.storage, during))


def test_who_advances_while_another_does_is_refused_and_not_one_stage_further(shop: Shop) -> None:
    begin(shop)
    slow = _interrupted(shop, lambda: moves.advance(shop.registry, "T_1", by=ANNA))
    with pytest.raises(StaleWriteError, match="somebody else has just changed the rollout in T_1: look again"):
        moves.advance(slow, "T_1", by=ANNA)
    assert shop.told() == (STABLE, f"{FIRST} 50 %", None)
    assert [action for _, action, _ in shop.audited()] == ["rollout_started", "rollout_advanced"]


def test_who_starts_while_another_does_is_refused(shop: Shop) -> None:
    slow = _interrupted(shop, lambda: begin(shop, number=SECOND))
    with pytest.raises(StaleWriteError):
        moves.start(slow, "T_1", FIRST, Plan(), by=ANNA)
    assert shop.told() == (STABLE, f"{SECOND} 10 %", None)


def test_a_version_that_is_cleaned_up_while_it_is_looked_at_is_not_started(shop: Shop) -> None:
    def removed() -> None:
        with shop.database.write() as tx:
            gone = tables.model_metadata.c.version == f"v{FIRST}"
            tx.execute(tables.model_metadata.delete().where(gone))

    with pytest.raises(StaleWriteError):
        moves.start(_interrupted(shop, removed), "T_1", FIRST, Plan(), by=ANNA)


def test_what_else_happens_in_the_channel_stands_in_nobodys_way(shop: Shop) -> None:
    slow = _interrupted(shop, lambda: versions.deprecate(shop.registry, "T_1", SECOND))
    assert moves.start(slow, "T_1", FIRST, Plan(), by=ANNA).running is not None


def _at_once(shop: Shop, move: Callable[[], object], number: int = 2) -> list[ShelfsightError | None]:
    """Let several make a move at the same moment; return what became of each."""
    together = Barrier(number)

    def one() -> ShelfsightError | None:
        together.wait(30)
        try:
            move()
        except ShelfsightError as refusal:
            return refusal
        return None

    with ThreadPoolExecutor(number) as pool:
        return [one.result(60) for one in [pool.submit(one) for _ in range(number)]]


@pytest.mark.parametrize("move", ["start", "hold", "back"])
def test_of_several_at_once_one_is_first_and_the_others_are_told(shop: Shop, move: str) -> None:
    acts: dict[str, Callable[[], object]] = {
        "start": lambda: begin(shop),
        "hold": lambda: moves.hold(shop.registry, "T_1", by=ANNA),
        "back": lambda: moves.roll_back(shop.registry, "T_1", by=Operator(actor="anna", if_match=seen)),
    }
    if move != "start":
        begin(shop)
    seen = etag(shop.sequence())
    entries = len(shop.audited())
    ended = _at_once(shop, acts[move], 4)
    assert [one for one in ended if one is None] == [None]
    assert all(isinstance(one, ConflictError | StaleWriteError) for one in ended if one is not None)
    assert len(shop.audited()) == entries + 1
    assert shop.told()[0] == STABLE


def test_of_several_who_take_the_stable_version_back_at_once_one_does(shop: Shop) -> None:
    for number in (FIRST, SECOND):
        versions.release(shop.registry, "T_1", number)
    seen = etag(shop.sequence())
    ended = _at_once(shop, lambda: moves.roll_back(shop.registry, "T_1", by=Operator(actor="anna", if_match=seen)), 3)
    assert [one for one in ended if one is None] == [None]
    assert all(one is None or isinstance(one, StaleWriteError) for one in ended)
    assert (shop.told(), shop.latest()) == ((FIRST, None, None), FIRST)  # and not 1.0.0


def test_who_has_seen_an_older_sequence_changes_nothing(shop: Shop) -> None:
    seen = shop.sequence()
    begin(shop)
    late = Operator(actor="anna", if_match=etag(seen))
    for move in (moves.advance, moves.hold, moves.halt, moves.roll_back):
        with pytest.raises(StaleWriteError, match=f"it is at revision {shop.sequence()}"):
            move(shop.registry, "T_1", by=late)
    assert shop.told() == (STABLE, f"{FIRST} 10 %", None)
    moves.roll_back(shop.registry, "T_1", by=Operator(actor="anna", if_match=etag(shop.sequence())))
    with pytest.raises(StaleWriteError):
        moves.start(shop.registry, "T_1", FIRST, Plan(), by=late)


def test_who_names_a_sequence_is_refused_whatever_has_changed_since(shop: Shop) -> None:
    by = Operator(actor="anna", if_match=etag(shop.sequence()))
    slow = _interrupted(shop, lambda: versions.deprecate(shop.registry, "T_1", SECOND))
    with pytest.raises(StaleWriteError, match="it is at revision"):
        moves.start(slow, "T_1", FIRST, Plan(), by=by)
    with pytest.raises(StaleWriteError, match="it is at revision"):
        moves.hold(shop.registry, "T_1", by=by)  # before it is said that nothing is being rolled out
    assert shop.told() == (STABLE, None, None)


def test_many_who_move_and_release_at_once_wait_in_line_and_not_for_each_other(
    postgresql: Database, make_shop: Callable[[Database], Shop]
) -> None:
    shop = make_shop(postgresql)
    registry = shop.registry
    acts: list[Callable[[], object]] = [
        lambda: begin(shop, number=FIRST),
        lambda: begin(shop, number=SECOND),
        lambda: moves.advance(registry, "T_1", by=ANNA),
        lambda: moves.hold(registry, "T_1", by=ANNA),
        lambda: moves.roll_back(registry, "T_1", by=ANNA),
        lambda: versions.roll_back(registry, "T_1"),
        lambda: versions.release(registry, "T_1", STABLE),
        lambda: versions.deprecate(registry, "T_1", SECOND),
    ]

    def act(number: int) -> None:
        with suppress(ConflictError, StaleWriteError, NotFoundError):  # a deadlock would be a DatabaseError
            acts[number % len(acts)]()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(80)))
    found = shop.standing()
    assert sum(one.is_stable for one in found.versions) == 1
    assert [one.version for one in found.rollouts] == list(shop.stages())
    assert len(found.rollouts) <= 1


def test_who_rolls_back_what_has_just_ended_does_not_take_the_stable_version_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.release(shop.registry, "T_1", FIRST)
    begin(shop, number=SECOND)
    write, is_due = shop.database.write, [True]

    def another_is_faster(**more: Any) -> Any:
        if is_due:
            is_due.clear()
            moves.roll_back(shop.registry, "T_1", by=ANNA)
        return write(**more)

    monkeypatch.setattr(shop.database, "write", another_is_faster)
    with pytest.raises(StaleWriteError):
        moves.roll_back(shop.registry, "T_1", by=ANNA)
    assert shop.told() == (FIRST, None, None)


def test_who_takes_the_stable_version_back_while_another_does_goes_no_further(shop: Shop) -> None:
    for number in (FIRST, SECOND):
        versions.release(shop.registry, "T_1", number)
    slow = _interrupted(shop, lambda: versions.roll_back(shop.registry, "T_1"))
    with pytest.raises(StaleWriteError):
        moves.roll_back(slow, "T_1", by=ANNA)
    assert shop.told() == (FIRST, None, None)


def test_who_takes_the_stable_version_back_does_not_take_back_what_another_has_just_begun(shop: Shop) -> None:
    versions.release(shop.registry, "T_1", FIRST)
    slow = _interrupted(shop, lambda: begin(shop, number=SECOND))
    with pytest.raises(StaleWriteError):
        moves.roll_back(slow, "T_1", by=ANNA)
    assert shop.told() == (FIRST, f"{SECOND} 10 %", None)


def test_a_stable_version_that_is_taken_back_is_in_the_audit_with_what_is_stable_instead(shop: Shop) -> None:
    versions.release(shop.registry, "T_1", FIRST)
    moves.roll_back(shop.registry, "T_1", by=ANNA)
    everybody = {"rolloutPercentage": 100, "shadowPercentage": 0}
    found = details(shop, "rollout_rolled_back")
    assert found == {"from": everybody, "to": None, "instead": f"v{STABLE}", "reason": "looks good"}


@pytest.mark.parametrize("what", ["complete", "back"])
def test_killed_anywhere_a_move_is_made_or_not_and_latest_follows(shop: Shop, tmp_path: Path, what: str) -> None:
    begin(shop, FIFTY)
    before = shop.told()
    after = (FIRST, None, None) if what == "complete" else (STABLE, None, None)
    job = Job(
        database=shop.database.engine.url.render_as_string(hide_password=False),
        storage=str(tmp_path / "assets"),
        what=what,
    )
    kill_at, seen = 0, []
    while run(job, kill_at) == "killed":
        found = shop.told()
        assert found in {before, after}
        seen.append(found)
        Follower(shop.registry).look()
        assert shop.latest() == found[0]
        assert len([one for one in shop.rollouts() if one.ended_at is None]) == (found == before)
        assert len(shop.audited()) == 1 + (found == after)
        if found == after:
            break
        kill_at += 1
    assert kill_at > 3
    assert shop.told() == after
    assert seen[:1] == [before]


def test_a_release_ends_a_rollout_as_stopped_and_a_roll_back_of_the_stable_one_as_rolled_back(shop: Shop) -> None:
    versions.release(shop.registry, "T_1", FIRST)
    begin(shop, number=SECOND)
    versions.roll_back(shop.registry, "T_1", actor="anna")
    assert [one.outcome for one in shop.rollouts()] == ["rolled_back"]
    begin(shop, number=SECOND)
    versions.release(shop.registry, "T_1", FIRST)
    assert [one.outcome for one in shop.rollouts()] == ["rolled_back", "stopped"]
    begin(shop, number=SECOND)
    versions.release(shop.registry, "T_1", SECOND)
    assert [one.outcome for one in shop.rollouts()][-1] == "stable"


def test_a_roll_back_to_what_is_being_rolled_out_makes_it_stable(shop: Shop) -> None:
    versions.release(shop.registry, "T_1", FIRST)
    with shop.database.write() as tx:  # SQL leaves it active
        which = tables.model_metadata.c.version == f"v{STABLE}"
        tx.execute(update(tables.model_metadata).where(which).values(status="active", rollout_percentage=10))
    versions.roll_back(shop.registry, "T_1", STABLE)
    assert [(one.version, one.outcome) for one in shop.rollouts()] == [(f"v{STABLE}", "stable")]


def test_a_deprecated_candidate_is_no_candidate_any_more(shop: Shop) -> None:
    begin(shop)
    versions.deprecate(shop.registry, "T_1", FIRST)
    assert shop.told() == (STABLE, None, None)
    assert [one.outcome for one in shop.rollouts()] == ["stopped"]
    begin(shop)  # the undo
    assert shop.told() == (STABLE, f"{FIRST} 10 %", None)


def _publish(shop: Shop, bundle: Path, release: ReleasePolicy | None = None) -> str:
    order = Order(folder=bundle, channel="T_1", release=release, share=FIRST_STAGE.share, actor="admin:anna")
    return publish(shop.registry, order).version


def test_a_version_published_with_a_share_is_the_candidate_at_once(shop: Shop, tiny_bundles: list[Path]) -> None:
    assert _publish(shop, tiny_bundles[0], ReleasePolicy.STAGED) == "1.0.3"
    assert shop.told() == (STABLE, None, "1.0.3 10 %")
    assert shop.audited() == [("admin:anna", "rollout_started", "v1.0.3")]
    (rollout,) = shop.rollouts()
    assert (rollout.started_by, list(rollout.stages_bp)) == ("admin:anna", [1000, 5000])


def test_a_version_published_with_a_share_while_another_is_rolled_out_stays_in_testing(
    shop: Shop, tiny_bundles: list[Path]
) -> None:
    begin(shop)
    _publish(shop, tiny_bundles[0], ReleasePolicy.STAGED)
    assert shop.told() == (STABLE, f"{FIRST} 10 %", None)
    assert shop.statuses()["1.0.3"] == "testing"
    assert len(shop.rollouts()) == 1


def test_a_version_published_with_a_share_where_none_is_stable_is_stable(
    shop: Shop, tiny_bundles: list[Path]
) -> None:
    with shop.database.write() as tx:
        tx.execute(update(tables.model_metadata).values(is_stable=False, status="deprecated"))
    _publish(shop, tiny_bundles[0], ReleasePolicy.STAGED)
    assert (shop.told(), shop.latest()) == (("1.0.3", None, None), "1.0.3")
    assert shop.rollouts() == []


def test_the_share_counts_only_where_the_policy_is_staged(shop: Shop, tiny_bundles: list[Path]) -> None:
    _publish(shop, tiny_bundles[0])
    assert shop.told() == ("1.0.3", None, None)
    with shop.database.read() as tx:
        policies = set(tx.scalars(select(tables.channels.c.release_policy)))
    assert policies == {"immediate"}
