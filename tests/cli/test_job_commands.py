"""Trainings by command: asked for, listed, shown, followed, cancelled, tried again; and the worker."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight import worker as worker_module
from shelfsight.cli import jobs
from shelfsight.database.engine import open_database
from shelfsight.errors import DatabaseError
from shelfsight.jobs import store, workers
from shelfsight.jobs.requests import NO_WORKER
from shelfsight.jobs.trainings import TrainingState
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.settings import service_settings
from shelfsight.storage import open_storage
from tests.cli.command import done, run_here, started
from tests.cli.conftest import audited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from shelfsight.settings import ServiceSettings

WAIT_S = 60


@pytest.fixture(autouse=True)
def _service(data: Path) -> None:
    done("channels", "add", "T_1")
    done("channels", "add", "T_2")


@contextmanager
def writing() -> Iterator[Connection]:
    database = open_database(service_settings().database_url)
    with database.write() as tx:
        yield tx
    database.close()


def now() -> datetime:
    return datetime.now(UTC)


def ask(channel: str = "T_1") -> int:
    number: int = json.loads(done("channels", "train", channel, "--json"))["id"]
    return number


def end(number: int, state: TrainingState = TrainingState.FAILED, error: str | None = "the disk is full") -> None:
    with writing() as tx:
        store.begin(tx, number, now())
        store.end(tx, number, state, error=error, now=now())


def a_worker() -> None:
    with writing() as tx:
        workers.register(tx, id="w", host="h", pid=1, concurrency=1)


def test_a_training_is_asked_for_in_the_name_of_who_asks(data: Path) -> None:
    asked = run_here("channels", "train", "T_1")
    assert (asked.returncode, asked.stderr) == (0, f"{NO_WORKER}\n")
    number = int(asked.stdout.split()[1])
    assert asked.stdout == f"Training {number} of T_1: Waiting for a worker.\n"
    a_worker()
    again = run_here("channels", "train", "T_1", "--force", "--json")
    assert again.stderr == ""
    document = json.loads(again.stdout)
    assert (document["id"], document["forced"], document["requestedBy"]) == (number, True, "cli:anna")
    assert [(one.actor, one.subject) for one in audited("training_requested")] == [("cli:anna", str(number))] * 2
    assert json.loads(done("channels", "show", "T_1", "--json"))["modelTrainingStatus"] == "queued"


def test_a_channel_that_is_not_there_cannot_be_trained(data: Path) -> None:
    for command in (("channels", "train", "T_9"), ("jobs", "list", "--channel", "T_9")):
        refused = run_here(*command)
        assert refused.returncode == 1
        assert "'T_9'" in refused.stderr


def test_trainings_are_listed_the_newest_first_of_a_channel_or_in_a_state(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PAGE", 2)
    for _ in range(5):
        end(ask())
    theirs = ask("T_2")
    rows = [line.split("\t") for line in done("jobs", "list").splitlines()]
    assert rows[0][:3] == ["Id", "Channel", "State"]
    assert rows[1][:4] == [str(theirs), "T_2", "queued", "cli:anna"]
    ids = [int(row[0]) for row in rows[1:]]
    assert ids == sorted(ids, reverse=True)

    def listed(*options: str) -> list[int]:
        return [one["id"] for one in json.loads(done("jobs", "list", *options, "--json"))]

    assert listed() == ids
    assert listed("--channel", "T_2") == listed("--state", "queued") == [theirs]
    assert listed("--channel", "T_1", "--state", "failed") == ids[1:]
    assert listed("--state", "failed", "--limit", "3") == ids[1:4]
    assert listed("--state", "ready") == []


def test_a_training_is_shown_with_how_it_ended(data: Path) -> None:
    number = ask()
    with writing() as tx:
        store.begin(tx, number, now())
        store.note_progress(tx, number, stage="Looking at photos", done=3, total=9, now=now())
    shown = dict(line.split("\t") for line in done("jobs", "show", number).splitlines())
    assert (shown["Id"], shown["State"], shown["Progress"]) == (str(number), "training", "3 of 9")
    assert shown["Outcome"] == "Training: Looking at photos."
    end(number)
    shown = dict(line.split("\t") for line in done("jobs", "show", number).splitlines())
    assert (shown["Outcome"], "Progress" in shown) == ("Failed: the disk is full", False)
    assert json.loads(done("jobs", "show", number, "--json"))["error"] == "the disk is full"


@pytest.mark.parametrize("command", ["show", "follow", "cancel", "retry"])
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [("4711", 1, "there is no training 4711"), ("0", 2, "Invalid value"), ("x", 2, "Invalid value")],
)
def test_a_training_that_is_not_there_is_said_so(data: Path, command: str, number: str, code: int, said: str) -> None:
    refused = run_here("jobs", command, number)
    assert refused.returncode == code
    assert said in refused.stderr


def test_a_training_is_cancelled_and_tried_again(data: Path) -> None:
    a_worker()
    number = ask()
    assert done("jobs", "cancel", number) == f"Training {number} of T_1: Cancelled.\n"
    refused = run_here("jobs", "cancel", number)
    assert (refused.returncode, "it is cancelled" in refused.stderr) == (3, True)
    again = json.loads(done("jobs", "retry", number, "--json"))["id"]
    assert again > number
    refused = run_here("jobs", "retry", again)
    assert (refused.returncode, "only one that failed" in refused.stderr) == (3, True)
    with writing() as tx:
        store.begin(tx, again, now())
    assert done("jobs", "cancel", again) == f"Training {again} of T_1: Being cancelled.\n"
    assert len(audited("training_cancelled")) == 2


def does(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any]) -> None:
    """Let a step happen in each pause of who follows a training."""
    waiting = iter(steps)

    def pause() -> None:
        next(waiting)()

    monkeypatch.setattr(jobs, "_pause", pause)


def test_who_waits_sees_it_through(data: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def number() -> int:
        found: int = json.loads(done("jobs", "list", "--json"))[0]["id"]
        return found

    def begin() -> None:
        with writing() as tx:
            store.begin(tx, number(), now())
            store.note_progress(tx, number(), stage="Looking at photos", done=3, total=9, now=now())

    def release() -> None:
        settings = service_settings()
        database = open_database(settings.database_url)
        registry = Registry(database=database, storage=open_storage(settings.storage_url))
        publish(registry, Order(folder=tiny_bundle, channel="T_1", training=number(), actor="cli:anna"))
        database.close()
        end(number(), TrainingState.READY, None)

    does(monkeypatch, begin, release)
    waited = run_here("channels", "train", "T_1", "--wait")
    assert (waited.returncode, waited.stdout) == (0, "Version 1.0.0 is live.\n")
    assert NO_WORKER in waited.stderr
    assert done("jobs", "follow", number()) == "Version 1.0.0 is live.\n"
    assert json.loads(done("jobs", "follow", number(), "--json"))["version"] == "1.0.0"


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (TrainingState.IDLE, "Add a second product with photos.", "Add a second product with photos."),
        (TrainingState.FAILED, "the disk is full", "Failed: the disk is full"),
        (TrainingState.CANCELLED, None, "Cancelled."),
    ],
)
def test_what_publishes_nothing_exits_with_1_and_its_sentence(
    data: Path, monkeypatch: pytest.MonkeyPatch, state: TrainingState, error: str | None, said: str
) -> None:
    a_worker()
    number = ask()
    does(monkeypatch, lambda: end(number, state, error))
    followed = run_here("channels", "train", "T_1", "--wait")
    assert (followed.returncode, followed.stdout, followed.stderr) == (1, "", f"Error: {said}\n")
    followed = run_here("jobs", "follow", number, "--json")
    assert (followed.returncode, json.loads(followed.stdout)["status"]) == (1, state)


def test_who_stops_watching_leaves_the_training_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    a_worker()
    number = ask()
    does(monkeypatch, interrupt)
    followed = run_here("jobs", "follow", number)
    assert (followed.returncode, followed.stdout) == (130, "")
    assert followed.stderr == f"Training {number} goes on: `shelfsight jobs follow {number}`\n"
    assert json.loads(done("jobs", "show", number, "--json"))["status"] == "queued"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_works_until_it_is_told_to_stop(
    data: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    seen: list[tuple[ServiceSettings, int]] = []

    def work(settings: ServiceSettings, *, concurrency: int, stop: threading.Event) -> None:
        seen.append((settings, concurrency))
        os.kill(os.getpid(), how)
        assert stop.wait(WAIT_S)

    monkeypatch.setattr(worker_module, "run_worker", work)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert "Database\tsqlite:///" in done("worker", "--concurrency", "3")
    assert seen == [(service_settings(), 3)]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_worker_that_cannot_work_says_why(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_settings: ServiceSettings, **_: object) -> None:
        raise DatabaseError("the database does not answer: start it")

    monkeypatch.setattr(worker_module, "run_worker", fail)
    failed = run_here("worker")
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (
        1,
        "Error: the database does not answer: start it",
    )
    assert run_here("worker", "--concurrency", "0").returncode == 2


def test_a_real_worker_does_what_is_asked_and_ends_well(data: Path) -> None:
    with started("worker") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Database\tsqlite:///")
        waited = run_here("channels", "train", "T_1", "--wait")
        assert (waited.returncode, "Error: Add a second product with photos." in waited.stderr) == (1, True)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=WAIT_S)
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert (process.returncode, events[0], events[-1]) == (0, "worker_started", "worker_stopped")
