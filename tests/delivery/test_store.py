"""What the database says of versions and blobs, on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from shelfsight.database.tables import channels, model_metadata, version_blobs
from shelfsight.delivery.store import (
    BlobUse,
    DownloadCount,
    ServedChannel,
    add_downloads,
    find_blob_use,
    find_channel,
    find_version,
    page_of_downloads,
    purge_downloads,
    uses_blob,
)

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

DAY = datetime(2026, 11, 20, tzinfo=UTC)
SECRET = ServedChannel(id="secret", token="ck_secret", private=True, created_at=DAY)
OTHER = ServedChannel(id="other", token="ck_other", private=True, created_at=DAY)


@pytest.fixture
def filled(database: Database) -> Database:
    """Three channels with a version each: blob `a` is used by all, `b` by two private ones."""
    with database.write() as tx:
        for channel in (SECRET, OTHER):
            row = {"id": channel.id, "token": channel.token, "created_at": channel.created_at}
            tx.execute(insert(channels).values(**row, visibility="private"))
        for name, blobs in (("default", "a"), ("secret", "ab"), ("other", "ab")):
            row = {"channel_id": name, "version": "v1.0.0"}
            tx.execute(insert(model_metadata).values(**row, file_path="-", checksum_sha256=name))
            tx.execute(insert(version_blobs), [{**row, "sha256": blob} for blob in blobs])
    return database


def test_channel_is_found_with_its_visibility(filled: Database) -> None:
    with filled.read() as tx:
        default = find_channel(tx, "default")
        assert default is not None
        assert not default.private
        assert find_channel(tx, "secret") == SECRET
        assert find_channel(tx, "nobody") is None


def test_version_is_that_of_its_channel(filled: Database) -> None:
    with filled.read() as tx:
        found = find_version(tx, "secret", "1.0.0")
        assert found is not None
        assert found.checksum_sha256 == "secret"
        assert find_version(tx, "secret", "1.0.1") is None
        assert find_version(tx, "nobody", "1.0.0") is None


def test_blob_is_public_if_one_channel_that_uses_it_is(filled: Database) -> None:
    with filled.read() as tx:
        assert find_blob_use(tx, "a") == BlobUse(public=True, channels=(), counted="default")
        assert find_blob_use(tx, "c") is None
        private = find_blob_use(tx, "b")
    assert private is not None
    assert not private.public
    assert sorted(private.channels, key=lambda one: one.id) == [OTHER, SECRET]


def test_blob_of_several_public_channels_counts_for_none_of_them(filled: Database) -> None:
    with filled.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "other").values(visibility="public"))
    with filled.read() as tx:
        assert find_blob_use(tx, "a") == BlobUse(public=True, channels=(), counted="")
        assert find_blob_use(tx, "b") == BlobUse(public=True, channels=(), counted="other")


def test_version_uses_its_own_blobs_only(filled: Database) -> None:
    with filled.read() as tx:
        assert uses_blob(tx, "secret", "1.0.0", "b")
        assert not uses_blob(tx, "secret", "1.0.1", "b")
        assert not uses_blob(tx, "default", "1.0.0", "b")


def counted(hour: int, *, version: str = "1.0.0", actor: str = "anonymous", count: int = 1) -> DownloadCount:
    return DownloadCount(
        channel="default",
        hour=DAY + timedelta(hours=hour),
        file="model.ort",
        version=version,
        actor=actor,
        count=count,
        size_bytes=100 * count,
    )


def downloads(database: Database, **options: Any) -> list[DownloadCount]:
    with database.read() as tx:
        wanted: dict[str, Any] = {"since": DAY, "until": DAY + timedelta(days=1), "limit": 1000} | options
        return page_of_downloads(tx, "default", **wanted)


def test_downloads_add_up_within_an_hour(database: Database) -> None:
    for counts in ([counted(1), counted(2, count=5)], [counted(1, count=2), counted(1, version="")]):
        with database.write() as tx:
            add_downloads(tx, counts)
    assert downloads(database) == [counted(2, count=5), counted(1, version=""), counted(1, count=3)]


def test_more_downloads_than_fit_into_a_statement_are_added(database: Database) -> None:
    many = [counted(1, actor=f"token:{number:04}") for number in range(1201)]
    for _ in range(2):
        with database.write() as tx:
            add_downloads(tx, many)
    found = downloads(database, limit=2000)
    assert [(one.actor, one.count) for one in found] == [(f"token:{number:04}", 2) for number in range(1201)]


def test_downloads_come_page_by_page_without_a_gap(database: Database) -> None:
    made = [
        counted(hour, version=version, actor=actor)
        for hour in (3, 2, 1)
        for version in ("", "1.0.0", "1.0.1")
        for actor in ("a", "b")
    ]
    with database.write() as tx:
        add_downloads(tx, made)
    found: list[DownloadCount] = []
    while page := downloads(
        database,
        limit=4,
        after=(found[-1].hour, found[-1].file, found[-1].version, found[-1].actor) if found else None,
    ):
        found += page
    assert found == made


def test_downloads_are_those_of_the_time_and_channel_asked_for(database: Database) -> None:
    other = replace(counted(1), channel="other")
    with database.write() as tx:
        add_downloads(tx, [counted(hour) for hour in range(5)] + [other])
    assert downloads(database, since=DAY + timedelta(hours=1), until=DAY + timedelta(hours=3)) == [
        counted(2),
        counted(1),
    ]


def test_old_downloads_are_forgotten(database: Database) -> None:
    with database.write() as tx:
        add_downloads(tx, [counted(hour) for hour in range(3)])
        assert purge_downloads(tx, DAY + timedelta(hours=2), 9) == 2
    assert downloads(database) == [counted(2)]
