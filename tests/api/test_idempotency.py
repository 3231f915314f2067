"""A POST that is sent twice happens once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from shelfsight.api.idempotency import DEAD_AFTER, purge
from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import channels
from shelfsight.database.tables import idempotency_keys, tokens

if TYPE_CHECKING:
    from starlette.testclient import TestClient as Client

    from tests.api.conftest import World

NOTE = {"text": "hello", "times": 2}
KEY = {"idempotency-key": "key-1"}


def age(world: World, by: timedelta) -> None:
    with world.database.write() as connection:
        connection.execute(update(idempotency_keys).values(created_at=datetime.now(UTC) - by))


def leave_as_killed(world: World, by: timedelta) -> Client:
    """Return a client whose request was begun so long ago, and never answered."""
    client = world.client("admin")
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 201
    with world.database.write() as connection:
        connection.execute(update(idempotency_keys).values(status=None, body=None))
    age(world, by)
    return client


def test_the_same_request_again_gets_the_same_bytes_and_does_nothing(each_world: World) -> None:
    client = each_world.client("admin")
    first = client.post("/probe/notes", json=NOTE, headers=KEY)
    second = client.post("/probe/notes", json=NOTE, headers=KEY)
    assert each_world.probe.calls == ["hello"]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert dict(second.headers) == {**first.headers, "idempotent-replayed": "true"}


def test_of_a_device_nothing_is_kept(world: World) -> None:
    client = world.client("device", channel="T_1")
    public = world.client()
    public.headers["authorization"] = "Bearer ck_of_t1"
    for sender in (client, public):
        for number in range(3):
            sender.post("/api/v1/channels/T_1/products", json={}, headers={"idempotency-key": f"{number}"})
    assert world.keys() == 0


def test_without_a_key_every_request_happens(world: World) -> None:
    client = world.client("admin")
    for _ in range(2):
        client.post("/probe/notes", json=NOTE)
    assert world.probe.calls == ["hello", "hello"]


@pytest.mark.parametrize(
    ("path", "note"),
    [("/probe/notes", {"text": "other"}), ("/probe/notes?x=1", NOTE), ("/probe/open", NOTE)],
)
def test_a_key_of_another_request_is_refused(world: World, path: str, note: dict[str, object]) -> None:
    client = world.client("admin")
    client.post("/probe/notes", json=NOTE, headers=KEY)
    clash = client.post(path, json=note, headers=KEY)
    assert (clash.status_code, clash.headers["content-type"]) == (422, "application/problem+json")
    assert "came with another request" in clash.json()["detail"]
    assert world.probe.calls == ["hello"]
    assert world.refused()[1:] == ("POST", path.partition("?")[0], 422, "usage")


def test_two_callers_may_have_the_same_key(world: World) -> None:
    answers = [world.client("admin").post("/probe/notes", json=NOTE, headers=KEY) for _ in range(2)]
    assert [answer.json()["number"] for answer in answers] == [1, 2]


def test_of_many_at_once_one_happens(each_world: World) -> None:
    client = each_world.client("admin")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post("/probe/notes", json=NOTE, headers=KEY), range(8)))
    assert each_world.probe.calls == ["hello"]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1


def test_while_the_first_runs_the_second_is_told_to_wait(world: World) -> None:
    client = world.client("admin")
    begun, may_end = Event(), Event()

    def wait() -> None:
        begun.set()
        assert may_end.wait(30)

    world.probe.during = wait
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/probe/notes", json=NOTE, headers=KEY)
        assert begun.wait(30)
        second = client.post("/probe/notes", json=NOTE, headers=KEY)
        may_end.set()
        assert first.result().status_code == 201
    assert (second.status_code, second.json()["type"]) == (409, "urn:shelfsight:problem:conflict")
    assert "is running" in second.json()["detail"]
    assert client.post("/probe/notes", json=NOTE, headers=KEY).content == first.result().content
    assert world.probe.calls == ["hello"]


def test_a_request_that_was_killed_is_run_again_when_it_cannot_run_any_more(each_world: World) -> None:
    client = leave_as_killed(each_world, DEAD_AFTER)
    assert client.post("/probe/notes", json=NOTE, headers=KEY).json()["number"] == 2
    assert client.post("/probe/notes", json=NOTE, headers=KEY).json()["number"] == 2


def test_a_request_that_may_still_run_is_not_run_beside_it(each_world: World) -> None:
    client = leave_as_killed(each_world, timedelta(minutes=3))
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 409
    assert each_world.probe.calls == ["hello"]


def test_of_many_who_take_over_a_killed_request_one_does(each_world: World) -> None:
    client = leave_as_killed(each_world, DEAD_AFTER)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: client.post("/probe/notes", json=NOTE, headers=KEY), range(6)))
    assert each_world.probe.calls == ["hello", "hello"]


def test_one_who_was_taken_for_dead_does_not_overwrite_the_answer(world: World) -> None:
    client = world.client("admin")
    world.probe.during = lambda: age(world, DEAD_AFTER)
    client.post("/probe/notes", json=NOTE, headers=KEY)
    world.probe.during = lambda: None
    second = client.post("/probe/notes", json=NOTE, headers=KEY)
    assert second.json()["number"] == 2
    assert client.post("/probe/notes", json=NOTE, headers=KEY).content == second.content


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422, 429, 500, 502, 503])
def test_a_refusal_or_failure_is_not_kept(world: World, status: int) -> None:
    client = world.client("admin")
    world.probe.status = status
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == status
    world.probe.status = 201
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 201


def test_a_request_that_broke_is_a_first_one_again(world: World) -> None:
    client = world.client("admin")

    def fail() -> None:
        raise KeyError

    world.probe.during = fail
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 500
    world.probe.during = lambda: None
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 201


def test_what_was_refused_is_tried_anew_when_its_cause_is_gone(world: World) -> None:
    client = world.client("admin")
    with world.database.write() as tx:
        channels.create(tx, "T_7", {}, Stamp(actor="test", at=datetime.now(UTC)))
    restore = "/api/v1/channels/T_7/products/p1/restore"
    assert client.post(restore, headers=KEY).status_code == 404
    assert client.put("/api/v1/channels/T_7/products/p1", json={"name": "Apple"}).status_code == 201
    again = client.post(restore, headers=KEY)
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)
    assert client.post(restore, headers=KEY).headers["idempotent-replayed"] == "true"


def test_a_new_token_is_made_once_and_its_secret_is_not_kept(world: World) -> None:
    client = world.client("admin")
    wanted = {"name": "till", "scopes": ["channel:T_1:read"]}
    first, second = (client.post("/api/v1/tokens", json=wanted, headers=KEY) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 409)
    assert "held a secret that is not kept" in second.json()["detail"]
    with world.database.read() as connection:
        kept = connection.execute(select(idempotency_keys)).one()
        made = connection.execute(select(tokens).where(tokens.c.name == "till")).all()
    assert first.json()["token"].encode() not in kept.body
    assert len(made) == 1


def test_a_form_is_the_same_whatever_ends_its_parts(world: World) -> None:
    client = world.client("admin")
    answers = [client.post("/probe/files", files={"file": b"picture"}, headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert world.probe.calls == ["file"]
    other = client.post("/probe/files", files={"file": b"other"}, headers=KEY)
    assert other.status_code == 422


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there", "\u00a0"])
def test_a_key_that_is_none_is_refused(world: World, key: str) -> None:
    headers = {"idempotency-key": key.encode("latin-1")}
    answer = world.client("admin").post("/probe/notes", json=NOTE, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, world.probe.calls) == (422, [])


def test_nobody_keeps_nothing(world: World) -> None:
    client = world.client()
    assert client.post("/probe/notes", json=NOTE, headers=KEY).status_code == 401
    assert client.post("/probe/open", json=NOTE, headers=KEY).status_code == 200
    assert world.keys() == 0


def test_keys_are_kept_for_a_day(each_world: World) -> None:
    client = each_world.client("admin")
    client.post("/probe/notes", json=NOTE, headers=KEY)
    now = datetime.now(UTC)
    with each_world.database.write() as connection:
        assert purge(connection, now - timedelta(hours=24)) == 0
        assert purge(connection, now + timedelta(seconds=1)) == 1
    assert client.post("/probe/notes", json=NOTE, headers=KEY).json()["number"] == 2
