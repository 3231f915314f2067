"""What the database says of versions and blobs, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from shelfsight.database.tables import channels, model_metadata, version_blobs
from shelfsight.delivery.store import BlobUse, ServedChannel, find_blob_use, find_channel, find_version

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

SECRET = ServedChannel(id="secret", token="ck_secret", private=True)
OTHER = ServedChannel(id="other", token="ck_other", private=True)


@pytest.fixture
def filled(database: Database) -> Database:
    """Three channels with a version each: blob `a` is used by all, `b` by two private ones."""
    with database.write() as tx:
        for channel in (SECRET, OTHER):
            tx.execute(insert(channels).values(id=channel.id, token=channel.token, visibility="private"))
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
        assert find_blob_use(tx, "a") == BlobUse(public=True, channels=())
        assert find_blob_use(tx, "c") is None
        private = find_blob_use(tx, "b")
    assert private is not None
    assert not private.public
    assert sorted(private.channels, key=lambda one: one.id) == [OTHER, SECRET]
