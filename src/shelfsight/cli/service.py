"""The database and the storage that the environment names, for commands that need no server."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.access.rules import COMMAND_LINE, Caller
from shelfsight.catalog.rules import Stamp
from shelfsight.cli.output import messages
from shelfsight.registry.publish import Registry, open_registry
from shelfsight.settings import service_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

_OTHER_FOLDER = "If your shop is in another folder, go there, or name it in SHELFSIGHT_DATA_DIR."


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
    """Yield what the environment names; makes the tables in an empty database, and says so of a new file.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    settings = service_settings()
    file = _missing_file(settings.database_url)
    registry = open_registry(settings)
    if file is not None:
        messages.print(f"Made a new, empty database: {file}. {_OTHER_FOLDER}", soft_wrap=True, markup=False)
    try:
        yield Service(database=registry.database, storage=registry.storage, caller=person())
    finally:
        registry.database.close()


def _missing_file(url: str) -> Path | None:
    """Return the file of an SQLite database that is not there yet: perhaps somebody is in the wrong folder."""
    kind, apart, rest = url.partition(":///")
    file = Path(rest.partition("?")[0])
    return file if apart and kind.startswith("sqlite") and not file.exists() else None


def person() -> Caller:
    """Return who is at the keyboard, by the name that the operating system knows: `cli:anna`."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user may have no name
        return COMMAND_LINE
    return Caller(actor=f"{COMMAND_LINE.actor}:{name}", scopes=COMMAND_LINE.scopes)
