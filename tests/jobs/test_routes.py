"""Trainings by REST: asked for, listed, cancelled, tried again, followed."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from httpx2 import Client
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from shelfsight.access import audit, tokens
from shelfsight.access.rules import COMMAND_LINE, Asker
from shelfsight.access.tokens import NewToken
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.store import channels as channel_store
from shelfsight.cli.listening import address_of, listen
from shelfsight.database.tables import channels, trainings
from shelfsight.errors import ConflictError, DatabaseError
from shelfsight.jobs import events, requests, store
from shelfsight.jobs.documents import eta_s
from shelfsight.jobs.trainings import Reason, Training, TrainingState
from shelfsight.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from httpx2 import Response

    from shelfsight.database.engine import Database

TRAININGS = "/api/v1/channels/T_1/trainings"
WAIT_S = 20


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    with database.write() as tx:
        tx.execute(insert(channels), [{"id": "T_1", "token": "ck_1"}, {"id": "T_2", "token": "ck_2"}])
    return Services(database=database, storage=open_storage(tmp_path / "assets"))


@pytest.fixture
def app(services: Services) -> FastAPI:
    return build_app(services)


@pytest.fixture
def client(app: FastAPI, services: Services) -> Iterator[TestClient]:
    with TestClient(app, headers=bearer(services, "channel:T_1:write"), client=("192.0.2.7", 1)) as client:
        yield client


def bearer(services: Services, *scopes: str) -> dict[str, str]:
    issued = tokens.create_token(services.database, NewToken(name="test", scopes=scopes), by=COMMAND_LINE)
    return {"authorization": f"Bearer {issued.text}"}


def asked(services: Services, channel: str = "T_1", *, forced: bool = False) -> Training:
    with services.database.write() as tx:
        return store.request(tx, channel, reason=Reason.CHANGES, requested_by="system", forced=forced, now=now())


def begun(services: Services) -> Training:
    training = asked(services)
    with services.database.write() as tx:
        assert store.begin(tx, training.id, now())
        return store.get(tx, training.id)


def ended(services: Services, state: TrainingState, *, forced: bool = False) -> Training:
    training = asked(services, forced=forced)
    with services.database.write() as tx:
        store.begin(tx, training.id, now())
        store.end(tx, training.id, state, error="a reason", now=now())
        return store.get(tx, training.id)


def entries(services: Services, action: str) -> list[tuple[str, str | None, str | None, dict[str, Any]]]:
    with services.database.read() as tx:
        found = audit.list_entries(tx, limit=100)
    return [(one.actor, one.channel, one.subject, dict(one.details)) for one in found if one.action == action]


def test_a_training_is_asked_for_and_waits(client: TestClient, services: Services) -> None:
    answer = client.post(TRAININGS)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"{TRAININGS}/{made['id']}"
    assert client.get(answer.headers["location"]).json() == made
    actor = made["requestedBy"]
    assert actor.startswith("token:")
    assert made == {
        **dict.fromkeys(("startedAt", "endedAt", "cancelledAt", "etaSeconds", "version", "productCount")),
        **dict.fromkeys(("imageCount", "trainingDuration", "accuracy", "error")),
        "id": made["id"],
        "channelId": "T_1",
        "status": "queued",
        "reason": "person",
        "requestedBy": actor,
        "forced": False,
        "createdAt": made["createdAt"],
        "stage": "",
        "done": 0,
        "total": 0,
        "gate": "",
    }
    with services.database.read() as tx:
        assert channel_store.get(tx, "T_1").settings.model_training_status == "queued"
    subject = str(made["id"])
    assert entries(services, "training_requested") == [(actor, "T_1", subject, {"forced": False})]


def test_one_training_waits_however_often_it_is_asked_for(client: TestClient) -> None:
    first = client.post(TRAININGS, json={}).json()
    second = client.post(TRAININGS, json={"force": True}).json()
    assert (first["forced"], second) == (False, {**first, "forced": True})
    assert len(client.get(TRAININGS).json()["items"]) == 1


def test_trainings_are_listed_page_by_page_newest_first(client: TestClient, services: Services) -> None:
    made = [ended(services, TrainingState.FAILED).id for _ in range(3)]
    asked(services, "T_2")
    first = client.get(TRAININGS, params={"limit": 2})
    assert [one["id"] for one in first.json()["items"]] == made[:0:-1]
    rest = client.get(first.headers["link"].split(";")[0].strip("<>")).json()
    assert ([one["id"] for one in rest["items"]], rest["nextCursor"]) == (made[:1], None)
    assert first.json()["items"][0]["error"] == "a reason"


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("admin", {"read", "write"}),
        ("channel:T_1:write", {"read", "write"}),
        ("channel:T_1:read", {"read"}),
        ("channel:T_2:write", set()),
        ("key", set()),
    ],
)
def test_who_may_not_is_refused(services: Services, app: FastAPI, scope: str, allowed: set[str]) -> None:
    failed = ended(services, TrainingState.FAILED)
    headers = {"authorization": "Bearer ck_1"} if scope == "key" else bearer(services, scope)
    one = f"{TRAININGS}/{failed.id}"
    with TestClient(app, headers=headers) as client:
        reads = [client.get(path).status_code for path in (TRAININGS, one, f"{one}/events")]
        again = client.post(f"{one}/retry")
        waiting = asked(services)
        writes = [again.status_code, client.post(TRAININGS).status_code]
        writes.append(client.post(f"{TRAININGS}/{waiting.id}/cancel").status_code)
    assert reads == [200 if "read" in allowed else 403] * 3
    assert writes == ([202, 202, 200] if "write" in allowed else [403] * 3)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")]
)
def test_the_training_of_another_channel_is_not_there(
    client: TestClient, services: Services, method: str, path: str
) -> None:
    theirs = asked(services, "T_2")
    for number in (theirs.id, 4711):
        answer = client.request(method, f"{TRAININGS}/{number}{path}")
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"there is no training {number}: list the trainings of the channel"
    with services.database.read() as tx:
        assert store.get(tx, theirs.id) == theirs


def test_a_channel_that_is_not_there_has_no_trainings(app: FastAPI, services: Services) -> None:
    with TestClient(app, headers=bearer(services, "admin")) as client:
        for answer in (client.get("/api/v1/channels/T_9/trainings"), client.post("/api/v1/channels/T_9/trainings")):
            assert answer.status_code == 404


def test_one_that_waits_is_cancelled_at_once_and_one_that_runs_is_marked(
    client: TestClient, services: Services
) -> None:
    waiting = asked(services)
    answer = client.post(f"{TRAININGS}/{waiting.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    again = client.post(f"{TRAININGS}/{waiting.id}/cancel")
    assert (again.status_code, "has ended: it is cancelled" in again.json()["detail"]) == (409, True)
    running = begun(services)
    for _ in range(2):  # the second changes nothing
        marked = client.post(f"{TRAININGS}/{running.id}/cancel").json()
        assert (marked["status"], marked["endedAt"], marked["cancelledAt"] is None) == ("training", None, False)
    assert [one[2] for one in entries(services, "training_cancelled")] == [str(running.id), str(waiting.id)]


def test_of_a_cancel_and_a_worker_that_begins_one_is_first(services: Services) -> None:
    def begin(number: int) -> bool:
        with services.database.write() as tx:
            return store.begin(tx, number, now())

    def cancel(number: int) -> Training:
        return requests.cancel(services.database, number, Asker(actor="anna"))

    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            number = asked(services).id
            began, cancelled = threads.submit(begin, number), threads.submit(cancel, number)
            state = TrainingState.TRAINING if began.result() else TrainingState.CANCELLED
            assert cancelled.result().status is state
            with services.database.write() as tx:
                assert store.is_cancelled(tx, number)
                store.end(tx, number, TrainingState.CANCELLED, now=now())


def test_of_a_cancel_and_an_end_the_later_finds_it_ended(services: Services) -> None:
    def end(number: int) -> None:
        with services.database.write() as tx:
            store.end(tx, number, TrainingState.FAILED, error="a reason", now=now())

    def cancel(number: int) -> str:
        try:
            return requests.cancel(services.database, number, Asker(actor="anna")).status
        except ConflictError:
            return "refused"

    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            number = begun(services).id
            cancelled, done = threads.submit(cancel, number), threads.submit(end, number)
            done.result()
            assert cancelled.result() in {"training", "refused"}
            with services.database.read() as tx:
                assert store.get(tx, number).status is TrainingState.FAILED


@pytest.mark.parametrize("state", [TrainingState.FAILED, TrainingState.CANCELLED, TrainingState.IDLE])
def test_what_came_to_nothing_is_tried_again(client: TestClient, services: Services, state: TrainingState) -> None:
    before = ended(services, state, forced=True)
    answer = client.post(f"{TRAININGS}/{before.id}/retry")
    again = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"{TRAININGS}/{again['id']}")
    assert (again["id"] > before.id, again["status"], again["forced"]) == (True, "queued", True)
    assert entries(services, "training_requested")[0][3] == {"forced": True, "retryOf": before.id}


@pytest.mark.parametrize("state", [TrainingState.QUEUED, TrainingState.TRAINING, TrainingState.READY])
def test_what_has_not_come_to_nothing_is_not_tried_again(
    client: TestClient, services: Services, state: TrainingState
) -> None:
    if state is TrainingState.READY:
        before = ended(services, state)
    else:
        before = asked(services) if state is TrainingState.QUEUED else begun(services)
    answer = client.post(f"{TRAININGS}/{before.id}/retry")
    assert answer.status_code == 409
    assert f"training {before.id} of T_1 is {state}: only one that failed" in answer.json()["detail"]
    assert len(client.get(TRAININGS).json()["items"]) == 1


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "x"])
def test_an_id_that_cannot_be_is_refused(client: TestClient, number: str) -> None:
    assert client.get(f"{TRAININGS}/{number}").status_code == 422


def test_the_rest_is_estimated_from_what_is_done(sqlite: Database, tmp_path: Path) -> None:
    with sqlite.write() as tx:
        training = store.request(tx, "default", reason=Reason.PERSON, requested_by="anna", now=now())
    started = now()
    running = replace(training, status=TrainingState.TRAINING, started_at=started, done=25, total=100)
    assert eta_s(running, started + timedelta(seconds=10)) == 30
    assert eta_s(running, started - timedelta(seconds=10)) == 0  # a clock that was put back
    for unknown in (
        replace(running, done=0),
        replace(running, done=100),
        replace(running, total=0),
        replace(running, started_at=None),
        replace(running, status=TrainingState.FAILED),
    ):
        assert eta_s(unknown, started + timedelta(seconds=10)) is None


class Stream:
    """The events of a stream, as they come."""

    def __init__(self, answer: Response) -> None:
        self.headers = answer.headers
        self._lines = answer.iter_lines()

    def block(self) -> dict[str, str]:
        """Return the next block; empty after the last."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line:
                return found
            name, _, value = line.partition(":")
            found[name] = value.strip()
        return found

    def training(self) -> Any:
        """Return the document of the next event."""
        while block := self.block():
            if block.get("event") == "progress":
                return json.loads(block["data"])
        return None


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Yield the address of a real server."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=WAIT_S)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of(listener)
    finally:
        events.end_streams(app)
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()
    assert not thread.is_alive()


@contextmanager
def streaming(app: FastAPI, services: Services, training: Training) -> Iterator[Stream]:
    """Yield the stream of a training, from a real server."""
    with (
        serving(app) as address,
        Client(base_url=address, headers=bearer(services, "channel:T_1:read"), timeout=WAIT_S) as client,
        client.stream("GET", f"{TRAININGS}/{training.id}/events") as answer,
    ):
        assert answer.status_code == 200
        yield Stream(answer)


def test_a_training_is_followed_until_it_ends(app: FastAPI, services: Services) -> None:
    training = asked(services)
    with streaming(app, services, training) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert (stream.headers["x-accel-buffering"], stream.headers["cache-control"]) == ("no", "no-store")
        assert stream.block() == {"retry": "2000"}
        assert stream.training()["status"] == "queued"
        with services.database.write() as tx:
            store.begin(tx, training.id, now())
        assert stream.training()["status"] == "training"
        with services.database.write() as tx:
            store.note_progress(tx, training.id, stage="Looking at photos", done=3, total=9, now=now())
        told = stream.training()
        assert (told["stage"], told["done"], told["total"]) == ("Looking at photos", 3, 9)
        assert told["etaSeconds"] is not None
        with services.database.write() as tx:
            store.end(tx, training.id, TrainingState.FAILED, error="a reason", now=now())
        last = stream.block()
        assert last["id"] == "ended"
        assert json.loads(last["data"])["error"] == "a reason"
        assert stream.block() == {}


def test_who_has_seen_the_end_is_told_not_to_come_back(client: TestClient, services: Services) -> None:
    path = f"{TRAININGS}/{ended(services, TrainingState.CANCELLED).id}/events"
    seen = client.get(path)
    assert (seen.status_code, seen.text.count("event: progress")) == (200, 1)
    assert client.get(path, headers={"last-event-id": "ended"}).status_code == 204


def test_a_silent_stream_is_kept_alive_and_does_not_last_for_ever(
    app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_LOOKS_EVERY_S", 0.01)
    monkeypatch.setattr(events, "_KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(events, "_LASTS_S", 0.5)
    with streaming(app, services, begun(services)) as stream:
        assert [set(stream.block()) for _ in range(3)] == [{"retry"}, {"event", "data"}, {""}]
        while stream.block():
            pass


def test_a_stream_outlives_a_database_that_is_away(
    app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, get = begun(services), store.get
    tries = iter([DatabaseError("away"), DatabaseError("away")])

    def away(tx: Any, number: int) -> Training:
        for error in tries:
            raise error
        return get(tx, number)

    with streaming(app, services, training) as stream:
        assert stream.training()["status"] == "training"
        monkeypatch.setattr(store, "get", away)
        with services.database.write() as tx:
            tx.execute(update(trainings).where(trainings.c.id == training.id).values(stage="Publishing"))
        assert stream.training()["stage"] == "Publishing"


def test_a_server_counts_its_streams_from_the_start(services: Services) -> None:
    one, other = build_app(services), build_app(services)
    assert one.state.streams is events.streams_of(one)
    assert events.streams_of(one) is not events.streams_of(other)


def test_a_stream_ends_with_its_channel_and_with_the_server(app: FastAPI, services: Services) -> None:
    with streaming(app, services, begun(services)) as stream:
        assert stream.training()["status"] == "training"
        with services.database.write() as tx:
            channel_store.delete(tx, "T_1")
        assert stream.training() is None
    with services.database.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    app.state.streams.is_ending = False
    with streaming(app, services, begun(services)) as stream:
        assert stream.training()["status"] == "training"
        events.end_streams(app)
        assert stream.training() is None


def test_streams_are_bounded_and_one_that_nobody_reads_makes_room(
    app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_OF_ONE", 1)
    monkeypatch.setattr(events, "MOST", 2)
    path = f"{TRAININGS}/{begun(services).id}/events"
    mine, theirs, third = (bearer(services, "channel:T_1:read") for _ in range(3))

    def status(client: Client, headers: dict[str, str]) -> int:
        with client.stream("GET", path, headers=headers) as answer:
            return int(answer.status_code)

    with serving(app) as address, Client(base_url=address, timeout=WAIT_S) as client:
        with client.stream("GET", path, headers=mine) as first:
            watched = Stream(first)
            assert watched.training()["status"] == "training"
            assert status(client, mine) == 429
            with client.stream("GET", path, headers=theirs) as second:
                also_watched = Stream(second)
                assert also_watched.training()["status"] == "training"
                assert status(client, third) == 429
        give_up_at = time.monotonic() + WAIT_S
        while status(client, mine) != 200:
            assert time.monotonic() < give_up_at
