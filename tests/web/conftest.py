"""A server with a shop, and browsers in front of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from shelfsight.access import passwords
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import channels
from shelfsight.storage import open_storage
from tests.people import add_administrator

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

PASSWORD = "correct horse battery"  # noqa: S105
NOW = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
MARIA = Stamp(actor="maria", at=NOW)


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def stranger(sqlite: Database, tmp_path: Path) -> Client:
    """A browser that nobody is logged in with."""
    with sqlite.write() as tx:
        channels.create(tx, "T_1", {"name": "Corner shop", "time_zone": "Europe/Zurich"}, MARIA)
    add_administrator(sqlite, "anna", PASSWORD)
    app = build_app(Services(database=sqlite, storage=open_storage(tmp_path / "assets")))
    headers = {"sec-fetch-site": "same-origin"}
    return TestClient(app, client=("192.0.2.1", 1234), follow_redirects=False, headers=headers)


@pytest.fixture
def browser(stranger: Client) -> Client:
    """A browser that anna is logged in with."""
    answer = stranger.post("/login", data={"name": "anna", "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return stranger
