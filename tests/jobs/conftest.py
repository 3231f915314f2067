"""A workshop on both kinds of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.jobs.client import EngineClient
from tests.jobs.workshop import Log, Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shelfsight.database.engine import Database


@pytest.fixture
def url(database: Database) -> str:
    """The URL of a fresh database with our schema; DBOS has made nothing there yet."""
    return database.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def workshop(url: str, tmp_path: Path) -> Iterator[Workshop]:
    """Nobody is at work yet."""
    made = Workshop(url, Log(tmp_path / "events.log"), EngineClient(url))
    yield made
    made.close()
