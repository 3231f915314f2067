"""Bring a database to this version's schema, or say why not."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from shelfsight.database.engine import first_line
from shelfsight.database.tables import SCHEMA, public
from shelfsight.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database

_LOCK = 0x5E1F516
"""Key of the advisory lock: two servers that start on one empty database take turns."""


def prepare(database: Database) -> None:
    """Make the tables in an empty database; check that those of any other are this version's.

    Raises:
        SchemaError: they are older (run `shelfsight db upgrade`), newer (upgrade Shelfsight), or somebody else's.
    """
    found = revision(database)
    if found is None:
        upgrade(database)
    elif found not in _known():
        raise SchemaError(
            f"the database has schema {found}, which this Shelfsight does not know: upgrade Shelfsight, "
            "or restore the backup made before the database was upgraded"
        )
    elif found != latest():
        raise SchemaError(f"the database has schema {found}, wanted {latest()}: run `shelfsight db upgrade`")


def upgrade(database: Database) -> None:
    """Run the migrations that are missing, all or none.

    Raises:
        SchemaError: one of them cannot be run; the database is as it was.
    """
    try:
        with _exclusive(database) as connection:
            command.upgrade(_config(connection), "head")
    except DBAPIError as exc:
        raise SchemaError(f"the database cannot be upgraded ({first_line(exc)}); it is as it was") from exc
    except CommandError as exc:
        raise SchemaError(f"the database cannot be upgraded ({exc}): upgrade Shelfsight") from exc


def revision(database: Database) -> str | None:
    """Return the schema's version in the database, None where it has no tables of ours.

    Raises:
        SchemaError: it has tables with our names that no migration of ours has made.
    """
    schema = SCHEMA if database.is_postgresql else None
    with database.read() as connection:
        tables = inspect(connection)
        if tables.has_table("schema_version", schema=schema):
            prefix = f"{SCHEMA}." if schema else ""
            found: str | None = connection.scalar(text(f"SELECT version_num FROM {prefix}schema_version"))  # noqa: S608
            return found
        foreign = [name for name in public.tables if tables.has_table(name)]
    if foreign:
        raise SchemaError(
            f"the database has a table {foreign[0]!r} that is not Shelfsight's: rename it, or use another database"
        )
    return None


def latest() -> str:
    """Return the version of the schema that this code works with."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    if head is None:
        raise SchemaError("Shelfsight's migrations are not installed: install it anew")
    return head


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("shelfsight.database").joinpath("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive(database: Database) -> Iterator[Connection]:
    """Yield a connection in a transaction that no other upgrade runs beside."""
    with database.engine.connect() as plain:
        connection = plain.execution_options(shelfsight_writes=True)
        with connection.begin():
            if database.is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            yield connection
