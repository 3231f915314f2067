"""Shops on every kind of storage."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from shelfsight.database.engine import open_database
from shelfsight.database.migrate import prepare
from shelfsight.storage import open_storage
from tests.delivery.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shelfsight.database.engine import Database


@pytest.fixture(scope="session")
def _schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema, which new ones are copies of."""
    path = tmp_path_factory.mktemp("schema") / "shelfsight.db"
    database = open_database(f"sqlite:///{path}")
    prepare(database)
    database.close()
    return path


@pytest.fixture
def fresh_database(tmp_path: Path, _schema: Path) -> Database:
    """A database with the channel `default`."""
    return open_database(f"sqlite:///{shutil.copy(_schema, tmp_path)}")


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """The folder of the local storage."""
    return tmp_path / "assets"


@pytest.fixture(params=["folder", "memory"])
def shop(request: pytest.FixtureRequest, fresh_database: Database, assets: Path) -> Iterator[Shop]:
    """A shop with nothing published, on a local folder and on an object store."""
    found = Shop(fresh_database, open_storage(assets if request.param == "folder" else "memory://"))
    yield found
    found.close()


@pytest.fixture
def local_shop(fresh_database: Database, assets: Path) -> Iterator[Shop]:
    """The same on a local folder only."""
    found = Shop(fresh_database, open_storage(assets))
    yield found
    found.close()
