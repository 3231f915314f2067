"""What is served, to whom, and with which headers; on a folder and on an object store."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from shelfsight.delivery import store
from tests.delivery.shop import FILES, Shop, manifest_of, sha256

if TYPE_CHECKING:
    from collections.abc import Callable


WEIGHTS = FILES["weights.bin"]
MODEL = FILES["model.json"]
NO_MODEL = "No active model found"
BLOB = b"\0" * 8 + b"head" * 100
TTL_S = 2.0


@pytest.mark.parametrize("version", ["v1.0.0", "latest"])
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_of_the_manifest_is_served_as_it_is(shop: Shop, version: str, name: str) -> None:
    shop.publish()
    reply = shop.get(f"default/{version}/{name}")
    assert (reply.status, reply.body, reply.whole) == (200, FILES[name], True)
    assert reply.headers["etag"] == f'"{sha256(FILES[name])}"'
    assert reply.headers["content-length"] == str(len(FILES[name]))


def test_headers_of_a_version(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/v1.0.0/model.json").headers == {
        "content-type": "application/json",
        "content-length": str(len(MODEL)),
        "etag": f'"{sha256(MODEL)}"',
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "Accept-Encoding",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "ETag, Content-Range, Accept-Ranges, Content-Length, Retry-After",
        "cross-origin-resource-policy": "cross-origin",
    }


def test_latest_is_to_be_asked_for_again(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/latest/model.json").headers["cache-control"] == "no-cache"


def test_manifest_itself_is_public(shop: Shop) -> None:
    manifest = shop.publish().to_json()
    reply = shop.get("default/latest/manifest.json")
    assert (reply.status, reply.body, reply.headers["etag"]) == (200, manifest, f'"{sha256(manifest)}"')


def test_head_is_get_without_the_body(shop: Shop) -> None:
    shop.publish()
    for accept in ("identity", "gzip"):
        whole = shop.get("default/latest/model.json", accept_encoding=accept)
        head = shop.get("default/latest/model.json", "HEAD", accept_encoding=accept)
        assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


def test_media_type_of_a_foreign_bundle_makes_no_page(shop: Shop) -> None:
    shop.publish(files={"page.html": b"<script>"}, types={"page.html": "text/html"})
    assert shop.get("default/latest/page.html").headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("status", ["testing", "active", "deprecated"])
def test_version_of_any_status_is_served(shop: Shop, status: str) -> None:
    shop.publish()
    shop.drop_row("1.0.0")
    shop.add_row("1.0.0", status=status)
    assert shop.get("default/v1.0.0/model.json").status == 200


# Not served


@pytest.mark.parametrize(
    "path",
    [
        "default/v1.0.0/report.json",
        "default/v1.0.0/report.html",
        "default/v1.0.0/notes.txt",
        "default/latest/report.json",
        "default/temp/model.json",
        "default/temp/v1.0.1/model.json",
        "default/v1.0.1/model.json",
        "nobody/v1.0.0/model.json",
        "default/latest",
        "default/v1.0.0/",
        "",
        f"blobs/{'0' * 64}.bin",
        "/assets/",
        "/images/default/1.jpg",
        "/assets/ml-models",
    ],
)
def test_whatever_is_no_public_file_is_not_found(shop: Shop, path: str) -> None:
    private = {"report.json": b"{}", "report.html": b"<p>"}
    shop.publish(files={**FILES, **private})  # even a manifest that names them does not publish them
    for extra in ("v1.0.0/notes.txt", "temp/model.json", "temp/v1.0.1/model.json"):
        shop.storage.put(f"ml-models/default/{extra}", b"secret")
    shop.storage.put(f"ml-models/blobs/{'0' * 64}.bin", b"nobody's")
    reply = shop.get(path)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")
    assert b"secret" not in reply.body


def test_problem_is_the_same_kind_of_document_as_the_api_has(shop: Shop) -> None:
    shop.publish()
    reply = shop.get("default/latest/none.bin")
    assert reply.json == {
        "type": "urn:shelfsight:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": "none.bin is no file of default 1.0.0",
        "instance": "/assets/ml-models/default/latest/none.bin",
        "error": "none.bin is no file of default 1.0.0",
    }
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("channel", ["default", "nobody"])
def test_channel_without_a_model_says_so_in_the_words_that_tills_know(shop: Shop, channel: str) -> None:
    reply = shop.get(f"{channel}/latest/model.json")
    assert (reply.status, reply.json["error"], reply.json["status"]) == (404, NO_MODEL, 404)


def test_latest_that_points_to_a_version_without_a_row_is_no_model(shop: Shop) -> None:
    shop.publish()
    shop.drop_row("1.0.0")
    assert shop.get("default/latest/model.json").json["error"] == NO_MODEL


def test_latest_that_points_to_no_version_is_no_model(shop: Shop) -> None:
    shop.publish()
    shop.storage.point("ml-models/default/latest", "temp")
    assert shop.get("default/latest/model.json").json["error"] == NO_MODEL


def _missing_file(shop: Shop) -> None:
    shop.storage.delete(["ml-models/default/v1.0.0/weights.bin"])


def _longer_file(shop: Shop) -> None:
    shop.storage.put("ml-models/default/v1.0.0/weights.bin", WEIGHTS + b"!")


def _missing_blob(shop: Shop) -> None:
    shop.storage.delete([f"ml-models/blobs/{sha256(BLOB)}.bin"])


def _missing_manifest(shop: Shop) -> None:
    shop.storage.delete(["ml-models/default/v1.0.0/manifest.json"])


def _damaged_manifest(shop: Shop) -> None:
    shop.storage.put("ml-models/default/v1.0.0/manifest.json", b"{]")


def _huge_manifest(shop: Shop) -> None:
    shop.storage.put("ml-models/default/v1.0.0/manifest.json", b" " * (2 * 1024 * 1024))


def _manifest_of_another_version(shop: Shop) -> None:
    shop.storage.put("ml-models/default/v1.0.0/manifest.json", manifest_of("1.0.1", FILES).to_json())


def _manifest_of_another_channel(shop: Shop) -> None:
    shop.storage.put("ml-models/default/v1.0.0/manifest.json", manifest_of("1.0.0", FILES, channel="x").to_json())


def _manifest_with_a_name_that_climbs(shop: Shop) -> None:
    files = {**FILES, "../v1.0.0/weights.bin": WEIGHTS}
    shop.storage.put("ml-models/default/v1.0.0/manifest.json", manifest_of("1.0.0", files).to_json())


def _other_checksum(shop: Shop) -> None:
    shop.drop_row("1.0.0")
    shop.add_row("1.0.0", checksum="f" * 64)


@pytest.mark.parametrize(
    "damage",
    [
        _missing_file,
        _longer_file,
        _missing_blob,
        _missing_manifest,
        _damaged_manifest,
        _huge_manifest,
        _manifest_of_another_version,
        _manifest_of_another_channel,
        _manifest_with_a_name_that_climbs,
        _other_checksum,
    ],
)
def test_no_file_of_a_version_that_does_not_match_is_served(shop: Shop, damage: Callable[[Shop], None]) -> None:
    shop.publish(blobs=[BLOB])
    damage(shop)
    assert shop.get("default/v1.0.0/model.json").status == 404
    assert shop.get("default/latest/model.json").json["error"] == NO_MODEL


def test_version_is_served_once_it_matches_again(shop: Shop) -> None:
    shop.publish()
    _missing_file(shop)
    assert shop.get("default/v1.0.0/model.json").status == 404
    shop.storage.put("ml-models/default/v1.0.0/weights.bin", WEIGHTS)
    shop.clock.now_s += TTL_S
    assert shop.get("default/v1.0.0/model.json").status == 200


def test_damaged_file_of_the_right_size_is_not_served(shop: Shop) -> None:
    shop.publish()
    shop.storage.put("ml-models/default/v1.0.0/weights.bin", WEIGHTS[::-1])
    assert shop.get("default/v1.0.0/weights.bin").status == 404
    assert shop.get("default/v1.0.0/weights.bin", accept_encoding="gzip").status == 404
    assert shop.get("default/v1.0.0/model.json").status == 200


def test_file_that_goes_makes_its_version_go(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/v1.0.0/model.json").status == 200
    _missing_file(shop)
    assert shop.get("default/v1.0.0/weights.bin").status == 404
    shop.clock.now_s += TTL_S
    assert shop.get("default/v1.0.0/model.json").status == 404


# What has changed shows soon


def test_deleted_row_ends_a_version_in_two_seconds(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/v1.0.0/model.json").status == 200
    shop.drop_row("1.0.0")
    shop.clock.now_s += TTL_S
    assert shop.get("default/v1.0.0/model.json").status == 404
    assert shop.get("default/latest/model.json").json["error"] == NO_MODEL


def test_channel_made_private_is_private_in_two_seconds(shop: Shop) -> None:
    shop.add_channel("secret")
    shop.publish(channel="secret", blobs=[BLOB])
    paths = ("secret/v1.0.0/model.json", "secret/latest/model.json", f"blobs/{sha256(BLOB)}.bin")
    assert [shop.get(path).status for path in paths] == [200, 200, 200]
    shop.set_visibility("secret", "private")
    shop.clock.now_s += TTL_S
    assert [shop.get(path).status for path in paths] == [401, 401, 401]
    shop.set_visibility("secret", "public")
    shop.clock.now_s += TTL_S
    assert [shop.get(path).status for path in paths] == [200, 200, 200]


def test_new_version_is_there_at_once_and_latest_in_a_second(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/latest/model.json").body == MODEL
    assert shop.get("default/v1.0.1/model.json").status == 404
    shop.publish("1.0.1", {"model.json": b"[]"})
    assert shop.get("default/v1.0.1/model.json").body == b"[]"
    shop.clock.now_s += 1.0
    assert shop.get("default/latest/model.json").body == b"[]"


def test_roll_back_shows_in_a_second(shop: Shop) -> None:
    shop.publish()
    shop.publish("1.0.1", {"model.json": b"[]"})
    assert shop.get("default/latest/model.json").body == b"[]"
    shop.storage.point("ml-models/default/latest", "v1.0.0")
    shop.clock.now_s += 1.0
    assert shop.get("default/latest/model.json").body == MODEL


def test_version_published_anew_under_the_same_name_is_the_new_one(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/v1.0.0/model.json").body == MODEL
    shop.drop_row("1.0.0")
    shop.storage.delete_folder("ml-models/default/v1.0.0")
    shop.publish(files={"model.json": b"[]"})
    shop.clock.now_s += TTL_S
    assert shop.get("default/v1.0.0/model.json").body == b"[]"


def test_herd_asks_the_database_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish()
    asked: list[str] = []
    for name in ("find_channel", "find_version"):
        real = getattr(store, name)
        monkeypatch.setattr(store, name, partial(_count, asked, real))

    async def herd() -> list[int]:
        replies = await asyncio.gather(*(shop.ask("default/v1.0.0/model.json") for _ in range(50)))
        return [reply.status for reply in replies]

    assert shop.runner.run(herd()) == [200] * 50
    assert sorted(asked) == ["find_channel", "find_version"]


def _count(asked: list[str], real: Callable[..., object], *args: object) -> object:
    asked.append(real.__name__)
    return real(*args)


def test_preflight_allows_what_clients_send(shop: Shop) -> None:
    reply = shop.get("default/latest/model.json", "OPTIONS", origin="https://till.example")
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, "*")
    assert reply.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    allowed = reply.headers["access-control-allow-headers"]
    assert allowed == "authorization, apikey, range, if-none-match, if-range"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_other_methods_are_refused(shop: Shop, method: str) -> None:
    reply = shop.get("default/latest/model.json", method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
