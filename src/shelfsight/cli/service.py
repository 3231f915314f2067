"""The database and the storage that the environment names, for commands that need no server."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.access.rules import COMMAND_LINE, Caller
from shelfsight.catalog.rules import Stamp
from shelfsight.registry.publish import Registry, open_registry
from shelfsight.settings import service_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What commands work on, and in whose name."""

    database: Database
    storage: Storage
    caller: Caller

    @property
    def registry(self) -> Registry:
        """Where versions are."""
        return Registry(database=self.database, storage=self.storage)

    def stamp(self) -> Stamp:
        """Return who changes something, and that it is now."""
        return Stamp(actor=self.caller.actor, at=datetime.now(UTC))


@contextmanager
def opened_service() -> Iterator[Service]:
    """Yield what the environment names; makes the tables in an empty database.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    registry = open_registry(service_settings())
    try:
        yield Service(database=registry.database, storage=registry.storage, caller=person())
    finally:
        registry.database.close()


def person() -> Caller:
    """Return who is at the keyboard, by the name that the operating system knows: `cli:anna`."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user may have no name
        return COMMAND_LINE
    return Caller(actor=f"{COMMAND_LINE.actor}:{name}", scopes=COMMAND_LINE.scopes)
