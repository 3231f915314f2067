"""Stores of checkpoints: MongoDB, PostgreSQL and SQLite keep the same promises."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.checkpoints import Claim, Written
from shelfsight.backfill.checkpoints.mongodb import MongoCheckpoints
from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.rules import Checkpoint, Refused
from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.partners.mongo import Mongo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shelfsight.backfill.checkpoints import Checkpoints

NAME = "backfill_inventory_fields"
FIRST, SECOND = Refused(key="7", phase=1, reason="no"), Refused(key="a$b", phase=2, reason="never")
FULL = Checkpoint(
    name=NAME,
    phase=2,
    values={"last_id": 2**53 + 1, "last_document": "ä$.x", "total_processed": 4711, "window_until": None},
    started_at=datetime(2026, 11, 20, 3, tzinfo=UTC),
    updated_at=datetime(2026, 11, 20, 4, tzinfo=UTC),
    worked_s=1.5,
)


@pytest.fixture(params=["sqlite", "postgresql", "mongodb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Checkpoints]]:
    """Opens one store again and again, as different machines would."""
    stores: list[Checkpoints] = []
    names = uuid.uuid4().hex
    if request.param == "mongodb":
        url = request.getfixturevalue("mongodb").uri
    elif request.param == "postgresql":
        url = request.getfixturevalue("postgresql").engine.url.render_as_string(hide_password=False)
    else:
        url = f"sqlite:///{tmp_path / 'checkpoints.db'}"

    def open_one() -> Checkpoints:
        if request.param == "mongodb":
            stores.append(MongoCheckpoints(Mongo(url), database=f"test_{names}", collection="checkpoints"))
        else:
            stores.append(SqlCheckpoints(url))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Checkpoints]) -> Checkpoints:
    return opened()


def claimed(store: Checkpoints, holder: str = "till-3/x:1", lasts_s: float = 60) -> Claim:
    claim = store.claim(NAME, holder, lasts_s=lasts_s)
    assert claim is not None
    return claim


def test_nothing_is_kept_at_first(store: Checkpoints) -> None:
    assert store.read(NAME) is None
    assert store.refused(NAME) == []


def test_what_was_saved_is_read_by_another_machine(opened: Callable[[], Checkpoints]) -> None:
    store = opened()
    claim = claimed(store)
    assert store.save(claim, Written(checkpoint=FULL)) is None
    record = opened().read(NAME)
    assert record is not None
    assert record.checkpoint == FULL
    assert (record.holder, record.is_held, record.token) == ("till-3/x:1", True, 1)


def test_a_save_replaces_what_was_there(store: Checkpoints) -> None:
    claim = claimed(store)
    store.save(claim, Written(checkpoint=FULL))
    after = Checkpoint(name=NAME, phase=1, values={"last_id": "a"}, finished_at=datetime(2026, 11, 20, 5, tzinfo=UTC))
    store.save(claim, Written(checkpoint=after))
    record = store.read(NAME)
    assert record is not None
    assert record.checkpoint == after


def test_one_holds_it_at_a_time(opened: Callable[[], Checkpoints]) -> None:
    first, second = opened(), opened()
    claim = claimed(first)
    assert second.claim(NAME, "other:2", lasts_s=60) is None
    first.give_back(claim)
    taken = second.claim(NAME, "other:2", lasts_s=60)
    assert taken is not None
    assert taken.token > claim.token


def test_of_many_who_claim_at_once_one_gets_it(opened: Callable[[], Checkpoints]) -> None:
    stores, got = [opened() for _ in range(6)], list[Claim | None]()
    together = threading.Barrier(len(stores))

    def claim(number: int) -> None:
        together.wait()
        got.append(stores[number].claim(NAME, f"m:{number}", lasts_s=60))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(stores)
    assert sum(one is not None for one in got) == 1


def test_a_claim_without_a_sign_of_life_ends(opened: Callable[[], Checkpoints]) -> None:
    first, second = opened(), opened()
    claimed(first, lasts_s=0.05)
    record = second.read(NAME)
    while record is not None and record.is_held:  # by the store's own clock
        time.sleep(0.01)
        record = second.read(NAME)
    assert second.claim(NAME, "other:2", lasts_s=60) is not None


def test_one_that_is_renewed_does_not_end(store: Checkpoints) -> None:
    claim = claimed(store, lasts_s=0.0)
    longer = replace(claim, lasts_s=60)
    store.renew(longer)
    assert store.claim(NAME, "other:2", lasts_s=60) is None


def test_a_holder_that_is_known_to_be_dead_is_not_waited_for(store: Checkpoints) -> None:
    claimed(store, "till-3/x:1")
    assert store.claim(NAME, "other:2", lasts_s=60, instead_of="till-3/x:9") is None
    assert store.claim(NAME, "other:2", lasts_s=60, instead_of="till-3/x:1") is not None


def test_who_lost_the_claim_writes_nothing(opened: Callable[[], Checkpoints]) -> None:
    first, second = opened(), opened()
    late = claimed(first, lasts_s=0.0)
    first.save(late, Written(checkpoint=FULL, refused=[FIRST]))
    now = second.claim(NAME, "other:2", lasts_s=60, instead_of=late.holder)
    assert now is not None
    ahead = replace(FULL, phase=3)
    second.save(now, Written(checkpoint=ahead))
    back = Written(checkpoint=Checkpoint(name=NAME), refused=[SECOND], accepted=[FIRST])
    with pytest.raises(ConflictError, match="another runner has taken over"):
        first.save(late, back)
    with pytest.raises(ConflictError, match="another runner has taken over"):
        first.renew(late)
    first.give_back(late)
    record = second.read(NAME)
    assert record is not None
    assert (record.checkpoint, record.is_held, record.holder) == (ahead, True, "other:2")
    assert second.refused(NAME) == [FIRST]


def test_a_pause_reaches_who_works_on_it_and_outlives_its_saves(opened: Callable[[], Checkpoints]) -> None:
    store, elsewhere = opened(), opened()
    claim = claimed(store)
    elsewhere.pause(NAME, "cli:anna")
    assert store.renew(claim) == "cli:anna"
    assert store.save(claim, Written(checkpoint=FULL)) == "cli:anna"
    record = elsewhere.read(NAME)
    assert record is not None
    assert record.paused_by == "cli:anna"
    elsewhere.pause(NAME, None)
    assert store.renew(claim) is None


def test_what_never_ran_cannot_be_paused(store: Checkpoints) -> None:
    with pytest.raises(NotFoundError, match="it has never run"):
        store.pause(NAME, "cli:anna")


def test_what_was_refused_is_kept_once_until_it_is_accepted(store: Checkpoints) -> None:
    claim = claimed(store)
    store.save(claim, Written(checkpoint=FULL, refused=[FIRST, SECOND]))
    again = replace(FIRST, reason="still not")
    store.save(claim, Written(checkpoint=FULL, refused=[FIRST, again]))
    assert store.refused(NAME) == [again, SECOND]
    store.save(claim, Written(checkpoint=FULL, accepted=[again]))
    assert store.refused(NAME) == [SECOND]
    assert store.refused("backfill_other") == []


def test_two_backfills_know_nothing_of_each_other(store: Checkpoints) -> None:
    claimed(store)
    other = store.claim("backfill_other", "other:2", lasts_s=60)
    assert other is not None
    store.save(other, Written(checkpoint=Checkpoint(name="backfill_other", phase=2), refused=[FIRST]))
    record = store.read(NAME)
    assert record is not None
    assert record.checkpoint == Checkpoint(name=NAME)
    assert store.refused(NAME) == []


def test_its_place_names_no_password(store: Checkpoints) -> None:
    assert store.place
    assert "secret" not in store.place
