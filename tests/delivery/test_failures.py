"""Hostile input, and things that break."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.delivery import content, store
from shelfsight.delivery.content import ContentLimits
from shelfsight.delivery.grants import version_grant
from shelfsight.errors import DatabaseError, StorageError
from shelfsight.storage import open_storage
from tests.delivery.shop import FILES, Shop, served, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.delivery.rules import Encoding


WEIGHTS = FILES["weights.bin"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("default/v1.0.0/../temp/model.json", 404, "hostile_path"),
        ("default/v1.0.0/%2e%2e%2ftemp", 404, "hostile_path"),
        ("default/v1.0.0/model.json%00", 404, "hostile_path"),
        ("default//v1.0.0/model.json", 404, "hostile_path"),
        ("default/v1.0.0/" + "a" * 2000, 404, "path_too_long"),
        ("default/v1.0.0/%g1", 400, "malformed_path"),
    ],
)
def test_hostile_paths_find_nothing_and_are_noted(shop: Shop, path: str, status: int, code: str) -> None:
    shop.publish()
    assert shop.get(path).status == status
    assert [noted[4:] for noted in shop.refusals.noted] == [(status, code)]


def test_storage_that_does_not_answer_is_503_without_its_secrets(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish()
    monkeypatch.setattr(shop.storage, "head", _fail_with(StorageError("s3://bucket at 10.0.0.1: no")))
    reply = shop.get("default/latest/model.json")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert b"10.0.0.1" not in reply.body


def test_database_that_does_not_answer_is_503(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish()
    monkeypatch.setattr(store, "find_channel", _fail_with(DatabaseError("no")))
    reply = shop.get("default/latest/model.json")
    assert (reply.status, reply.json["type"]) == (503, "urn:shelfsight:problem:database")


BLOB = b"\0" * 8 + b"head" * 100
PUBLIC = ("default/latest/model.json", "default/v1.0.0/weights.bin", f"blobs/{sha256(BLOB)}.bin")


def _database_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("find_channel", "find_version", "find_blob_use", "uses_blob"):
        monkeypatch.setattr(store, name, _fail_with(DatabaseError("no")))


def test_public_model_outlives_the_database_by_an_hour(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(blobs=[BLOB])
    assert [shop.get(path).status for path in PUBLIC] == [200, 200, 200]
    with monkeypatch.context() as patch:
        _database_goes(patch)
        for _ in range(3):
            shop.clock.now_s += 1000
            assert [shop.get(path).status for path in PUBLIC] == [200, 200, 200]
        shop.clock.now_s += 1000
        assert [shop.get(path).status for path in PUBLIC] == [503, 503, 503]
    assert [shop.get(path).status for path in PUBLIC] == [200, 200, 200]


def test_what_was_not_asked_for_before_the_database_went_is_503(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish("1.0.1")
    shop.publish()
    assert shop.get("default/latest/model.json").status == 200
    _database_goes(monkeypatch)
    shop.clock.now_s += 10
    assert shop.get("default/v1.0.1/model.json").status == 503
    assert shop.get("default/latest/model.json").status == 200


def test_private_model_closes_with_the_database(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add_channel("secret", visibility="private")
    shop.publish(channel="secret", blobs=[BLOB])
    query = shop.sign(version_grant(served("secret"), "1.0.0"))
    asked = [(path, {"apikey": "ck_secret"}) for path in ("secret/v1.0.0/model.json", f"blobs/{sha256(BLOB)}.bin")]
    asked += [(path + query, {}) for path, _ in asked]
    assert [shop.get(path, **headers).status for path, headers in asked] == [200] * 4
    _database_goes(monkeypatch)
    shop.clock.now_s += 2
    assert [shop.get(path, **headers).status for path, headers in asked] == [503] * 4


def test_what_nobody_expected_is_500(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish()
    monkeypatch.setattr(store, "find_channel", _fail)
    reply = shop.get("default/latest/model.json")
    assert (reply.status, reply.json["type"]) == (500, "urn:shelfsight:problem:internal_error")
    assert b"ZeroDivisionError" not in reply.body


def test_file_that_ends_early_is_never_a_whole_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = Shop(shop.database, shop.storage, limits=ContentLimits(whole=100))
    streaming.publish()

    async def stream(_path: str, **_options: Any) -> AsyncIterator[bytes]:
        yield WEIGHTS[:1000]

    monkeypatch.setattr(shop.storage, "stream", stream)
    with pytest.raises(StorageError, match="4000 bytes are missing"):  # which makes the server cut the connection
        streaming.get("default/latest/weights.bin")
    streaming.runner.close()


def test_streamed_file_and_part_are_the_same_bytes(shop: Shop) -> None:
    streaming = Shop(shop.database, shop.storage, limits=ContentLimits(whole=100, compressed=100))
    streaming.publish()
    assert streaming.get("default/latest/weights.bin").body == WEIGHTS
    assert streaming.get("default/latest/weights.bin", range="bytes=100-299").body == WEIGHTS[100:300]
    assert streaming.get("default/latest/weights.bin", "HEAD").headers["content-length"] == "5000"
    streaming.storage.delete(["ml-models/default/v1.0.0/weights.bin"])
    assert streaming.get("default/latest/weights.bin").status == 404
    streaming.runner.close()


def test_middleware_may_add_to_the_headers_of_an_answer(shop: Shop) -> None:
    shop.publish()
    seen = []
    for _ in range(3):
        started: list[Any] = []

        async def send(message: Any, started: list[Any] = started) -> None:
            started.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "",
            "raw_path": b"/assets/ml-models/default/latest/model.json",
            "query_string": b"",
            "headers": [],
        }
        shop.runner.run(shop.app(scope, None, send))  # type: ignore[arg-type]
        seen.append(len(started[0]["headers"]))
        started[0]["headers"].append((b"x-added", b"1"))
    assert len(set(seen)) == 1


def test_refusal_that_cannot_be_noted_is_a_refusal_all_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add_channel("secret", visibility="private")
    monkeypatch.setattr(shop.refusals, "note", _fail)
    assert shop.get("secret/latest/model.json").status == 401


def _fail(*_args: object) -> None:
    raise ZeroDivisionError


def _fail_with(error: Exception) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise error

    return fail


def test_large_files_of_many_channels_are_not_all_held_for_compression(
    fresh_database: Database, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A morning on which the tills of every channel load a model: nobody waits for the compressed form."""
    limits = ContentLimits(whole=1_000_000, held=0, waited_for=1000)
    shop = Shop(fresh_database, open_storage(assets), limits=limits)
    names = [f"part{number:02}.bin" for number in range(60)]
    shop.publish(files={name: name.encode() * 1000 for name in names})
    turns, waiting = threading.Event(), list[asyncio.Task[bytes | None]]()
    compress = content._compress

    def slow(data: bytes, encoding: Encoding, *, small: bool) -> bytes:
        turns.wait(20)
        return compress(data, encoding, small=small)

    monkeypatch.setattr(content, "_compress", slow)

    async def morning() -> set[int]:
        replies = [await shop.ask(f"default/v1.0.0/{name}", accept_encoding="gzip") for name in names]
        waiting.extend(shop.published._content._compressions._running.values())
        turns.set()
        await asyncio.gather(*waiting)
        return {reply.status for reply in replies}

    assert shop.runner.run(morning()) == {200}
    assert len(waiting) == 16
    shop.clock.now_s += 1
    assert shop.get(f"default/v1.0.0/{names[0]}", accept_encoding="gzip").headers["content-encoding"] == "gzip"
    shop.close()
