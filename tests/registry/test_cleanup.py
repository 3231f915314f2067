"""What a clean-up does where a part of the storage cannot be cleaned up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select

from shelfsight.database.tables import audit, channels
from shelfsight.errors import StorageError
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

BLOB = f"ml-models/blobs/{'ab' * 32}.bin"
OLD = "v1.0.0/model.json"


class Refusing:
    """A storage that does nothing with paths that begin so."""

    def __init__(self, storage: Storage, *prefixes: str) -> None:
        self._storage, self._prefixes = storage, prefixes

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._storage, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if args and isinstance(args[0], str) and args[0].startswith(self._prefixes):
                raise StorageError(f"{args[0]} cannot be read: ask who looks after it")
            return real(*args, **kwargs)

        return call


@pytest.fixture
def filled(sqlite: Database, tmp_path: Path) -> Registry:
    """Two channels and two that are gone, each with an orphan; an unused blob, and a refusal of half a year ago."""
    storage = open_storage(tmp_path / "assets")
    half_a_year_ago = datetime.now(UTC) - timedelta(days=180)
    with sqlite.write() as tx:
        tx.execute(insert(channels), [{"id": name, "token": f"ck_{name}"} for name in ("a", "b")])
        tx.execute(insert(audit).values(actor="-", action="request_refused", at=half_a_year_ago, details={}))
    for name in ("a", "b", "gone1", "gone2"):
        storage.put(f"ml-models/{name}/{OLD}", b"{}")
    storage.put(BLOB, b"blob")
    return Registry(database=sqlite, storage=storage)


def refusals(database: Database) -> int:
    with database.read() as tx:
        return tx.scalar(select(func.count()).select_from(audit).where(audit.c.action == "request_refused")) or 0


def test_a_channel_that_cannot_be_cleaned_up_keeps_nothing_else_from_it(filled: Registry) -> None:
    refusing: Any = Refusing(filled.storage, "ml-models/a", "ml-models/gone1")
    cleaned = clean_up(Registry(database=filled.database, storage=refusing))
    assert [reason.partition(":")[0] for reason in cleaned.broken] == ["a", "gone1"]
    assert all("cannot be read: ask who looks after it" in reason for reason in cleaned.broken)
    left = [name for name in ("a", "b", "gone1", "gone2") if filled.storage.exists(f"ml-models/{name}/{OLD}")]
    assert left == ["a", "gone1"]
    assert (cleaned.channels, cleaned.folders) == (["gone2"], ["ml-models/b/v1.0.0"])
    assert not filled.storage.exists(BLOB)
    assert (cleaned.forgotten, refusals(filled.database)) == (1, 0)


def test_a_storage_that_cannot_be_listed_is_told_of_and_what_is_in_the_database_goes(filled: Registry) -> None:
    refusing: Any = Refusing(filled.storage, "")
    cleaned = clean_up(Registry(database=filled.database, storage=refusing))
    assert {"a", "b", "ml-models", "ml-models/blobs"} <= {reason.partition(":")[0] for reason in cleaned.broken}
    assert refusals(filled.database) == 0


def test_a_link_in_the_place_of_a_channel_that_is_gone_is_told_of(filled: Registry, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "v1.0.0"
    elsewhere.mkdir(parents=True)
    (tmp_path / "assets" / "ml-models" / "a-link").symlink_to(elsewhere.parent)
    cleaned = clean_up(filled)
    assert cleaned.channels == ["gone1", "gone2"]
    assert elsewhere.is_dir()
