"""What devices report arrives once, whatever else is in the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from shelfsight.access.limits import RequestLimits, VolumeLimit
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.tables import channels, events
from shelfsight.storage import open_storage
from shelfsight.telemetry import store
from shelfsight.telemetry.rules import EVENTS_A_MINUTE, MOST_EVENTS

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database

DEVICE = "ab" * 32
PREDICTION = {
    "id": "event-0001",
    "at": "2026-11-20T12:00:00Z",
    "kind": "prediction",
    "version": "1.4.2",
    "device": DEVICE,
    "productId": "apple",
    "confidence": 0.97,
    "known": True,
    "latencyMs": 31.5,
}


@pytest.fixture
def client(database: Database, tmp_path: Path) -> TestClient:
    with database.write() as tx:
        tx.execute(insert(channels), [{"id": "T_1", "token": "ck_1"}, {"id": "T_2", "token": "ck_2"}])
    app = build_app(Services(database=database, storage=open_storage(tmp_path / "assets")))
    client = TestClient(app, raise_server_exceptions=False)
    client.headers["authorization"] = "Bearer ck_1"
    return client


def report(client: TestClient, *reported: Any, channel: str = "T_1") -> Any:
    return client.post("/api/v1/events", json={"channelId": channel, "events": reported})


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as tx:
        return [dict(row) for row in tx.execute(select(events).order_by(events.c.id)).mappings()]


def test_an_event_is_stored_as_it_was_sent(client: TestClient, database: Database) -> None:
    answer = report(client, PREDICTION)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"stored": 1, "refused": []}
    (row,) = stored(database)
    assert abs(row.pop("received_at") - datetime.now(UTC)) < timedelta(minutes=1)
    assert row == {
        "channel_id": "T_1",
        "id": "event-0001",
        "at": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "kind": "prediction",
        "version": "1.4.2",
        "device": DEVICE,
        "product_id": "apple",
        "correct_product_id": None,
        "confidence": 0.97,
        "known": True,
        "latency_ms": 31.5,
        "agrees": None,
        "reason": None,
    }


def test_the_same_event_again_is_stored_once_also_within_a_batch(client: TestClient, database: Database) -> None:
    other = {**PREDICTION, "id": "event-0002"}
    assert report(client, PREDICTION, PREDICTION).json()["stored"] == 1
    assert report(client, {**PREDICTION, "confidence": 0.1}, other).json()["stored"] == 1
    assert [(row["id"], row["confidence"]) for row in stored(database)] == [
        ("event-0001", 0.97),
        ("event-0002", 0.97),
    ]


def test_the_same_batch_from_two_connections_at_once_is_stored_once(client: TestClient, database: Database) -> None:
    batch = [{**PREDICTION, "id": f"event-{number:04}"} for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: report(client, *batch), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(answer.json()["stored"] for answer in answers) == 50
    assert len(stored(database)) == 50


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({**PREDICTION, "kind": "dream"}, "kind"),
        ({**PREDICTION, "confidence": 1.5}, "confidence"),
        ({**PREDICTION, "confidence": "0.5"}, "confidence"),
        ({**PREDICTION, "device": "my phone"}, "device"),
        ({**PREDICTION, "version": "../../1"}, "version"),
        ({**PREDICTION, "productId": "a\x00b"}, "NUL"),
        ({**PREDICTION, "picture": "…"}, "picture"),
        ({"id": "event-0001"}, "at"),
        ("an event", "event"),
        (None, "event"),
    ],
)
def test_a_wrong_event_is_named_and_keeps_no_other_out(
    client: TestClient, database: Database, wrong: Any, reason: str
) -> None:
    answer = report(client, wrong, {**PREDICTION, "id": "event-good"}).json()
    assert answer["stored"] == 1
    assert [(one["index"], reason in one["reason"]) for one in answer["refused"]] == [(0, True)]
    assert [row["id"] for row in stored(database)] == ["event-good"]


def test_an_answer_says_how_often_the_config_has_changed(client: TestClient, database: Database) -> None:
    with database.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "T_1").values(sequence=41))
    assert report(client, PREDICTION).headers["x-shelfsight-sequence"] == "41"


@pytest.mark.parametrize(("token", "status"), [("ck_2", 403), ("ck_3", 401)])
def test_another_channels_device_reports_nothing(
    client: TestClient, database: Database, token: str, status: int
) -> None:
    client.headers["authorization"] = f"Bearer {token}"
    assert report(client, PREDICTION).status_code == status
    assert stored(database) == []


@pytest.mark.parametrize("reported", [[], [PREDICTION] * 501])
def test_a_batch_is_neither_empty_nor_endless(client: TestClient, reported: list[Any]) -> None:
    assert report(client, *reported).status_code == 422


def test_old_events_are_forgotten(client: TestClient, database: Database) -> None:
    report(client, PREDICTION)
    with database.write() as tx:
        assert store.forget(tx, datetime.now(UTC) - timedelta(days=1), 9) == 0
        assert store.forget(tx, datetime.now(UTC) + timedelta(days=1), 9) == 1
    assert stored(database) == []


@pytest.mark.parametrize(
    ("scopes", "channel", "status"),
    [
        (["channel:T_1:read"], None, 403),
        (["device"], "T_2", 403),
        (["channel:T_1:write"], None, 200),
        (["device"], "T_1", 200),
        (["admin"], None, 200),
    ],
)
def test_who_may_only_read_reports_nothing(
    client: TestClient, database: Database, scopes: list[str], channel: str | None, status: int
) -> None:
    token = create_token(database, NewToken(name="one", scopes=scopes, channel=channel), by=COMMAND_LINE).text
    client.headers["authorization"] = f"Bearer {token}"
    assert report(client, PREDICTION).status_code == status
    assert len(stored(database)) == (status == 200)


@pytest.mark.parametrize(
    "at",
    ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", -(10**11), 1e300],
)
def test_a_moment_that_no_clock_shows_keeps_no_other_event_out(
    client: TestClient, database: Database, at: str | float
) -> None:
    answer = report(client, {**PREDICTION, "at": at}, {**PREDICTION, "id": "event-good"})
    assert answer.status_code == 200, answer.text
    assert [(one["index"], one["reason"].startswith("at: ")) for one in answer.json()["refused"]] == [(0, True)]
    assert [row["id"] for row in stored(database)] == ["event-good"]


def test_an_address_that_reports_too_often_waits(sqlite: Database, tmp_path: Path) -> None:
    with sqlite.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    services = Services(database=sqlite, storage=open_storage(tmp_path / "assets"), limits=RequestLimits(3))
    client = TestClient(build_app(services), headers={"authorization": "Bearer ck_1"})
    answers = [report(client, {**PREDICTION, "id": f"event-{number:04}"}) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["retry-after"] == "60"
    assert len(stored(sqlite)) == 3


def batch(first: int, count: int) -> list[dict[str, Any]]:
    return [{**PREDICTION, "id": f"event-{number:05}"} for number in range(first, first + count)]


def test_whoever_has_a_channels_key_stores_so_many_events_a_minute_and_no_more(
    client: TestClient, database: Database
) -> None:
    before = EVENTS_A_MINUTE - MOST_EVENTS
    assert client.app.state.event_volume.allows(before, "T_1", "channel:T_1")  # type: ignore[attr-defined]
    assert report(client, *batch(0, 1)).status_code == 200
    refusal = report(client, *batch(1, MOST_EVENTS))
    assert (refusal.status_code, refusal.headers["retry-after"]) == (429, "60")
    assert refusal.json()["type"] == "urn:shelfsight:problem:too_many_requests"
    assert report(client, *batch(1, MOST_EVENTS - 1)).status_code == 200
    assert report(client, *batch(600, 1)).status_code == 429
    assert len(stored(database)) == MOST_EVENTS


def test_what_one_brings_too_much_of_keeps_no_other_channel_and_no_token_out(
    client: TestClient, database: Database
) -> None:
    client.app.state.event_volume = VolumeLimit(3)  # type: ignore[attr-defined]
    assert [report(client, *batch(first, 2)).status_code for first in (0, 2)] == [200, 429]
    assert report(client, *batch(2, 1)).status_code == 200
    own = create_token(database, NewToken(name="till 1", scopes=["device"], channel="T_1"), by=COMMAND_LINE).text
    for token, channel in ((own, "T_1"), ("ck_2", "T_2")):
        client.headers["authorization"] = f"Bearer {token}"
        assert report(client, *batch(10, 3), channel=channel).status_code == 200


def test_who_may_report_nothing_uses_nothing_up(client: TestClient) -> None:
    client.app.state.event_volume = VolumeLimit(3)  # type: ignore[attr-defined]
    client.headers["authorization"] = "Bearer ck_2"
    assert report(client, *batch(0, 3)).status_code == 403
    assert report(client, *batch(0, 3), channel="T_2").status_code == 200
