"""Versions over HTTP: publish, list, roll back; who may, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from shelfsight.access import tokens
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.database.tables import audit, channels
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2 import Response

    from shelfsight.database.engine import Database

VERSIONS = "/api/v1/channels/T_1/versions"
Bundles = tuple[Path, Path, Path]


@pytest.fixture
def services(sqlite: Database, tmp_path: Path) -> Services:
    with sqlite.write() as tx:
        tx.execute(insert(channels), [{"id": "T_1", "token": "ck_1"}, {"id": "T_2", "token": "ck_2"}])
    return Services(database=sqlite, storage=open_storage(tmp_path / "assets"))


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(build_app(services), headers=bearer(services, "channel:T_1:write")) as client:
        yield client


def bearer(services: Services, *scopes: str) -> dict[str, str]:
    wanted = NewToken(name="test", scopes=scopes)
    issued = tokens.create_token(services.database, wanted, by=COMMAND_LINE)
    return {"authorization": f"Bearer {issued.text}"}


def files_of(bundle: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in sorted(bundle.rglob("*")) if path.is_file()]


def refused(services: Services) -> list[Any]:
    with services.database.read() as tx:
        return list(tx.scalars(select(audit.c.details).where(audit.c.action == "request_refused")))


def test_a_bundle_is_uploaded_and_served(client: TestClient, tiny_bundles: Bundles) -> None:
    answer = client.post(VERSIONS, files=files_of(tiny_bundles[0]), data={"version": "1.2.0"})
    assert answer.status_code == 201, answer.text
    published = answer.json()
    assert (published["version"], published["status"], published["isStable"]) == ("1.2.0", "active", True)
    assert published["filesUrl"] == "/assets/ml-models/T_1/v1.2.0/"
    served = client.get("/assets/ml-models/T_1/latest/metadata.json", headers={"authorization": ""})
    assert (served.status_code, served.json()["version"]) == (200, "1.2.0")
    assert client.get(f"{VERSIONS}/1.2.0").json() == published


def test_versions_are_listed_page_by_page(client: TestClient, services: Services, tiny_bundles: Bundles) -> None:
    registry = Registry(database=services.database, storage=services.storage)
    for bundle in tiny_bundles:
        publish(registry, Order(folder=bundle, channel="T_1"))
    first = client.get(VERSIONS, params={"limit": 2})
    assert [one["version"] for one in first.json()["items"]] == ["1.0.2", "1.0.1"]
    rest = client.get(VERSIONS, params={"limit": 2, "cursor": first.json()["nextCursor"]}).json()
    assert ([one["version"] for one in rest["items"]], rest["nextCursor"]) == (["1.0.0"], None)
    found = client.get(f"{VERSIONS}/compare", params={"earlier": "1.0.0", "later": "1.0.2"}).json()
    assert (found["productsAdded"], found["imageGain"], found["later"]["version"]) == ([], 2, "1.0.2")


def test_a_version_goes_its_way_from_candidate_to_roll_back(
    client: TestClient, services: Services, tiny_bundles: Bundles
) -> None:
    registry = Registry(database=services.database, storage=services.storage)
    publish(registry, Order(folder=tiny_bundles[0], channel="T_1"))
    publish(registry, Order(folder=tiny_bundles[1], channel="T_1", release=ReleasePolicy.STAGED))
    assert client.get(f"{VERSIONS}/1.0.1").json()["status"] == "testing"
    assert client.post(f"{VERSIONS}/1.0.1/release").json()["isStable"] is True
    assert client.post(f"{VERSIONS}/1.0.1/deprecate").status_code == 409
    assert client.post(f"{VERSIONS}/1.0.1/verify").json()["kind"] == "shelfsight"
    assert client.post("/api/v1/channels/T_1/rollback", json={}).json()["version"] == "1.0.0"
    assert client.post(f"{VERSIONS}/1.0.1/deprecate").json()["deprecatedAt"] is not None
    again = client.post("/api/v1/channels/T_1/rollback", json={"version": "1.0.1", "republish": True}).json()
    assert (again["version"], again["isStable"]) == ("1.0.2", True)
    cleaned = client.post("/api/v1/channels/T_1/cleanup", json={"keep": 2}).json()
    assert (cleaned["versions"], cleaned["busy"]) == ([], [])


def test_a_repeated_publish_with_the_same_key_happens_once(client: TestClient, tiny_bundles: Bundles) -> None:
    def send() -> Response:
        answer: Response = client.post(
            VERSIONS, files=files_of(tiny_bundles[0]), headers={"idempotency-key": "a", "content-type": boundary}
        )
        return answer

    boundary = "multipart/form-data; boundary=same"
    first, second = send(), send()
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert len(client.get(VERSIONS).json()["items"]) == 1


Upload = dict[str, Any]


@pytest.mark.parametrize(
    ("make", "status", "detail"),
    [
        (lambda files: {"files": files[:3]}, 422, "the upload holds no model"),
        (lambda files: {"files": [*files, ("files", ("evil.html", b"<script>"))]}, 422, "evil.html"),
        (lambda _: {"files": [("files", ("../x.json", b"{}"))]}, 422, "plain file name"),
        (lambda _: {"files": [("files", ("a.zip", b"PK\x03\x04"))]}, 422, "ZIP cannot be unpacked"),
        (lambda files: {"files": files, "data": {"version": "1.2"}}, 422, "'1.2' is no version"),
        (lambda files: {"files": files, "data": {"release": "now"}}, 422, "release"),
        (lambda _: {"data": {"version": "1.0.0"}}, 422, "files"),
        (lambda _: {"json": {"files": []}}, 422, "files"),
    ],
)
def test_an_upload_that_is_no_bundle_is_refused(
    client: TestClient, tiny_bundles: Bundles, make: Callable[..., Upload], status: int, detail: str
) -> None:
    answer = client.post(VERSIONS, **make(files_of(tiny_bundles[0])))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in json.dumps(answer.json())
    assert client.get(VERSIONS).json()["items"] == []


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(client: TestClient, services: Services) -> None:
    answer = client.post(VERSIONS, files=[("files", ("weights.bin", bytes(60_000_000)))])
    assert answer.status_code == 413
    assert refused(services)[-1]["status"] == 413


@pytest.mark.parametrize("scopes", [("channel:T_2:write",), ("channel:T_1:read",), ()])
def test_another_channels_token_publishes_nothing_and_is_audited(
    client: TestClient, services: Services, scopes: tuple[str, ...]
) -> None:
    headers = bearer(services, *scopes) if scopes else {"authorization": "Bearer ss_wrong_token"}
    for path in (VERSIONS, "/api/v1/channels/T_1/rollback", f"{VERSIONS}/1.0.0/release", "/api/v1/cleanup"):
        answer = client.post(path, headers=headers, json={})
        assert answer.status_code == (403 if scopes else 401)
    assert len(refused(services)) == 4


@pytest.mark.parametrize("path", ["/api/v1/channels/T_9/versions", f"{VERSIONS}/9.9.9"])
def test_what_is_not_there_is_said_so(services: Services, path: str) -> None:
    with TestClient(build_app(services), headers=bearer(services, "admin")) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
