"""A shop for each test, on servers that are shared."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.backfill.inventory.shop import fill, open_shop, settings_of, sqlite_store
from tests.backfill.typesense_server import typesense_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
    from shelfsight.settings import PostgresSettings
    from tests.backfill.inventory.shop import Shop
    from tests.backfill.typesense_server import TypesenseServer


@pytest.fixture(scope="module")
def shop_database(postgresql_url: str) -> Iterator[PostgresSettings]:
    """A database for the tests of a module, one after the other."""
    name = f"shop_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield settings_of(postgresql_url.replace("/postgres?", f"/{name}?"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def search() -> Iterator[TypesenseServer]:
    """The stand-in for Typesense, with nothing in it."""
    with typesense_server() as server:
        yield server


@pytest.fixture
def empty_shop(shop_database: PostgresSettings, search: TypesenseServer) -> Shop:
    """A shop without products."""
    return open_shop(shop_database, search)


@pytest.fixture
def shop(empty_shop: Shop) -> Shop:
    """A shop of 60 products and 9 documents without a row."""
    fill(empty_shop, 60, only_in_search=9)
    return empty_shop


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlCheckpoints]:
    """A store of checkpoints in a file."""
    opened = sqlite_store(tmp_path / "checkpoints.db")
    yield opened
    opened.close()
