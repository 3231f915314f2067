"""Administrators, for tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.access.administrators import Login, invite, set_up
from shelfsight.access.rules import COMMAND_LINE

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


def add_administrator(database: Database, name: str, password: str) -> None:
    """Make an administrator as people do: by a setup link."""
    set_up(database, invite(database, name, by=COMMAND_LINE).text, Login(name=name, password=password))
