"""A shop whose devices ask for their config, on both kinds of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.storage import open_storage
from tests.delivery.config.shop import ConfigShop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database


@pytest.fixture
def shop(database: Database) -> Iterator[ConfigShop]:
    """A shop with the public channel `default` and nothing published."""
    found = ConfigShop(database, open_storage("memory://"))
    yield found
    found.close()


@pytest.fixture
def small_shop(sqlite: Database) -> Iterator[ConfigShop]:
    """The same on SQLite only, for what no database has a part in."""
    found = ConfigShop(sqlite, open_storage("memory://"))
    yield found
    found.close()


@pytest.fixture
def sqlite_limited(sqlite: Database) -> Iterator[ConfigShop]:
    """The same with five requests a minute."""
    found = ConfigShop(sqlite, open_storage("memory://"), per_minute=5)
    yield found
    found.close()
