"""The weekly clean-up removes the bytes of uploaded objects that are no more, and no others."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import DBAPIError

from shelfsight.catalog.store.changes import lock
from shelfsight.database.tables import channels, model_metadata, objects, rollouts, tokens, version_blobs
from shelfsight.registry import layout
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Registry
from shelfsight.registry.store import lock_uploads
from tests.delivery.shop import sha256
from tests.delivery.supabase.world import PHONES, World

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database

DAY_S = 86400


@pytest.fixture
def registry(world: World) -> Registry:
    """The registry of the world."""
    return Registry(database=world.database, storage=world.storage)


def age(assets: Path) -> None:
    """Let every file of uploaded objects be two days old."""
    old = time.time() - 2 * DAY_S
    for file in (assets / "objects").rglob("*"):
        if file.is_file():
            os.utime(file, (old, old))


def stored(world: World) -> set[str]:
    """Return the paths of the bytes of all objects."""
    return {file.path for file in world.storage.list("objects")}


def remove(world: World, *paths: str) -> None:
    """Remove objects of T_1 as a client does."""
    body = str({"prefixes": list(paths)}).replace("'", '"').encode()
    assert world.ask("DELETE", f"/storage/v1/object/{PHONES}", body, key=world.service["T_1"]).status == 200


def test_bytes_go_a_day_after_the_last_object_that_has_them(world: World, registry: Registry, assets: Path) -> None:
    for path, data in (("a", b"one"), ("b", b"one"), ("c", b"two"), ("d", b"three")):
        world.upload(path, data)
    world.upload("d", b"four", x_upsert="true")
    remove(world, "a", "c")
    assert clean_up(registry).objects == 0
    age(assets)
    cleaned = clean_up(registry)
    kept = {layout.object_file("T_1", sha256(data)) for data in (b"one", b"four")}
    assert (cleaned.objects, stored(world)) == (2, kept)
    assert world.get(f"{PHONES}/b", key="ck_T_1").body == b"one"
    assert world.get(f"{PHONES}/d", key="ck_T_1").body == b"four"


def test_the_bytes_of_a_channel_that_is_gone_go_too(world: World, registry: Registry, assets: Path) -> None:
    world.upload("x", channel="secret")
    world.upload("y", channel="T_1")
    with world.database.write() as tx:
        for table in (objects, model_metadata, version_blobs, rollouts, tokens):
            tx.execute(delete(table).where(table.c.channel_id == "secret"))
        tx.execute(delete(channels).where(channels.c.id == "secret"))
    age(assets)
    assert clean_up(registry).objects == 1
    assert stored(world) == {layout.object_file("T_1", sha256(b"xyz"))}


def test_an_upload_that_meets_the_clean_up_has_its_bytes_in_the_end(
    world: World, registry: Registry, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload("x")
    remove(world, "x")
    age(assets)
    real = world.storage.put_file

    def put_then_clean(path: str, source: Path) -> None:
        real(path, source)
        monkeypatch.setattr(world.storage, "put_file", real)
        age(assets)  # as the clean-up listed them before
        assert clean_up(registry).objects == 1

    monkeypatch.setattr(world.storage, "put_file", put_then_clean)
    assert world.upload("x").status == 200
    assert world.get(f"{PHONES}/x", key="ck_T_1").body == b"xyz"


def test_bytes_are_removed_while_nobody_can_write_a_row(
    world: World, registry: Registry, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload("x")
    remove(world, "x")
    age(assets)
    real = world.storage.delete

    def delete_while_another_writes(paths: list[str]) -> None:
        if paths and paths[0].startswith("objects/"):
            other = sqlite3.connect(str(world.database.engine.url.database), timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("DELETE FROM objects")
            other.close()
        real(paths)

    monkeypatch.setattr(world.storage, "delete", delete_while_another_writes)
    assert clean_up(registry).objects == 1


def test_on_postgresql_an_upload_waits_for_the_clean_up_of_its_channel(postgresql: Database) -> None:
    with postgresql.write() as cleaning, postgresql.write() as uploading:
        lock_uploads(cleaning, "default")
        uploading.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            lock(uploading, "default")
        uploading.rollback()
