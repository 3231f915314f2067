"""Open a database and run short transactions in it: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shelfsight.database.tables import SCHEMA, acting
from shelfsight.errors import ConflictError, DatabaseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

SYSTEM = "system"
"""The actor of what nobody asked for: housekeeping."""

_WAIT_FOR_LOCK_S = 10
_CONNECT_WITHIN_S = 5
WRITES = "shelfsight_writes"
"""The option of a connection whose transactions may write; SQLite begins those otherwise."""
_WAL_ATTEMPTS = 50
_WAL_AGAIN_S = 0.05


class Database:
    """A database and its pool of connections; safe to use from many threads."""

    def __init__(self, engine: Engine) -> None:
        """Use `engine`, which `open_database` has prepared."""
        self.engine = engine

    @property
    def is_postgresql(self) -> bool:
        """Whether it is PostgreSQL, with its roles and notifications."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that only reads.

        Raises:
            DatabaseError: the database does not answer.
        """
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, actor: str = SYSTEM) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed when the block ends well, else undone.

        Args:
            actor: who asked for it, for the audit.

        Raises:
            DatabaseError: the database does not answer, has no room, or refuses the write.
        """
        with _translated(), self.engine.connect() as connection:
            writing = connection.execution_options(**{WRITES: True})
            with writing.begin():
                self._act_as(writing, actor)
                yield writing
                if not self.is_postgresql:
                    writing.execute(delete(acting))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _act_as(self, connection: Connection, actor: str) -> None:
        """Tell the triggers who is writing: a setting of the transaction, or a row that nobody else ever sees."""
        if self.is_postgresql:
            connection.execute(select(func.set_config("shelfsight.actor", actor, True)))
        else:
            connection.execute(insert(acting).values(actor=actor))


def open_database(url: str) -> Database:
    """Return the database at `url`: `sqlite:///path/to/file.db` or `postgresql://…`. Nothing is asked of it yet.

    Raises:
        UsageError: `url` is neither.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is none
        raise UsageError(_wrong_url(url)) from None
    match parsed.get_backend_name():
        case "sqlite":
            return Database(_sqlite(parsed))
        case "postgresql" | "postgres":
            return Database(_postgresql(parsed))
        case _:
            raise UsageError(_wrong_url(url))


def _wrong_url(url: str) -> str:
    shown = url.rsplit("@", maxsplit=1)[-1]  # never the password
    return f"{shown!r} is no database: use sqlite:///path/to/file.db or postgresql://user:password@host/name"


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise UsageError("SQLite needs a file: sqlite:///path/to/file.db")
    file = Path(url.database)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # keys that sign are in it; what SQLite keeps beside it gets the same mode
    except OSError as exc:
        raise UsageError(f"{url.database} cannot be made ({exc.strerror}): name another place") from exc
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": _WAIT_FOR_LOCK_S, "check_same_thread": False},
        execution_options={"schema_translate_map": {SCHEMA: None}},
        hide_parameters=True,  # keys and hashes, which an error would show in the log
        pool_size=20,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError(connection)
    connection.isolation_level = None  # the driver begins no transactions of its own
    _write_ahead(connection)
    for pragma in ("foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep a write-ahead log. Changing to it does not wait for others who open a new file at the same moment."""
    for left in reversed(range(_WAL_ATTEMPTS)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if left == 0:
                raise
            time.sleep(_WAL_AGAIN_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A writer that begins as a reader would fail, not wait, when another has written in between.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_WITHIN_S, "application_name": "shelfsight"},
        pool_pre_ping=True,
        hide_parameters=True,  # keys and hashes, which an error would show in the log
        pool_size=10,
        max_overflow=10,
        pool_timeout=_WAIT_FOR_LOCK_S,
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """See every channel: row-level security shows a session one, for people who type SQL."""
    connection.execute("SET shelfsight.channel = '*'")
    connection.execute(f"SET lock_timeout = '{_WAIT_FOR_LOCK_S}s'")
    connection.commit()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of SQLAlchemy and its drivers into ours."""
    try:
        yield
    except IntegrityError as exc:
        raise ConflictError(f"the database refuses it: {first_line(exc)}") from exc
    except DBAPIError as exc:
        raise DatabaseError(
            f"the database did not do it ({first_line(exc)}): nothing was changed, try again"
        ) from exc
    except PoolTimeoutError as exc:
        raise DatabaseError("all connections to the database are busy: try again") from exc
    except SQLAlchemyError as exc:
        raise DatabaseError(f"the database cannot be used: {exc}") from exc


def first_line(error: DBAPIError) -> str:
    """Return what the database itself said, in one line."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
