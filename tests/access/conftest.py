"""A second channel, and passwords that are quick to check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from sqlalchemy import insert

from shelfsight.access import passwords
from shelfsight.database.tables import channels

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def database(database: Database) -> Database:
    """Both kinds of database, each with the channel T_1, whose public key is ck_of_t1."""
    with database.write() as connection:
        connection.execute(insert(channels).values(id="T_1", token="ck_of_t1"))
    return database
