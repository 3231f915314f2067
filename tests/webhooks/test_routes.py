"""Webhooks by REST: added with a secret that is shown once, tried, listed, removed; and never to the inside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from shelfsight.access import audit
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.tables import channels as channel_rows
from shelfsight.storage import open_storage
from shelfsight.webhooks.rules import WEBHOOKS_MOST
from tests.webhooks.conftest import HERE
from tests.webhooks.receiver import says, signature_by_openssl

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from shelfsight.database.engine import Database
    from tests.webhooks.conftest import Post

WEBHOOKS = "/api/v1/channels/T_1/webhooks"


@pytest.fixture
def app(post: Post, tmp_path: Path) -> FastAPI:
    """A server that may send webhooks to this machine."""
    storage = open_storage(tmp_path / "assets")
    return build_app(Services(database=post.database, storage=storage, webhook_networks=HERE))


def caller(app: FastAPI, *scopes: str, channel: str | None = None) -> TestClient:
    database: Database = app.state.services.database
    token = create_token(database, NewToken(name="test", scopes=scopes, channel=channel), by=COMMAND_LINE).text
    headers = {"authorization": f"Bearer {token}"}
    return TestClient(app, raise_server_exceptions=False, headers=headers, client=("192.0.2.7", 1))


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Who may change T_1."""
    return caller(app, "channel:T_1:write")


def added(client: TestClient, url: str) -> dict[str, Any]:
    answer = client.post(WEBHOOKS, json={"url": url, "events": ["sale.recorded"]})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_webhook_is_added_with_a_secret_that_is_shown_once(client: TestClient, post: Post) -> None:
    answer = client.post(WEBHOOKS, json={"url": post.receiver.url(), "events": ["sale.recorded"]})
    made = answer.json()
    assert made["secret"].startswith("whsec_")
    assert answer.headers["cache-control"] == "no-store"
    shown = client.get(answer.headers["location"])
    assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
    assert client.get(WEBHOOKS).json() == [shown.json()]
    assert made["secret"] not in shown.text + client.get(WEBHOOKS).text
    with post.database.read() as tx:
        (entry,) = [one for one in audit.list_entries(tx, limit=100) if one.action == "webhook_added"]
    assert (entry.channel, entry.subject, entry.address) == ("T_1", made["id"], "192.0.2.7")
    assert made["secret"] not in json.dumps(dict(entry.details))
    assert entry.details["server"] == f"http://127.0.0.1:{post.receiver.port}"  # not the path, which may be a secret


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5/hook",
        "http://192.168.1.1:8080/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:8000/",
        "http://[::ffff:10.0.0.1]/",
        "http://0/",
        "http://2130706433.example.invalid/",
        "https://anna:secret@93.184.216.34/",
        "http://93.184.216.34:25/",
        "ftp://93.184.216.34/",
        "file:///etc/passwd",
        "not a url",
        "http://93.184.216.34/" + "x" * 2000,
    ],
)
def test_an_address_inside_or_none_is_refused_at_once(client: TestClient, url: str) -> None:
    answer = client.post(WEBHOOKS, json={"url": url, "events": ["sale.recorded"]})
    assert answer.status_code == 422, answer.text
    assert "url" in answer.json()["detail"]
    assert client.get(WEBHOOKS).json() == []


def test_without_the_setting_this_machine_is_inside(post: Post, tmp_path: Path) -> None:
    app = build_app(Services(database=post.database, storage=open_storage(tmp_path / "assets")))
    answer = caller(app, "admin").post(WEBHOOKS, json={"url": post.receiver.url(), "events": ["sale.recorded"]})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "url cannot be used: its server is not on the public internet",
    )


@pytest.mark.parametrize("events", [[], ["sale.forgotten"], ["webhook.test"], "sale.recorded"])
def test_what_is_no_event_is_refused(client: TestClient, post: Post, events: Any) -> None:
    assert client.post(WEBHOOKS, json={"url": post.receiver.url(), "events": events}).status_code == 422


def test_a_channel_has_a_few_webhooks_only(client: TestClient, post: Post) -> None:
    for number in range(WEBHOOKS_MOST):
        added(client, post.receiver.url(f"/{number}"))
    answer = client.post(WEBHOOKS, json={"url": post.receiver.url(), "events": ["sale.recorded"]})
    assert (answer.status_code, "remove one first" in answer.json()["detail"]) == (409, True)


def test_only_who_may_change_the_channel_sees_and_makes_webhooks(
    app: FastAPI, client: TestClient, post: Post
) -> None:
    webhook = added(client, post.receiver.url())["id"]
    body = {"url": post.receiver.url(), "events": ["sale.recorded"]}
    others = {
        401: [TestClient(app, raise_server_exceptions=False)],
        403: [
            caller(app, "channel:T_1:read"),
            caller(app, "channel:T_2:write"),
            caller(app, "device", channel="T_1"),
            TestClient(app, raise_server_exceptions=False, headers={"authorization": "Bearer ck_T_1"}),
        ],
    }
    for status, clients in others.items():
        for one in clients:
            answers = [
                one.get(WEBHOOKS),
                one.post(WEBHOOKS, json=body),
                one.get(f"{WEBHOOKS}/{webhook}"),
                one.delete(f"{WEBHOOKS}/{webhook}"),
                one.post(f"{WEBHOOKS}/{webhook}/test"),
                one.get(f"{WEBHOOKS}/{webhook}/deliveries"),
                one.post(f"{WEBHOOKS}/{webhook}/deliveries/1/retry"),
            ]
            assert {answer.status_code for answer in answers} == {status}
    assert [one["id"] for one in client.get(WEBHOOKS).json()] == [webhook]


def test_the_webhook_of_another_channel_is_not_there(app: FastAPI, client: TestClient, post: Post) -> None:
    webhook = added(client, post.receiver.url())["id"]
    other = caller(app, "channel:T_2:write")
    path = f"{WEBHOOKS.replace('T_1', 'T_2')}/{webhook}"
    post.emit()
    delivery = post.deliveries(webhook)[0].id
    answers = [
        other.get(path),
        other.delete(path),
        other.post(f"{path}/test"),
        other.get(f"{path}/deliveries"),
        other.post(f"{path}/deliveries/{delivery}/retry"),
        client.post(f"{WEBHOOKS}/{webhook}/deliveries/{delivery + 1}/retry"),
        client.get(f"{WEBHOOKS}/none"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len(post.deliveries(webhook)) == 1


def test_a_test_says_nothing_and_its_delivery_says_what_came_of_it(client: TestClient, post: Post) -> None:
    made = added(client, post.receiver.url())
    answer = client.post(f"{WEBHOOKS}/{made['id']}/test")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    post.send()
    (message,) = post.receiver.messages
    assert message.headers["webhook-signature"] == signature_by_openssl(message, made["secret"])
    sent = json.loads(message.body)
    assert (sent["type"], sent["data"]) == ("webhook.test", {"channelId": "T_1", "webhookId": made["id"]})
    (delivery,) = client.get(f"{WEBHOOKS}/{made['id']}/deliveries").json()["items"]
    assert (delivery["id"], delivery["messageId"]) == (answer.json()["id"], message.id)
    assert (delivery["state"], delivery["status"], delivery["error"]) == ("delivered", 204, None)


def test_deliveries_are_listed_page_by_page_with_what_went_wrong_and_sent_again(
    client: TestClient, post: Post
) -> None:
    webhook = added(client, post.receiver.url())["id"]
    post.emit(*[{"n": number} for number in range(4)])
    post.send()
    post.receiver.answers["/hook"] = says(500)
    post.emit({"n": 4})
    post.send()
    path = f"{WEBHOOKS}/{webhook}/deliveries"
    first = client.get(path, params={"limit": 3}).json()
    second = client.get(path, params={"limit": 3, "cursor": first["nextCursor"]}).json()
    assert (len(first["items"]), len(second["items"]), second["nextCursor"]) == (3, 2, None)
    (waiting,) = client.get(path, params={"state": "pending"}).json()["items"]
    assert waiting == first["items"][0]
    assert (waiting["error"], waiting["status"], waiting["attempts"]) == ("the server answers 500", 500, 1)
    post.receiver.answers.clear()
    again = client.post(f"{path}/{waiting['id']}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    post.send()
    assert client.get(path, params={"state": "pending"}).json()["items"] == []


def test_a_removed_webhook_is_sent_nothing_of_what_waits(client: TestClient, post: Post) -> None:
    webhook = added(client, post.receiver.url())["id"]
    post.emit()
    assert client.delete(f"{WEBHOOKS}/{webhook}").status_code == 204
    post.emit()
    post.send()
    assert post.receiver.messages == []
    assert client.delete(f"{WEBHOOKS}/{webhook}").status_code == 404


def test_a_webhook_that_was_disabled_is_shown_so_and_is_tried_no_more(client: TestClient, post: Post) -> None:
    post.receiver.answers["/hook"] = says(410)
    webhook = added(client, post.receiver.url())["id"]
    post.emit()
    post.send()
    (shown,) = client.get(WEBHOOKS).json()
    assert shown["disabledAt"] is not None
    assert shown["disabledReason"] == "the server answers 410: it wants no more"
    delivery = post.deliveries(webhook)[0].id
    for path in ("test", f"deliveries/{delivery}/retry"):
        answer = client.post(f"{WEBHOOKS}/{webhook}/{path}")
        assert (answer.status_code, "remove it, and add it anew" in answer.json()["detail"]) == (409, True)


def test_a_channel_that_is_not_there_has_no_webhooks(app: FastAPI, post: Post) -> None:
    admin = caller(app, "admin")
    path = WEBHOOKS.replace("T_1", "none")
    body = {"url": post.receiver.url(), "events": ["sale.recorded"]}
    assert admin.get(path).status_code == admin.post(path, json=body).status_code == 404


def test_a_deleted_channel_takes_its_webhooks_along(app: FastAPI, client: TestClient, post: Post) -> None:
    added(client, post.receiver.url())
    post.emit()
    assert caller(app, "admin").delete("/api/v1/channels/T_1").status_code == 204
    with post.database.write() as tx:
        tx.execute(insert(channel_rows).values(id="T_1", token="ck_anew"))
    post.emit()
    post.send()
    assert post.receiver.messages == []
    assert post.bodies() == []
