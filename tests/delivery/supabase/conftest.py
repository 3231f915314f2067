"""Worlds with and without something published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.storage import open_storage
from tests.delivery.supabase.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shelfsight.database.engine import Database


@pytest.fixture
def world(fresh_database: Database, assets: Path) -> Iterator[World]:
    """Three channels with a version each, on a local folder."""
    found = World(fresh_database, open_storage(assets))
    for channel in ("default", "T_1", "secret"):
        found.publish(channel)
    yield found
    found.close()


@pytest.fixture(params=["folder", "memory"])
def each_world(request: pytest.FixtureRequest, fresh_database: Database, assets: Path) -> Iterator[World]:
    """The same on a local folder and on an object store, with nothing published."""
    found = World(fresh_database, open_storage(assets if request.param == "folder" else "memory://"))
    yield found
    found.close()
