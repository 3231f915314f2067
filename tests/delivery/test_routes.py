"""Signing URLs and reading the counts of downloads over HTTP: who may, and what comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from shelfsight.access import keys, tokens
from shelfsight.access.key_store import KeyKind
from shelfsight.access.limits import RequestLimits
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.tables import audit, channels
from shelfsight.delivery import store
from shelfsight.delivery.signing import Terms, sign_version
from shelfsight.delivery.store import DownloadCount
from shelfsight.jobs.housekeeping import tidy
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.storage import open_storage
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from httpx2 import Response

    from shelfsight.database.engine import Database

SIGN = "/api/v1/channels/T_1/signed-urls"
DOWNLOADS = "/api/v1/channels/T_1/downloads"
NOBODY = {"authorization": ""}


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle", seed=1)


@pytest.fixture
def services(sqlite: Database, tmp_path: Path, tiny_bundle: Path) -> Services:
    """A service with two private channels that have a version each."""
    services = Services(database=sqlite, storage=open_storage(tmp_path / "assets"))
    for channel in ("T_1", "T_2"):
        with sqlite.write() as tx:
            tx.execute(insert(channels).values(id=channel, token=f"ck_{channel}", visibility="private"))
        publish(Registry(database=sqlite, storage=services.storage), Order(folder=tiny_bundle, channel=channel))
    return services


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(build_app(services), headers=bearer(services, "channel:T_1:write")) as client:
        yield client


def bearer(services: Services, *scopes: str, channel: str | None = None) -> dict[str, str]:
    wanted = NewToken(name="test", scopes=scopes, channel=channel)
    issued = tokens.create_token(services.database, wanted, by=COMMAND_LINE)
    return {"authorization": f"Bearer {issued.text}"}


def signed(services: Services) -> list[Any]:
    with services.database.read() as tx:
        return list(tx.scalars(select(audit.c.details).where(audit.c.action == "urls_signed")))


def test_version_is_signed_and_opens_for_whoever_has_the_urls(client: TestClient) -> None:
    before = datetime.now(UTC)
    answer = client.post(SIGN, json={"version": "1.0.0"})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    found = answer.json()
    assert found["baseUrl"] == "/assets/ml-models/T_1/v1.0.0/"
    names = [one["path"].removeprefix("T_1/v1.0.0/") for one in found["items"]]
    assert {"model.json", "model.shards.json", "model.ort", "metadata.json", "manifest.json"} <= set(names)
    assert not {"report.json", "report.html"} & set(names)
    for name, one in zip(names, found["items"], strict=True):
        assert one["url"] == f"{found['baseUrl']}{name}?token={found['token']}"
        lasts = datetime.fromisoformat(one["expiresAt"]) - before
        assert timedelta(hours=1) <= lasts <= timedelta(hours=1, minutes=1)
        assert client.get(one["url"], headers=NOBODY).status_code == 200
    manifest = client.get(f"{found['baseUrl']}manifest.json?token={found['token']}", headers=NOBODY).json()
    for blob in manifest["blobs"]:
        url = f"/assets/ml-models/blobs/{blob['sha256']}.bin"
        assert client.get(f"{url}?token={found['token']}", headers=NOBODY).status_code == 200
        assert client.get(url, headers=NOBODY).status_code == 401


def test_single_files_are_signed_one_by_one(client: TestClient) -> None:
    paths = ["T_1/v1.0.0/model.ort", "T_1/v1.0.0/metadata.json"]
    found = client.post(SIGN, json={"paths": paths, "expiresIn": 1}).json()
    assert [one["path"] for one in found["items"]] == paths
    assert (found["baseUrl"], found["token"]) == (None, None)
    urls = [one["url"] for one in found["items"]]
    queries = [url.partition("?")[2] for url in urls]
    assert queries[0] != queries[1]
    swapped = f"/assets/ml-models/{paths[0]}?{queries[1]}"
    assert client.get(swapped, headers=NOBODY).status_code == 403


def test_device_signs_for_its_own_channel(client: TestClient, services: Services) -> None:
    for headers in ({"authorization": "Bearer ck_T_1"}, bearer(services, "device", channel="T_1")):
        assert client.post(SIGN, json={"version": "1.0.0"}, headers=headers).status_code == 201
    assert signed(services) == []  # it does whenever it loads a model
    others = bearer(services, "device", channel="T_2")
    for headers, status in ((others, 403), ({"authorization": "Bearer ck_T_2"}, 403), (NOBODY, 401)):
        assert client.post(SIGN, json={"version": "1.0.0"}, headers=headers).status_code == status


def test_urls_that_a_person_hands_out_are_audited_without_the_token(client: TestClient, services: Services) -> None:
    client.post(SIGN, json={"version": "1.0.0", "expiresIn": 604_800})
    client.post(SIGN, json={"paths": ["T_1/v1.0.0/model.ort"]})
    found = signed(services)
    assert [one["paths"] for one in found] == [["T_1/v1.0.0"], ["T_1/v1.0.0/model.ort"]]
    assert all(set(one) == {"paths", "expiresAt"} for one in found)


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"version": "9.9.9"}, 404),
        ({"version": "latest"}, 404),
        ({"version": "../T_2/v1.0.0"}, 404),
        ({"paths": ["T_2/v1.0.0/model.ort"]}, 404),
        ({"paths": ["T_1/v9.9.9/model.ort"]}, 404),
        ({"paths": ["T_1/latest/model.ort"]}, 404),
        ({"paths": ["T_1/v1.0.0/report.json"]}, 404),
        ({"paths": ["T_1/v1.0.0/none"]}, 404),
        ({"paths": ["T_1/v1.0.0/../../T_2/v1.0.0/model.ort"]}, 404),
        ({"paths": ["T_1/v1.0.0/%2e%2e/model.ort"]}, 404),
        ({"paths": ["T_1/v1.0.0/model.ort", "T_2/v1.0.0/model.ort"]}, 404),
        ({"paths": ["blobs/" + "0" * 64 + ".bin"]}, 404),
        ({"paths": [""]}, 404),
        ({"paths": []}, 422),
        ({"paths": ["x"] * 101}, 422),
        ({}, 422),
        ({"version": "1.0.0", "paths": ["T_1/v1.0.0/model.ort"]}, 422),
        ({"version": "1.0.0", "expiresIn": 0}, 422),
        ({"version": "1.0.0", "expiresIn": 604_801}, 422),
        ({"version": "1.0.0", "expiresIn": "3600"}, 422),
        ({"version": "1.0.0", "expiresIn": 1.5}, 422),
    ],
)
def test_what_cannot_be_signed_is_refused(
    client: TestClient, services: Services, wanted: dict[str, Any], status: int
) -> None:
    assert client.post(SIGN, json=wanted).status_code == status
    assert signed(services) == []


def test_secret_that_was_rotated_away_closes_its_urls(client: TestClient, services: Services) -> None:
    old = client.post(SIGN, json={"version": "1.0.0"}).json()["items"][0]["url"]
    keys.rotate(services.database, KeyKind.URL, by=COMMAND_LINE, now_only=True)
    new = client.post(SIGN, json={"version": "1.0.0"}).json()["items"][0]["url"]
    assert [client.get(url, headers=NOBODY).status_code for url in (old, new)] == [401, 200]


def test_address_that_signs_too_often_waits(services: Services) -> None:
    limited = replace(services, limits=RequestLimits(2))
    with TestClient(build_app(limited), headers=bearer(services, "channel:T_1:read")) as client:
        answers = [client.post(SIGN, json={"version": "1.0.0"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert int(answers[-1].headers["retry-after"]) > 0


# Downloads


def listed(answer: Response) -> list[tuple[str, str | None, str, int]]:
    assert answer.status_code == 200, answer.text
    return [(one["file"], one["version"], one["actor"], one["count"]) for one in answer.json()["items"]]


def test_downloads_are_there_once_the_server_has_ended(services: Services) -> None:
    with TestClient(build_app(services)) as client:
        url = client.post(SIGN, json={"version": "1.0.0"}, headers={"authorization": "Bearer ck_T_1"}).json()
        for name in ("model.json", "model.json", "metadata.json"):
            assert client.get(f"{url['baseUrl']}{name}?token={url['token']}").status_code == 200
    with TestClient(build_app(services), headers=bearer(services, "channel:T_1:read")) as client:
        (key,) = [key.id for key in keys.show(services.database) if key.kind is KeyKind.URL]
        assert listed(client.get(DOWNLOADS)) == [
            ("metadata.json", "1.0.0", f"url:{key}", 1),
            ("model.json", "1.0.0", f"url:{key}", 2),
        ]


def counted(hours_ago: int, *, version: str = "1.0.0", channel: str = "T_1") -> DownloadCount:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    return DownloadCount(
        channel=channel, hour=hour, file="model.ort", version=version, actor="anonymous", count=1, size_bytes=10
    )


def add(services: Services, *counts: DownloadCount) -> None:
    with services.database.write() as tx:
        store.add_downloads(tx, counts)


def test_downloads_are_listed_page_by_page(client: TestClient, services: Services) -> None:
    made = [counted(hours, version=version) for hours in range(3) for version in ("", "1.0.0")]
    add(services, *made, counted(1, channel="T_2"))
    found, query = [], {"limit": 2}
    while True:
        page = client.get(DOWNLOADS, params=query).json()
        found += page["items"]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert [(datetime.fromisoformat(one["hour"]), one["version"]) for one in found] == [
        (one.hour, one.version or None) for one in made
    ]


def test_downloads_are_those_of_a_week_unless_somebody_says(client: TestClient, services: Services) -> None:
    add(services, counted(1), counted(24 * 6), counted(24 * 8))
    assert len(listed(client.get(DOWNLOADS))) == 2
    asked = {"from": counted(24 * 9).hour.isoformat(), "to": counted(24 * 5).hour.isoformat()}
    assert len(listed(client.get(DOWNLOADS, params=asked))) == 2


def test_downloads_are_for_who_may_read_the_channel(client: TestClient, services: Services) -> None:
    for headers, status in (
        (bearer(services, "channel:T_1:read"), 200),
        (bearer(services, "channel:T_2:write"), 403),
        ({"authorization": "Bearer ck_T_1"}, 403),
        (NOBODY, 401),
    ):
        assert client.get(DOWNLOADS, headers=headers).status_code == status
    assert client.get("/api/v1/channels/T_9/downloads", headers=bearer(services, "admin")).status_code == 404


@pytest.mark.parametrize(
    "position", [1, "x", "[]", '["a", "b", "c", "d"]', '["2026-11-20T12:00:00", "", "", ""]', "{"]
)
def test_cursor_of_another_list_is_refused(client: TestClient, position: int | str) -> None:
    from shelfsight.api.pages import encode_cursor

    assert client.get(DOWNLOADS, params={"cursor": encode_cursor(position)}).status_code == 422
    assert client.get(DOWNLOADS, params={"from": "2026-11-20T12:00:00"}).status_code == 422


def test_downloads_of_three_months_ago_are_forgotten(client: TestClient, services: Services) -> None:
    add(services, counted(24 * 89), counted(24 * 91))
    tidy(Registry(database=services.database, storage=services.storage))
    asked = {"from": counted(24 * 99).hour.isoformat()}
    assert len(listed(client.get(DOWNLOADS, params=asked))) == 1


def test_public_channel_needs_no_signature_and_takes_one(client: TestClient, services: Services) -> None:
    url = client.post(SIGN, json={"version": "1.0.0"}).json()["items"][0]["url"]
    with services.database.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "T_1").values(visibility="public"))
    assert client.get(url, headers=NOBODY).status_code == 200
    assert client.get(url.partition("?")[0], headers=NOBODY).status_code == 200


def test_answer_that_holds_a_token_is_not_kept_for_a_repetition(client: TestClient) -> None:
    key = {"idempotency-key": "once"}
    first = client.post(SIGN, json={"version": "1.0.0"}, headers=key)
    again = client.post(SIGN, json={"version": "1.0.0"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 409)
    assert first.json()["token"] not in json.dumps(again.json())


def test_moments_that_no_clock_shows_are_no_failure(client: TestClient, services: Services) -> None:
    add(services, counted(2))
    everything = {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}
    assert len(client.get(DOWNLOADS, params=everything).json()["items"]) == 1


@pytest.mark.parametrize(
    "position",
    [
        '["0001-01-01T00:00:00+14:00", "", "", ""]',
        '["9999-12-31T23:59:59-14:00", "", "", ""]',
        '["2026-11-20T12:00:00+00:00", "\\u0000", "", ""]',
        '["2026-11-20T12:00:00+00:00", "", "", "\\ud800"]',
    ],
)
def test_cursor_that_no_database_takes_is_refused(client: TestClient, position: str) -> None:
    from shelfsight.api.pages import encode_cursor

    assert client.get(DOWNLOADS, params={"cursor": encode_cursor(position)}).status_code == 422


def test_what_opens_private_files_is_in_no_repr(services: Services) -> None:
    terms = Terms(by=COMMAND_LINE, expires_at=datetime.now(UTC) + timedelta(hours=1))
    with services.database.read() as tx:
        channel = store.find_channel(tx, "T_1")
    found = sign_version(Registry(database=services.database, storage=services.storage), "T_1", "1.0.0", terms)
    assert found.token in found.urls[0].url
    assert found.token not in repr(found)
    assert channel is not None
    assert channel.token not in repr(channel)
