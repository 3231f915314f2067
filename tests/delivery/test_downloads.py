"""What was sent is counted, all of it and nothing else, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from shelfsight.delivery import downloads as downloads_module
from shelfsight.delivery import store
from shelfsight.delivery.content import ContentLimits
from shelfsight.delivery.downloads import ANONYMOUS, OTHER, Downloads, Source
from shelfsight.delivery.grants import version_grant
from shelfsight.delivery.store import DownloadCount, page_of_downloads
from shelfsight.errors import DatabaseError, StorageError
from tests.delivery.shop import FILES, Shop, served, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shelfsight.database.engine import Database

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODEL, WEIGHTS = FILES["model.json"], FILES["weights.bin"]
HEAD, BACKBONE = b"head" * 100, b"backbone" * 500
TILL = Source(channel="T_1", file="model.ort", version="1.4.2", actor=ANONYMOUS)


def rows(database: Database, channel: str = "T_1") -> list[DownloadCount]:
    with database.read() as tx:
        return page_of_downloads(
            tx, channel, since=NOON - timedelta(days=999), until=NOON + timedelta(days=99999), limit=1000
        )


def sent(shop: Shop, channel: str = "default") -> dict[tuple[str, str, str], tuple[int, int]]:
    """Return how often and how many bytes, by file, version and actor; all of it is in the database then."""
    shop.runner.run(shop.downloads.flush())
    return {(one.file, one.version, one.actor): (one.count, one.size_bytes) for one in rows(shop.database, channel)}


# What counts


def test_every_answer_with_bytes_of_a_file_counts(shop: Shop) -> None:
    shop.publish()
    for _ in range(3):
        assert shop.get("default/v1.0.0/model.json").status == 200  # the second and third from the hot memory
    assert shop.get("default/latest/model.json").status == 200
    assert shop.get("default/v1.0.0/weights.bin", range="bytes=10-19").status == 206
    assert sent(shop) == {
        ("model.json", "1.0.0", "anonymous"): (4, 4 * len(MODEL)),
        ("weights.bin", "1.0.0", "anonymous"): (1, 10),
    }


def test_compressed_file_counts_as_it_is_sent(shop: Shop) -> None:
    shop.publish()
    reply = shop.get("default/v1.0.0/model.json", accept_encoding="gzip")
    assert reply.headers["content-encoding"] == "gzip"
    assert sent(shop) == {("model.json", "1.0.0", "anonymous"): (1, len(reply.body))}


def test_what_carries_no_bytes_of_a_file_does_not_count(shop: Shop) -> None:
    shop.publish()
    path = "default/v1.0.0/model.json"
    tag = f'"{sha256(MODEL)}"'
    assert shop.get(path, "HEAD").status == 200
    for _ in range(3):
        assert shop.get(path, if_none_match=tag).status == 304
    assert shop.get(path, range="bytes=90000-").status == 416
    assert shop.get(path, "OPTIONS").status == 204
    assert shop.get(path, "POST").status == 405
    assert shop.get("default/v1.0.0/none").status == 404
    assert sent(shop) == {}


def test_who_loaded_a_private_model_is_known(shop: Shop) -> None:
    shop.add_channel("secret", visibility="private")
    shop.publish(channel="secret", files={"model.json": MODEL}, blobs=[HEAD])
    signed = shop.sign(version_grant(served("secret"), "1.0.0"))
    for path in ("secret/v1.0.0/model.json", f"blobs/{sha256(HEAD)}.bin"):
        for query, key in ((signed, ""), ("", "ck_secret"), ("", "device"), ("", "reader")):
            assert shop.get(path + query, apikey=key).status == 200
        assert shop.get(path, apikey="stranger").status == 403
    actors = ("url:k1", "channel:secret", "token:device", "token:reader")
    assert sent(shop, "secret") == {
        **{("model.json", "1.0.0", actor): (1, len(MODEL)) for actor in actors},
        **{(f"blobs/{sha256(HEAD)}.bin", "", actor): (1, len(HEAD)) for actor in actors},
    }


def test_blob_counts_for_the_channel_that_alone_has_it(shop: Shop) -> None:
    shop.add_channel("T_1")
    shop.publish(blobs=[BACKBONE])
    shop.publish(channel="T_1", blobs=[HEAD, BACKBONE])
    for blob in (HEAD, BACKBONE):
        assert shop.get(f"blobs/{sha256(blob)}.bin").status == 200
    assert sent(shop, "T_1") == {(f"blobs/{sha256(HEAD)}.bin", "", "anonymous"): (1, len(HEAD))}
    assert sent(shop, "") == {(f"blobs/{sha256(BACKBONE)}.bin", "", "anonymous"): (1, len(BACKBONE))}


def test_token_that_is_not_needed_names_nobody(shop: Shop) -> None:
    shop.publish()
    assert shop.get("default/v1.0.0/model.json", apikey="reader").status == 200
    assert list(sent(shop)) == [("model.json", "1.0.0", "anonymous")]


def test_of_an_answer_that_broke_off_what_was_sent_counts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = Shop(shop.database, shop.storage, limits=ContentLimits(whole=100))
    streaming.publish()

    async def stream(_path: str, **_options: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield WEIGHTS[:1000]

    monkeypatch.setattr(shop.storage, "stream", stream)
    with pytest.raises(StorageError, match="2000 bytes are missing"):
        streaming.get("default/latest/weights.bin")
    assert sent(streaming) == {("weights.bin", "1.0.0", "anonymous"): (1, 3000)}
    streaming.runner.close()


# How it gets into the database


class Clock:
    """Seconds since 1970, set by the test."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now.timestamp()


def total(found: list[DownloadCount]) -> tuple[int, int]:
    return sum(one.count for one in found), sum(one.size_bytes for one in found)


def test_hours_are_counted_apart_and_flushes_together(database: Database) -> None:
    async def run() -> None:
        clock = Clock()
        counted = Downloads(database, clock=clock)
        for minutes in (0, 59, 60, 61):
            clock.now = NOON + timedelta(minutes=minutes)
            counted.count(TILL, 100)
            await counted.flush()
        await counted.close()

    asyncio.run(run())
    assert [(one.hour, one.count, one.size_bytes) for one in rows(database)] == [
        (NOON + timedelta(hours=1), 2, 200),
        (NOON, 2, 200),
    ]


def test_servers_that_count_the_same_add_up(database: Database) -> None:
    async def run() -> None:
        servers = [Downloads(database, clock=Clock()) for _ in range(4)]
        for _ in range(20):
            for server in servers:
                for file in "abc":
                    server.count(TILL._replace(file=file), 1)
            await asyncio.gather(*(server.flush() for server in servers))
        for server in servers:
            await server.close()

    asyncio.run(run())
    assert [one.count for one in rows(database)] == [80, 80, 80]


def test_counts_reach_the_database_by_themselves(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads_module, "FLUSH_S", 0.01)
    real = store.add_downloads

    async def run() -> None:
        loop, written = asyncio.get_running_loop(), asyncio.Event()

        def add(*arguments: Any) -> None:
            real(*arguments)
            loop.call_soon_threadsafe(written.set)

        monkeypatch.setattr(store, "add_downloads", add)
        counted = Downloads(database)
        for _ in range(3):  # each time anew
            counted.count(TILL, 100)
            await asyncio.wait_for(written.wait(), 30)
            written.clear()
        monkeypatch.setattr(store, "add_downloads", real)
        await counted.close()

    asyncio.run(run())
    assert total(rows(database)) == (3, 300)


def test_nothing_is_lost_while_the_database_is_away(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    away = True
    real = store.add_downloads

    def add(*arguments: Any) -> None:
        if away:
            raise DatabaseError("gone")
        real(*arguments)

    monkeypatch.setattr(store, "add_downloads", add)

    async def run() -> None:
        nonlocal away
        counted = Downloads(sqlite)
        for file in ("a", "b", "a"):
            counted.count(TILL._replace(file=file), 100)
            await counted.flush()
        away = False
        await counted.close()

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(one.file, one.count) for one in rows(sqlite)] == [("a", 2), ("b", 1)]
    assert [line["event"] for line in logs] == ["downloads_not_counted_yet"] * 3


def test_what_is_sent_while_counts_are_written_counts(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.add_downloads
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        counted = Downloads(sqlite)

        def add(*arguments: Any) -> None:
            asyncio.run_coroutine_threadsafe(also(), loops[0]).result(30)
            real(*arguments)

        async def also() -> None:
            counted.count(TILL, 1)

        counted.count(TILL, 100)
        monkeypatch.setattr(store, "add_downloads", add)
        await counted.flush()
        monkeypatch.setattr(store, "add_downloads", real)
        await counted.close()

    asyncio.run(run())
    assert total(rows(sqlite)) == (2, 101)


def test_memory_is_bounded_and_the_sum_stays_right(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.add_downloads
    monkeypatch.setattr(store, "add_downloads", _refuse)

    async def run() -> int:
        clock = Clock()
        counted = Downloads(sqlite, clock=clock, most=10)
        for number in range(50):
            clock.now = NOON + timedelta(hours=number // 10)
            counted.count(TILL._replace(file=str(number)), 100)
            counted.count(TILL._replace(file=str(number)), 100)
            if number % 7 == 0:
                await counted.flush()
        held = len(counted._tallies)
        monkeypatch.setattr(store, "add_downloads", real)
        await counted.close()
        return held

    with capture_logs() as logs:
        held = asyncio.run(run())
    assert held == 11
    found = rows(sqlite)
    assert total(found) == (100, 10_000)
    (other,) = [one for one in found if one.file == OTHER]
    assert (other.channel, other.actor, other.version, other.count) == ("T_1", OTHER, "", 80)
    assert [line["event"] for line in logs].count("downloads_counted_together") == 1


def test_name_that_the_database_refuses_keeps_nobody_out(database: Database) -> None:
    async def run() -> None:
        counted = Downloads(database)
        for file in ("a\x00b", "half \ud800", "fine"):
            counted.count(TILL._replace(file=file), 1)
        await counted.close()

    asyncio.run(run())
    assert sorted(one.file for one in rows(database)) == ["a?b", "fine", "half ?"]


def _refuse(*_arguments: object) -> None:
    raise DatabaseError("gone")
