"""The catalogue over HTTP: who may, what is refused, what comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient

from shelfsight.access import audit
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog import fetch
from shelfsight.catalog.store import channels
from shelfsight.storage import open_storage
from tests.catalog.site import Site, says
from tests.catalog.test_images import BAD, BLUE, MARIA, RED
from tests.catalog.test_picture import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from shelfsight.database.engine import Database

API = "/api/v1/channels"
T_1 = f"{API}/T_1"
APPLE = {"name": "Äpfel 🍎", "sku": "A-1", "barcodes": ["4006381333931"], "price": "1.50", "currency": "EUR"}


@dataclass(frozen=True)
class World:
    """A server with the channels T_1, T_2 and default."""

    app: FastAPI
    services: Services

    def client(self, *scopes: str, channel: str | None = None) -> TestClient:
        client = TestClient(self.app, raise_server_exceptions=False)
        if scopes:
            new = NewToken(name="test", scopes=scopes, channel=channel)
            issued = create_token(self.services.database, new, by=COMMAND_LINE)
            client.headers["authorization"] = f"Bearer {issued.text}"
        return client

    def audited(self) -> list[tuple[str, str | None]]:
        with self.services.database.read() as connection:
            entries = audit.list_entries(connection, limit=100)
        return [(one.action, one.channel) for one in reversed(entries) if one.action.startswith("channel_")]


@pytest.fixture
def world(sqlite: Database, tmp_path: Path) -> World:
    with sqlite.write() as connection:
        for channel_id in ("T_1", "T_2"):
            channels.create(connection, channel_id, {}, MARIA)
    services = Services(database=sqlite, storage=open_storage(tmp_path / "assets"))
    return World(build_app(services), services)


@pytest.fixture
def admin(world: World) -> TestClient:
    return world.client("admin")


@pytest.fixture
def writer(world: World) -> TestClient:
    return world.client("channel:T_1:write")


@pytest.fixture
def shop(writer: TestClient) -> str:
    """The path of a product of T_1."""
    writer.post(f"{T_1}/products", json={"id": "p", **APPLE})
    return f"{T_1}/products/p"


def changes(client: TestClient) -> list[str]:
    return [entry["kind"] for entry in client.get(f"{T_1}/changes").json()["items"]]


def files(*data: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{number}.jpg", each)) for number, each in enumerate(data)]


def test_an_administrator_makes_and_deletes_channels(world: World, admin: TestClient) -> None:
    made = admin.post(API, json={"id": "new", "name": "Neu", "timeZone": "Europe/Berlin", "visibility": "private"})
    assert made.status_code == 201
    assert made.headers["location"] == f"{API}/new"
    document = admin.get(f"{API}/new").json()
    assert document == made.json()
    assert (document["name"], document["timeZone"], document["visibility"]) == ("Neu", "Europe/Berlin", "private")
    assert document["modelRetrainTriggers"] == [
        "product-added", "product-deleted", "image-changed", "schedule", "accuracy",
    ]  # fmt: skip
    assert admin.post(API, json={"id": "new"}).status_code == 409
    assert admin.delete(f"{API}/new").status_code == 204
    assert admin.get(f"{API}/new").status_code == 404
    assert admin.delete(f"{API}/default").status_code == 409
    assert world.audited() == [("channel_created", "new"), ("channel_deleted", "new")]


@pytest.mark.parametrize(
    "document",
    [
        {"id": "a/b"},
        {"id": "blobs"},
        {"id": "x", "timeZone": "Mars"},
        {"id": "x", "modelVersion": "v1.0.0"},
        {"id": "x", "modelRetrainDebounceSeconds": 0},
        {"id": "x", "modelRetrainTriggers": ["sunrise"]},
        {"id": "x", "accuracyThreshold": "0.5"},
        {"id": "x", "name": None},
        {},
    ],
)
def test_a_channel_that_cannot_be_is_refused(admin: TestClient, document: dict[str, Any]) -> None:
    answer = admin.post(API, json=document)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_who_may_see_a_channel_sees_it_in_the_list_and_who_may_write_its_token(world: World) -> None:
    reader = world.client("channel:T_1:read", "channel:T_2:write")
    listed = reader.get(API).json()["items"]
    assert [(one["id"], one["token"] is not None) for one in listed] == [("T_1", False), ("T_2", True)]
    assert reader.get(T_1).json()["token"] is None
    assert sorted(one["id"] for one in world.client("admin").get(API).json()["items"]) == ["T_1", "T_2", "default"]
    assert world.client("device", channel="T_1").get(API).json()["items"] == []
    assert world.client().get(API).status_code == 401


def test_a_writer_changes_settings_once_for_each_revision_read(world: World, writer: TestClient) -> None:
    tag = writer.get(T_1).headers["etag"]
    first = writer.patch(T_1, json={"name": "Laden", "accuracyThreshold": 0.9}, headers={"if-match": tag})
    second = writer.patch(T_1, json={"name": "Markt"}, headers={"if-match": tag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert first.headers["etag"] == writer.get(T_1).headers["etag"] != tag
    assert first.json()["accuracyThreshold"] == 0.9
    assert writer.patch(T_1, json={"accuracyThreshold": None}).json()["accuracyThreshold"] is None
    assert writer.patch(T_1, json={}).json()["name"] == "Laden"
    assert world.audited() == [("channel_settings_changed", "T_1")] * 2
    assert changes(writer) == ["settings-changed"] * 2


def test_a_new_token_is_an_administrators_to_give(world: World, admin: TestClient, writer: TestClient) -> None:
    old = writer.get(T_1).json()["token"]
    assert writer.post(f"{T_1}/token").status_code == 403
    new = admin.post(f"{T_1}/token").json()["token"]
    assert new == writer.get(T_1).json()["token"] != old
    assert world.audited() == [("channel_token_rotated", "T_1")]


@pytest.mark.parametrize("scope", ["channel:T_1:read", "channel:T_2:write", "device"])
def test_who_may_not_write_changes_nothing(world: World, shop: str, scope: str) -> None:
    client = world.client(scope, channel="T_1" if scope == "device" else None)
    image = f"{shop}/images/{'0' * 64}"
    answers = [
        client.post(API, json={"id": "x"}),
        client.patch(T_1, json={"name": "x"}),
        client.delete(T_1),
        client.post(f"{T_1}/token"),
        client.post(f"{T_1}/products", json=APPLE),
        client.post(f"{T_1}/products/batch", json={"products": []}),
        client.put(shop, json=APPLE),
        client.patch(shop, json={"name": "x"}),
        client.delete(shop),
        client.post(f"{shop}/restore"),
        client.post(f"{shop}/images", files=files(RED)),
        client.post(f"{shop}/images/from-urls", json={"urls": ["http://shop.example/"]}),
        client.delete(image),
    ]
    assert {answer.status_code for answer in answers} == {403}


def test_a_product_goes_through_its_life(writer: TestClient) -> None:
    added = writer.post(f"{T_1}/products", json=APPLE)
    assert added.status_code == 201
    product = f"{T_1}/products/{added.json()['id']}"
    assert {name: added.json()[name] for name in APPLE} == APPLE
    changed = writer.patch(product, json={"price": "2"}, headers={"if-match": added.headers["etag"]})
    assert changed.json()["price"] == "2.00"
    assert writer.patch(product, json={"name": "x"}, headers={"if-match": added.headers["etag"]}).status_code == 412
    assert writer.patch(product, json={"price": None, "currency": None}).json()["price"] is None
    assert writer.delete(product, headers={"if-match": added.headers["etag"]}).status_code == 412
    assert [writer.delete(product).status_code for _ in range(2)] == [204, 204]
    assert writer.get(product).json()["deletedAt"] > 0
    assert writer.patch(product, json={"name": "x"}).status_code == 409
    assert writer.post(f"{product}/restore").json()["deletedAt"] == 0
    assert changes(writer) == ["product-added", *["product-changed"] * 2, "product-deleted", "product-restored"]


def test_put_adds_replaces_and_restores(writer: TestClient) -> None:
    product = f"{T_1}/products/SKU%204711%3F"
    first, second = writer.put(product, json=APPLE), writer.put(product, json={"name": "Birne"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert (second.json()["id"], second.json()["name"], second.json()["price"]) == ("SKU 4711?", "Birne", None)
    writer.delete(product)
    assert writer.put(product, json=APPLE).json()["deletedAt"] == 0
    assert writer.put(product, json=APPLE, headers={"if-match": '"1"'}).status_code == 412
    assert writer.put(f"{T_1}/products/a%00b", json=APPLE).status_code == 422
    assert writer.put(f"{T_1}/products/a%0Ab", json=APPLE).status_code == 422


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"price": 1.5}, 201),
        ({"price": "1.50000"}, 422),
        ({"price": "-1"}, 422),
        ({"price": "NaN"}, 422),
        ({"price": "1E999999999"}, 422),
        ({"price": True}, 422),
        ({"currency": None}, 422),
        ({"currency": "euro"}, 422),
        ({"name": ""}, 422),
        ({"name": "a\u0007"}, 422),
        ({"name": "x" * 501}, 422),
        ({"barcodes": ["1", "1"]}, 422),
        ({"id": ".."}, 422),
        ({"id": ""}, 422),
        ({"stock": 3}, 422),
    ],
)
def test_a_product_that_cannot_be_is_refused(writer: TestClient, change: dict[str, Any], status: int) -> None:
    answer = writer.post(f"{T_1}/products", json={**APPLE, **change})
    assert answer.status_code == status, answer.text


def test_half_a_character_is_refused(writer: TestClient) -> None:
    for document in ({"name": "\ud800"}, {"name": "x", "id": "\ud800"}, {"name": "x", "sku": "\udfff"}):
        answer = writer.post(f"{T_1}/products", content=json.dumps(document))
        assert answer.status_code == 422, answer.text


def test_products_are_listed_page_by_page_and_found(writer: TestClient) -> None:
    batch = [{**APPLE, "id": f"p{number}", "name": f"Ware {number}"} for number in range(5)]
    done = writer.post(f"{T_1}/products/batch", json={"products": batch})
    assert [(one["id"], one["change"]) for one in done.json()["results"]] == [
        (f"p{number}", "product-added") for number in range(5)
    ]
    writer.delete(f"{T_1}/products/p1")
    seen, path = [], f"{T_1}/products?limit=2"
    while path:
        answer = writer.get(path)
        seen.append([one["id"] for one in answer.json()["items"]])
        path = answer.links.get("next", {}).get("url", "")
    assert seen == [["p0", "p2"], ["p3", "p4"]]

    def found(query: str) -> list[str]:
        return [one["id"] for one in writer.get(f"{T_1}/products?{query}").json()["items"]]

    assert found("state=deleted") == ["p1"]
    assert found("q=WARE%203") == ["p3"]
    assert found("q=ware&state=all") == [f"p{number}" for number in range(5)]
    assert writer.get(f"{T_1}/products?state=sold").status_code == 422
    assert writer.get(f"{T_1}/products?cursor=x").status_code == 422


def test_a_batch_is_written_whole_or_not_at_all(writer: TestClient) -> None:
    wrong = {"products": [{"id": "a", **APPLE}, {"id": "b", **APPLE, "currency": None}]}
    answer = writer.post(f"{T_1}/products/batch", json=wrong)
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (422, "product 'b'")
    twice = {"products": [{"id": "a", **APPLE}] * 2}
    assert "twice" in writer.post(f"{T_1}/products/batch", json=twice).json()["detail"]
    assert writer.get(f"{T_1}/products").json()["items"] == []


def test_what_changed_since_is_told_in_order(writer: TestClient, shop: str) -> None:
    writer.patch(shop, json={"name": "Birne"})
    first = writer.get(f"{T_1}/changes?limit=1").json()
    assert [(one["revision"], one["kind"], one["productId"]) for one in first["items"]] == [(1, "product-added", "p")]
    assert first["revision"] == 2
    assert [one["revision"] for one in writer.get(f"{T_1}/changes?since=1").json()["items"]] == [2]
    assert writer.get(f"{T_1}/changes?since=2").json() == {"items": [], "revision": 2}
    assert writer.get(f"{T_1}/changes?since=-1").status_code == 422


@pytest.mark.parametrize("path", ["", "/products", "/products/p", "/products/p/images", "/changes"])
def test_what_is_not_there_is_not_found(admin: TestClient, path: str) -> None:
    answer = admin.get(f"{API}/T_9{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:shelfsight:problem:not_found")


def test_pictures_are_uploaded_listed_shown_and_removed(world: World, writer: TestClient, shop: str) -> None:
    writer.post(f"{T_1}/products", json={**APPLE, "id": "q"})
    writer.post(f"{T_1}/products/q/images", files=files(BLUE))
    answer = writer.post(f"{shop}/images", files=files(RED, BAD["heic"][0], BLUE))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(one["name"], one["outcome"], one["alsoUnder"]) for one in results] == [
        ("0.jpg", "added", []),
        ("1.jpg", "refused", []),
        ("2.jpg", "added", ["q"]),
    ]
    assert "HEIC" in results[1]["reason"]
    listed = writer.get(f"{shop}/images").json()["items"]
    assert {one["sha256"]: one["mediaType"] for one in listed} == {
        sha256(RED).hexdigest(): "image/jpeg",
        sha256(BLUE).hexdigest(): "image/png",
    }
    image = f"{shop}/images/{sha256(RED).hexdigest()}"
    shown = world.client("device", channel="T_1").get(image)
    assert (shown.status_code, shown.content) == (200, RED)
    assert writer.delete(image).status_code == 204
    assert [writer.get(image).status_code, writer.delete(image).status_code] == [404, 404]
    assert changes(writer)[-1] == "image-removed"


def test_a_picture_is_shown_as_the_file_of_a_stranger(writer: TestClient, shop: str) -> None:
    polyglot = encoded(Pillow.new("RGB", (40, 40)), "GIF") + b"<script>alert(1)</script>"
    writer.post(f"{shop}/images", files=[("files", ("page.html", polyglot, "text/html"))])
    image = f"{shop}/images/{sha256(polyglot).hexdigest()}"
    shown = writer.get(image)
    assert shown.headers["content-type"] == "image/gif"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.headers["content-disposition"] == "inline"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["content-length"] == str(len(polyglot))
    assert shown.headers["cache-control"].startswith("private")
    again = writer.get(image, headers={"if-none-match": shown.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_picture_whose_file_is_lost_is_not_found(world: World, writer: TestClient, shop: str) -> None:
    writer.post(f"{shop}/images", files=files(RED))
    world.services.storage.delete_folder("images")
    assert writer.get(f"{shop}/images/{sha256(RED).hexdigest()}").status_code == 404
    assert writer.get(f"{shop}/images/..%2F..%2Fsecret").status_code in {404, 422}


def test_pictures_for_a_deleted_product_are_refused(writer: TestClient, shop: str) -> None:
    writer.delete(shop)
    assert writer.post(f"{shop}/images", files=files(RED)).status_code == 409
    assert writer.post(f"{shop}/images/from-urls", json={"urls": ["http://shop.example/"]}).status_code == 409
    assert writer.post(f"{T_1}/products/never/images", files=files(RED)).status_code == 404


def test_pictures_come_from_the_web_and_not_from_inside(
    writer: TestClient,
    shop: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.answers |= {"/red.jpg": says(200, RED), "/page": says(200, b"<html>")}
    urls = [site.url("/red.jpg"), site.url("/page"), f"http://127.0.0.1:{site.port}/red.jpg"]
    refused = writer.post(f"{shop}/images/from-urls", json={"urls": urls[2:]}).json()["results"]
    assert [one["outcome"] for one in refused] == ["refused"]
    assert site.asked == []
    reach = site.reach()
    monkeypatch.setattr(fetch, "Reach", lambda: reach)
    results = writer.post(f"{shop}/images/from-urls", json={"urls": urls[:2]}).json()["results"]
    assert [(one["name"], one["outcome"]) for one in results] == [(urls[0], "added"), (urls[1], "refused")]
    assert results[0]["sha256"] == sha256(RED).hexdigest()
    assert "not a picture" in results[1]["reason"]
    assert writer.post(f"{shop}/images/from-urls", json={"urls": ["http://a.example/"] * 21}).status_code == 422
