"""Trainings asked for, begun and ended, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.catalog.rules import ChannelValues, ProductDetails, Stamp
from shelfsight.catalog.store import channels, due, products
from shelfsight.errors import ConflictError, DatabaseError, NotFoundError
from shelfsight.jobs import store
from shelfsight.jobs.job import JobRecord, JobState
from shelfsight.jobs.scheduler import Scheduler, scheduling
from shelfsight.jobs.trainings import Reason, Training, TrainingState

if TYPE_CHECKING:
    from collections.abc import Collection

    from shelfsight.database.engine import Database

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANNA = Stamp(actor="anna", at=NOW)


@pytest.fixture
def shop(database: Database) -> Database:
    """A database with the channel T_1."""
    with database.write() as tx:
        channels.create(tx, "T_1", ChannelValues(), ANNA)
    return database


def ask(database: Database, *, forced: bool = False) -> Training:
    with database.write() as tx:
        return store.request(tx, "T_1", reason=Reason.PERSON, requested_by="anna", forced=forced, now=NOW)


def begin(database: Database, training: Training) -> bool:
    with database.write() as tx:
        return store.begin(tx, training.id, NOW)


def end(database: Database, training: Training, state: TrainingState, error: str | None = None) -> Training:
    with database.write() as tx:
        store.end(tx, training.id, state, error=error, now=NOW)
        return store.get(tx, training.id)


def change(database: Database, product: str) -> None:
    with database.write() as tx:
        products.add(tx, "T_1", product, ProductDetails(name=product), ANNA)


def status(database: Database) -> str:
    with database.read() as tx:
        return channels.get(tx, "T_1").settings.model_training_status


def test_a_training_is_asked_for_once_however_often(shop: Database) -> None:
    first = ask(shop)
    assert ask(shop).id == first.id
    assert ask(shop, forced=True).forced
    assert (first.status, status(shop)) == (TrainingState.QUEUED, "queued")
    begin(shop, first)
    assert status(shop) == "training"
    second = ask(shop)  # one that runs may not see what has changed
    assert second.id != first.id
    assert status(shop) == "training"
    end(shop, first, TrainingState.READY)
    assert status(shop) == "queued"


def test_a_hundred_askers_at_once_get_one_training(shop: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({one.id for one in pool.map(lambda _: ask(shop), range(100))}) == 1


def test_what_changes_before_the_beginning_is_seen_and_what_comes_later_is_due(shop: Database) -> None:
    training = ask(shop)
    change(shop, "a")
    assert begin(shop, training)
    with shop.read() as tx:
        assert due.get(tx, "T_1").train_at is None
    change(shop, "b")
    assert begin(shop, training)  # another worker goes on with it: "b" is still not seen
    with shop.read() as tx:
        assert due.get(tx, "T_1").train_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("state", [TrainingState.FAILED, TrainingState.CANCELLED])
def test_what_was_not_learned_waits_for_the_night(shop: Database, state: TrainingState) -> None:
    training = ask(shop)
    begin(shop, training)
    assert end(shop, training, state, "no room").error == "no room"
    with shop.read() as tx:
        assert due.get(tx, "T_1").train_at == datetime(2026, 5, 5, 2, tzinfo=UTC)
    assert status(shop) == ("failed" if state is TrainingState.FAILED else "idle")


def test_too_few_products_is_no_failure(shop: Database) -> None:
    training = ask(shop)
    begin(shop, training)
    end(shop, training, TrainingState.IDLE, "Add a second product with photos.")
    assert status(shop) == "idle"
    with shop.read() as tx:
        assert due.get(tx, "T_1").train_at is None


def test_an_end_is_for_ever(shop: Database) -> None:
    training = ask(shop)
    begin(shop, training)
    end(shop, training, TrainingState.READY)
    assert end(shop, training, TrainingState.FAILED, "late").status is TrainingState.READY
    assert not begin(shop, training)
    with pytest.raises(ConflictError, match="has ended: it is ready"), shop.write() as tx:
        store.cancel(tx, training.id, NOW)


def test_one_that_waits_is_cancelled_at_once_and_one_that_runs_is_asked_to_end(shop: Database) -> None:
    waiting = ask(shop)
    with shop.write() as tx:
        assert store.cancel(tx, waiting.id, NOW).status is TrainingState.CANCELLED
    assert not begin(shop, waiting)
    running = ask(shop)
    begin(shop, running)
    with shop.write() as tx:
        assert store.cancel(tx, running.id, NOW).status is TrainingState.TRAINING
        assert store.is_cancelled(tx, running.id)
    assert not begin(shop, running)


def test_a_training_that_is_not_there_is_said_so(shop: Database) -> None:
    with pytest.raises(NotFoundError, match="there is no training 7"), shop.read() as tx:
        store.get(tx, 7)
    with pytest.raises(NotFoundError), shop.write() as tx:
        store.request(tx, "nowhere", reason=Reason.PERSON, requested_by="anna", now=NOW)


class Jobs:
    """A queue in memory, in which the same id twice is one job."""

    def __init__(self) -> None:
        self.enqueued: dict[str, str] = {}
        self.states: dict[str, JobState] = {}
        self.asked = 0

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any]) -> str:  # noqa: ARG002
        self.enqueued[f"{kind}-{job_id}"] = key
        return f"{kind}-{job_id}"

    def ended(self, ids: Collection[str]) -> list[JobRecord]:
        self.asked += 1
        found = {id_: state for id_, state in self.states.items() if id_ in ids and state.ended}
        same: dict[str, Any] = {"kind": "train", "key": "", "payload": {}, "queued_at": NOW}
        reason = "every worker died of it"
        return [JobRecord(id=id_, state=state, reason=reason, **same) for id_, state in found.items()]


class Shaken(Jobs):
    """One that refuses at first, in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = [ConflictError("refused"), DatabaseError("away"), ZeroDivisionError("a bug")]
        self.got_one = threading.Event()

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any]) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.got_one.set()
        return super().enqueue(kind, key=key, job_id=job_id, payload=payload)


def test_what_is_due_is_handed_to_the_queue_once(shop: Database) -> None:
    jobs = Jobs()
    scheduler = Scheduler(shop, jobs)
    change(shop, "a")  # at noon of a day that is long over: due
    assert scheduler.look() == 1
    assert scheduler.look() == 0
    (job,) = jobs.enqueued
    assert jobs.enqueued[job] == "T_1"


def test_a_process_that_died_between_row_and_queue_loses_nothing(shop: Database) -> None:
    training = ask(shop)
    jobs = Jobs()
    assert Scheduler(shop, jobs).look() == 1
    assert jobs.enqueued == {f"train-{training.id}": "T_1"}


def test_a_training_whose_job_died_of_it_is_ended(shop: Database) -> None:
    jobs = Jobs()
    scheduler = Scheduler(shop, jobs)
    training = ask(shop)
    scheduler.look()
    begin(shop, training)
    assert scheduler.end_of_lost() == []
    jobs.states[f"train-{training.id}"] = JobState.FAILED
    assert scheduler.end_of_lost() == [training.id]
    with shop.read() as tx:
        ended = store.get(tx, training.id)
    assert (ended.status, ended.error) == (TrainingState.FAILED, "every worker died of it")
    assert ask(shop).id != training.id


def test_all_unfinished_trainings_are_asked_for_at_once(shop: Database) -> None:
    jobs = Jobs()
    scheduler = Scheduler(shop, jobs)
    with shop.write() as tx:
        for name in ("T_2", "T_3"):
            channels.create(tx, name, ChannelValues(), ANNA)
            store.request(tx, name, reason=Reason.PERSON, requested_by="anna", now=NOW)
    ask(shop)
    assert scheduler.look() == 3
    ended = sorted(jobs.enqueued)[:2]
    jobs.states = dict.fromkeys(ended, JobState.CANCELLED)
    assert [f"train-{training}" for training in scheduler.end_of_lost()] == ended
    assert jobs.asked == 1


def test_nothing_ends_the_handing_over_but_the_end_of_the_block(shop: Database) -> None:
    training = ask(shop)
    jobs = Shaken()
    with scheduling(shop, jobs, every_s=0.01):
        assert jobs.got_one.wait(30)
    assert jobs.enqueued == {f"train-{training.id}": "T_1"}


def test_what_was_done_is_in_the_log_of_the_training(shop: Database) -> None:
    training = ask(shop)
    begin(shop, training)
    for stage, done in (("Looking at photos", 0), ("Looking at photos", 7), ("Learning products", 0)):
        with shop.write() as tx:
            total = 9 if stage == "Looking at photos" else 0
            store.note_progress(tx, training.id, stage=stage, done=done, total=total, now=NOW)
    begin(shop, training)
    end(shop, training, TrainingState.FAILED, "no room")
    with shop.read() as tx:
        assert [entry.line for entry in store.log_of(tx, training.id)] == [
            "asked for by anna: person",
            "begun",
            "Looking at photos: 9",
            "Learning products",
            "another worker goes on with it",
            "failed: no room",
        ]
