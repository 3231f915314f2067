"""Tags, parts and compressed forms of files."""

from __future__ import annotations

import asyncio
import gzip
import sys
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.delivery import content
from shelfsight.delivery.content import ContentLimits
from shelfsight.storage import open_storage
from tests.delivery.shop import FILES, Shop, sha256

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database

WEIGHTS = FILES["weights.bin"]
MODEL = FILES["model.json"]
TTL_S = 2.0


@pytest.mark.parametrize("tag", ['"{0}"', 'W/"{0}"', '"x", "{0}"', "*"])
def test_client_that_has_the_file_gets_304(shop: Shop, tag: str) -> None:
    shop.publish()
    reply = shop.get("default/latest/model.json", if_none_match=tag.format(sha256(MODEL)))
    assert (reply.status, reply.body) == (304, b"")
    whole = shop.get("default/latest/model.json")
    for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
        assert reply.headers[name] == whole.headers[name]


def test_client_that_has_another_file_gets_this_one(shop: Shop) -> None:
    shop.publish()
    reply = shop.get("default/latest/model.json", if_none_match=f'"{sha256(WEIGHTS)}"')
    assert (reply.status, reply.body) == (200, MODEL)


def test_client_that_has_the_compressed_form_gets_304_with_its_tag(shop: Shop) -> None:
    shop.publish()
    tag = f'"{sha256(MODEL)}-gzip"'
    reply = shop.get("default/latest/model.json", if_none_match=tag, accept_encoding="gzip, zstd")
    assert (reply.status, reply.headers["etag"]) == (304, tag)


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=4990-", slice(4990, None)), ("bytes=-9", slice(-9, None))],
)
def test_part_of_a_file(shop: Shop, asked: str, part: slice) -> None:
    shop.publish()
    reply = shop.get("default/v1.0.0/weights.bin", range=asked, accept_encoding="zstd")
    wanted = WEIGHTS[part]
    assert (reply.status, reply.body) == (206, wanted)
    start = WEIGHTS.index(wanted)
    assert reply.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/5000"
    assert reply.headers["content-length"] == str(len(wanted))
    assert reply.headers["etag"] == f'"{sha256(WEIGHTS)}"'
    assert "content-encoding" not in reply.headers


def test_part_that_is_not_there(shop: Shop) -> None:
    shop.publish()
    reply = shop.get("default/v1.0.0/weights.bin", range="bytes=5000-")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */5000")
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-1,5-6"},
        {"range": "lines=0-1"},
        {"range": "bytes=0-1", "if_range": '"another"'},
        {"range": "bytes=0-1", "if_range": f'W/"{sha256(WEIGHTS)}"'},
    ],
)
def test_everything_else_is_the_whole_file(shop: Shop, headers: dict[str, str]) -> None:
    shop.publish()
    reply = shop.get("default/v1.0.0/weights.bin", **headers)
    assert (reply.status, reply.body) == (200, WEIGHTS)


def test_resumed_download_gets_its_part(shop: Shop) -> None:
    shop.publish()
    tag = shop.get("default/v1.0.0/weights.bin", range="bytes=0-99").headers["etag"]
    assert shop.get("default/v1.0.0/weights.bin", range="bytes=100-", if_range=tag).body == WEIGHTS[100:]


# Compression


@pytest.mark.parametrize("name", ["model.json", "model.ort"])
@pytest.mark.parametrize(("encoding", "unpack"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
def test_file_that_gets_smaller_is_sent_compressed(
    shop: Shop, name: str, encoding: str, unpack: Callable[[bytes], bytes]
) -> None:
    shop.publish()
    reply = shop.get(f"default/latest/{name}", accept_encoding=encoding)
    assert (reply.headers["content-encoding"], unpack(reply.body)) == (encoding, FILES[name])
    assert reply.headers["etag"] == f'"{sha256(FILES[name])}-{encoding}"'
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["vary"] == "Accept-Encoding"


def test_file_that_does_not_get_smaller_is_sent_as_it_is(shop: Shop) -> None:
    shop.publish()
    reply = shop.get("default/latest/weights.bin", accept_encoding="gzip, zstd")
    assert reply.body == WEIGHTS
    assert not {"content-encoding", "vary"} & set(reply.headers)


def test_who_takes_nothing_that_there_is_gets_406(shop: Shop) -> None:
    shop.publish()
    for accept in ("identity;q=0", "gzip, identity;q=0"):
        assert shop.get("default/latest/weights.bin", accept_encoding=accept).status == 406
    assert shop.get("default/latest/model.json", accept_encoding="gzip, identity;q=0").status == 200


def test_two_first_requests_compress_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish()
    compressed = _counted_compressions(monkeypatch)

    async def both() -> list[bytes]:
        asked = (shop.ask("default/latest/model.json", accept_encoding="gzip") for _ in range(2))
        return [gzip.decompress(reply.body) for reply in await asyncio.gather(*asked)]

    assert shop.runner.run(both()) == [MODEL, MODEL]
    assert shop.runner.run(both()) == [MODEL, MODEL]
    assert len(compressed) == 1


def test_large_file_is_sent_at_once_and_compressed_the_next_time(fresh_database: Database, assets: Path) -> None:
    shop = Shop(fresh_database, open_storage(assets), limits=ContentLimits(waited_for=100))
    shop.publish()
    first = shop.get("default/latest/model.ort", accept_encoding="gzip")
    assert (first.body, first.headers["vary"]) == (FILES["model.ort"], "Accept-Encoding")
    shop.runner.run(_finish_background_work())
    shop.clock.now_s += TTL_S
    again = shop.get("default/latest/model.ort", accept_encoding="gzip")
    assert (again.headers["content-encoding"], gzip.decompress(again.body)) == ("gzip", FILES["model.ort"])
    shop.close()


def _counted_compressions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    compressed: list[int] = []
    real = content._compress

    def count(data: bytes, *args: Any, **options: Any) -> bytes:
        compressed.append(len(data))
        return real(data, *args, **options)

    monkeypatch.setattr(content, "_compress", count)
    return compressed


async def _finish_background_work() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
