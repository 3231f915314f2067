"""A connection to the shop's database, used by one thread, made again when it was lost."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from shelfsight.backfill.session import first_line, open_session
from shelfsight.errors import DatabaseError, PartnerError, ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection, Cursor

    from shelfsight.settings import PostgresSettings

_SETTINGS = {
    # Less than `deadlock_timeout`: where we and the shop wait for each other, we are the one that steps back.
    "lock_timeout": "500ms",
    "timezone": "UTC",
    "work_mem": "128MB",
}
_ROW_ERRORS = (psycopg.errors.IntegrityError, psycopg.errors.DataError, psycopg.errors.RaiseException)
"""What a trigger or a constraint says about a row; it would be so again at the next try."""


class RowError(ShelfsightError):
    """At least one row of a statement may not be as it says; nothing was changed."""


class Connected:
    """A connection, made when it is first used. Every statement is a transaction of its own.

    Attributes:
        times: so often it was made; what is temporary is gone after each time.
        process: the number of the server's process, 0 before it was made.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        """Connect to what `settings` name, later."""
        self._settings = settings
        self._connection: Connection[Any] | None = None
        self.times = 0
        self.process = 0

    @property
    def is_open(self) -> bool:
        """Whether it is there, as far as is known."""
        return self._connection is not None and not self._connection.closed

    @contextmanager
    def cursor(self) -> Iterator[Cursor[Any]]:
        """Yield a cursor.

        Raises:
            RowError: a constraint or trigger refuses a row.
            DatabaseError: it is lost, something is locked, or there was a deadlock: a later try may work.
            PartnerError: it refuses, and would again.
        """
        try:
            with self._open().cursor() as cursor:
                yield cursor
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise DatabaseError(f"PostgreSQL did not do it ({first_line(exc)})") from exc
        except _ROW_ERRORS as exc:
            raise RowError(first_line(exc)) from exc
        except psycopg.Error as exc:
            raise PartnerError(f"PostgreSQL refuses: {first_line(exc)}") from exc

    def one(self, query: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """Return the only row of an answer; raises as `cursor`."""
        return self.all(query, parameters)[0]

    def all(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of an answer; raises as `cursor`."""
        with self.cursor() as cursor:
            return cursor.execute(query.encode(), parameters).fetchall()

    def change(self, query: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Return how many rows a statement has changed; raises as `cursor`."""
        with self.cursor() as cursor:
            return cursor.execute(query.encode(), parameters).rowcount

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Connection[Any]:
        if self._connection is None or self._connection.closed:
            one = self._settings
            try:
                self._connection = open_session(
                    settings=_SETTINGS,
                    host=one.host,
                    port=one.port,
                    dbname=one.database,
                    user=one.user,
                    password=one.password,
                )
                # Not the number that the connection knows: through a pooler, that is the pooler's.
                (self.process,) = self._connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            except psycopg.Error as exc:
                self.close()
                where = f"{one.database} at {one.host}:{one.port} as {one.user}"
                raise DatabaseError(f"PostgreSQL cannot be used ({where}): {first_line(exc)}") from exc
            self.times += 1
        return self._connection
