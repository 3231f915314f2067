"""A service of its own for each test of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.access import audit
from shelfsight.database.engine import open_database
from shelfsight.settings import service_settings
from tests.cli.command import done
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from shelfsight.access.audit import AuditEntry


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder that commands use, which is not there yet."""
    folder = tmp_path / "data"
    _use(folder, monkeypatch)
    return folder


@pytest.fixture(scope="session")
def _three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        _use(place / "data", patch)
        for seed in (1, 2, 3):
            bundle = write_tiny_bundle(place / str(seed), seed=seed)
            done("publish", bundle, "--channel", "T_1", "--create-channel")
    return place / "data"


@pytest.fixture
def published(_three_versions: Path, data: Path) -> Path:
    """The data folder of a service whose channel T_1 has the versions 1.0.0, 1.0.1 and 1.0.2, which is stable."""
    return Path(shutil.copytree(_three_versions, data, symlinks=True))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle to publish; only read it."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle", seed=7)


def audited(action: str) -> list[AuditEntry]:
    """Return the entries of an action in the audit, newest first."""
    database = open_database(service_settings().database_url)
    with database.read() as connection:
        found = [entry for entry in audit.list_entries(connection, limit=1000) if entry.action == action]
    database.close()
    return found


def _use(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("SHELFSIGHT_DATA_DIR", str(folder))
    patch.setenv("LOGNAME", "anna")
    for name in ("SHELFSIGHT_DATABASE_URL", "SHELFSIGHT_STORAGE_URL"):
        patch.delenv(name, raising=False)
