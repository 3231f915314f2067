"""A registry on every storage, and bundles to publish in it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from shelfsight.database.tables import channels
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.database.engine import Database
    from tests.servers import S3Server


@dataclass(frozen=True)
class Place:
    """Where a storage is, for a process of its own to open."""

    url: str
    options: Mapping[str, str]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "assets"), {})
    server: S3Server = request.getfixturevalue("s3")
    return Place(f"{server.url}/{uuid.uuid4().hex}", server.options)


@pytest.fixture
def registry(sqlite: Database, place: Place) -> Registry:
    """A registry with the channels `default` and `T_1`, on SQLite."""
    with sqlite.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    return Registry(database=sqlite, storage=open_storage(place.url, options=place.options))


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three bundles of one backbone; only read them."""
    folder = tmp_path_factory.mktemp("bundles")
    one, two, three = (write_tiny_bundle(folder / str(seed), seed=seed) for seed in (1, 2, 3))
    return one, two, three
