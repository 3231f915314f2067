"""What a Vendure server's plugin posts: believed when signed, taken once, and only about what is connected."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from shelfsight.access import audit
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database import clock
from shelfsight.database.tables import channels, trainings, vendure_messages, vendure_wanted
from shelfsight.storage import open_storage
from shelfsight.vendure import mirror_store, store
from shelfsight.vendure.mirror_store import LOOK_AFTER
from shelfsight.vendure.rules import Server
from shelfsight.webhooks.rules import headers_of
from tests.vendure.connected import connected

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from httpx2 import Response

    from shelfsight.database.engine import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (of the specification)
PRODUCT = {"kind": "product", "action": "updated", "channelIds": None, "userId": "3", "at": "2026-11-20T12:00:00Z"}


@dataclass
class Plugin:
    """The plugin of the Vendure server `ours`, whose channels 2 and 3 are connected with T_2 and T_3."""

    client: TestClient
    database: Database
    count: int = field(default=0)

    def post(self, path: str, body: object, **changed: Any) -> Response:
        """Post something signed; `changed` says what is different from how it ought to be."""
        self.count += 1
        sent = json.dumps(body).encode()
        server, secret = changed.get("server", "ours"), changed.get("secret", SECRET)
        at = datetime.now(UTC) + timedelta(seconds=changed.get("late_s", 0))
        message_id = changed.get("message_id", f"msg_{self.count}")
        headers = {name.decode(): value.decode() for name, value in headers_of(secret, message_id, sent, at)}
        content = changed.get("content", sent)
        return self.client.post(f"/api/v1/vendure/{server}/{path}", content=content, headers=headers)

    def events(self, *events: dict[str, Any], **changed: Any) -> Response:
        """Post events."""
        return self.post("events", {"events": list(events)}, **changed)

    def connect(self, server_id: str, theirs: Collection[str]) -> None:
        """Connect channels of a server with new ones of ours, to be looked at later."""
        with self.database.write() as tx:
            server, later = store.get_server(tx, server_id), clock.now(tx) + timedelta(minutes=5)
            assert server
            for one in theirs:
                tx.execute(insert(channels).values(id=f"T_{one}", token=f"ck_{one}"))
                store.put_channel(tx, connected(server, one, later))

    def rows(self) -> int:
        """Return how many products of how many channels are to be looked at."""
        with self.database.read() as tx:
            return len(tx.execute(select(vendure_wanted)).all())

    def wanted(self, channel: str = "T_2") -> set[str]:
        """Return the products that are to be looked at soon."""
        with self.database.read() as tx:
            return set(store.wanted_of(tx, channel, 10_000))

    def due(self) -> list[str]:
        """Return the channels that are to be looked at now."""
        with self.database.read() as tx:
            return store.due(tx, clock.now(tx))


@pytest.fixture
def plugin(database: Database, tmp_path: Path) -> Plugin:
    """A plugin, and a server of ours on either database."""
    with database.write() as tx:
        later = clock.now(tx) + timedelta(minutes=5)
        for server_id, port in (("ours", 1), ("other", 2)):
            server = Server(
                id=server_id, api_url=f"http://127.0.0.1:{port}", secret=SECRET, user_id="1", api_key="key"
            )
            store.put_server(tx, server, at=later, by="maria")
    app = build_app(Services(database=database, storage=open_storage(tmp_path / "assets")))
    plugin = Plugin(TestClient(app, raise_server_exceptions=False, client=("192.0.2.7", 1)), database)
    plugin.connect("ours", ["2", "3"])
    plugin.connect("other", ["4"])
    return plugin


def test_events_let_products_be_looked_at_in_the_channels_that_may_have_them(plugin: Plugin) -> None:
    everywhere = {**PRODUCT, "productIds": ["7", "8"]}
    in_one = {**PRODUCT, "kind": "productChannel", "action": "assigned", "productIds": ["9"], "channelIds": ["3"]}
    answer = plugin.events(everywhere, in_one)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert (plugin.wanted("T_2"), plugin.wanted("T_3")) == ({"7", "8"}, {"7", "8", "9"})
    assert plugin.wanted("T_4") == set()  # of another server
    assert plugin.due() == ["T_2", "T_3"]


def test_events_that_come_twice_count_once(plugin: Plugin) -> None:
    assert plugin.events({**PRODUCT, "productIds": ["7"]}, message_id="msg_a").status_code == 202
    again = plugin.events({**PRODUCT, "productIds": ["8"]}, message_id="msg_a", late_s=60)
    assert (again.status_code, again.json()) == (200, {"accepted": 0})
    assert plugin.wanted() == {"7"}


def test_our_own_changes_are_nothing_new(plugin: Plugin) -> None:
    assert plugin.events({**PRODUCT, "productIds": ["7"], "userId": "1"}).status_code == 202
    assert plugin.due() == []


def test_a_change_of_a_channel_lets_all_of_it_be_looked_at(plugin: Plugin) -> None:
    changed = {**PRODUCT, "kind": "channel", "productIds": [], "channelIds": ["3"]}
    assert plugin.events(changed).status_code == 202
    assert plugin.due() == ["T_3"]


def test_what_a_channel_says_of_its_model_is_looked_at_soon_after_somebody_elses_change_of_it(plugin: Plugin) -> None:
    with plugin.database.write() as tx:
        now = clock.now(tx)
        for channel in ("T_2", "T_3", "T_4"):
            mirror_store.note_told(tx, channel, mirror_store.get(tx, channel), again_at=now + timedelta(minutes=10))
    changed: dict[str, Any] = {**PRODUCT, "kind": "channel", "productIds": []}
    plugin.events({**changed, "channelIds": ["2"], "userId": "1"})  # our own
    plugin.events({**changed, "channelIds": ["3"]}, {**PRODUCT, "productIds": ["7"], "channelIds": ["2"]})
    with plugin.database.read() as tx:
        assert mirror_store.due_channels(tx, clock.now(tx) + LOOK_AFTER) == ["T_3"]


def test_of_a_hundred_channels_only_those_are_looked_at_that_a_changed_product_is_in(plugin: Plugin) -> None:
    theirs = [str(number) for number in range(100, 200)]
    plugin.connect("ours", theirs)
    plugin.events({**PRODUCT, "productIds": ["7"]})  # as older plugins tell it
    assert plugin.rows() == 102
    plugin.events({**PRODUCT, "productIds": ["8"], "channelIds": ["1", "150", "2"]})
    assert plugin.rows() == 102 + 2
    assert (plugin.wanted("T_150"), plugin.wanted("T_151")) == ({"7", "8"}, {"7"})


def test_channels_whose_last_sync_failed_come_after_the_others(plugin: Plugin) -> None:
    assert plugin.events({**PRODUCT, "productIds": ["7"]}).status_code == 202
    with plugin.database.write() as tx:
        now = clock.now(tx)
        store.note_failed(tx, "T_2", "it hangs", attempts=1, retry_at=now)
        store.scan_now(tx, ["T_4"], now)
    assert plugin.due() == ["T_3", "T_4", "T_2"]


def test_who_does_not_know_the_secret_is_told_nothing(plugin: Plugin) -> None:
    wrongs: list[dict[str, Any]] = [
        {"secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"late_s": -330},
        {"late_s": 330},
        {"server": "unknown"},
        {"server": "unknown", "secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        {"message_id": ""},
    ]
    bodies: dict[str, object] = {
        "events": {"events": [{**PRODUCT, "productIds": ["7"]}]},
        "trainings": {"channelId": "2", "requestedBy": "Anna"},
        "trainings/status": {"channelId": "2"},
        "ping": {},
    }
    for path, body in bodies.items():
        answers = [plugin.post(path, body, **wrong) for wrong in wrongs]
        assert {answer.status_code for answer in answers} == {401}, path
        assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
        (told,) = {answer.json()["detail"] for answer in answers}
        assert told.startswith("the signature is wrong, or older than five minutes")
        assert plugin.post(path, body).status_code in {200, 202}, path
    assert plugin.wanted() == {"7"}
    with plugin.database.read() as tx:
        assert len(tx.execute(select(trainings.c.id)).all()) == 1
        assert len(tx.execute(select(vendure_messages.c.id)).all()) == 2


def test_a_body_that_was_changed_on_the_way_is_not_believed(plugin: Plugin) -> None:
    forged = json.dumps({"events": [{**PRODUCT, "productIds": ["8"]}]}).encode()
    assert plugin.events({**PRODUCT, "productIds": ["7"]}, content=forged).status_code == 401


def test_a_body_that_is_not_as_documented_is_refused(plugin: Plugin) -> None:
    wrongs: list[object] = [
        {"events": [{**PRODUCT, "productIds": ["7"]}] * 501},
        {"events": [{**PRODUCT, "productIds": ["7"] * 1001}]},
        {"events": [{**PRODUCT, "productIds": ["7" * 121]}]},
        {"events": [{**PRODUCT, "productIds": [""]}]},
        {"events": [{**PRODUCT, "productIds": ["7"], "at": "yesterday"}]},
        {"events": None},
        [],
    ]
    assert [plugin.post("events", wrong).status_code for wrong in wrongs] == [422] * len(wrongs)
    assert plugin.wanted() == set()


def test_more_products_than_can_be_named_let_everything_be_looked_at(plugin: Plugin) -> None:
    many = [{**PRODUCT, "productIds": [str(number + first) for number in range(600)]} for first in (0, 600)]
    assert plugin.events(*many).status_code == 202
    assert plugin.wanted() == set()
    assert plugin.due() == ["T_2", "T_3"]


def test_a_training_is_asked_for_once_in_the_name_of_who_pressed_the_button(plugin: Plugin) -> None:
    wish = {"channelId": "2", "requestedBy": "Anna Bäcker"}
    asked = plugin.post("trainings", wish, message_id="msg_t")
    assert asked.status_code == 202, asked.text
    assert (asked.json()["channelId"], asked.json()["requestedBy"]) == ("T_2", "vendure:Anna Bäcker")
    assert asked.json()["status"] == "queued"
    again = plugin.post("trainings", wish, message_id="msg_t")
    assert (again.status_code, again.json()["id"]) == (200, asked.json()["id"])
    with plugin.database.read() as tx:
        assert len(tx.execute(select(trainings.c.id)).all()) == 1
        entries = [one for one in audit.list_entries(tx, limit=10) if one.action == "training_requested"]
    assert [(one.actor, one.address) for one in entries] == [("vendure:Anna Bäcker", "192.0.2.7")]


def test_how_a_training_is_going_can_be_seen(plugin: Plugin) -> None:
    nothing = plugin.post("trainings/status", {"channelId": "2"})
    assert (nothing.status_code, nothing.json()) == (200, {"training": None, "modelVersion": None})
    asked = plugin.post("trainings", {"channelId": "2", "requestedBy": "Anna"}).json()
    found = plugin.post("trainings/status", {"channelId": "2"}).json()
    assert found["training"]["id"] == asked["id"]


def test_channels_that_are_not_connected_are_not_there(plugin: Plugin) -> None:
    for theirs in ("4", "99"):  # of another server, and of none
        for path, more in (("trainings", {"requestedBy": "Anna"}), ("trainings/status", {})):
            answer = plugin.post(path, {"channelId": theirs, **more})
            assert answer.status_code == 404
            assert "is not connected" in answer.json()["detail"]


def test_a_ping_says_that_the_secret_fits(plugin: Plugin) -> None:
    answer = plugin.post("ping", {})
    assert (answer.status_code, answer.json()) == (200, {"server": "ours"})


def test_messages_are_forgotten_after_a_while(plugin: Plugin) -> None:
    plugin.events({**PRODUCT, "productIds": ["7"]}, message_id="msg_a")
    with plugin.database.write() as tx:
        assert store.purge(tx, clock.now(tx) - timedelta(minutes=1), 10) == 0
        assert store.purge(tx, clock.now(tx) + timedelta(minutes=1), 10) == 1
