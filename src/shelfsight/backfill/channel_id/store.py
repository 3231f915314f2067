"""The shop's PostgreSQL: one session, which holds the turn and what is temporary until it ends."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from shelfsight.backfill.session import first_line, open_session
from shelfsight.errors import DatabaseError, PartnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

_OLDEST = 120000
_LOCK_ERRORS = (errors.LockNotAvailable, errors.DeadlockDetected)
_SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "client_min_messages": "warning",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    # A server that works on for a client that was killed would hold its turn, and its locks.
    "client_connection_check_interval": "1s",
}


class LockBusyError(DatabaseError):
    """A lock did not come at once; nothing was changed."""


class Shop:
    """A session of the shop's database."""

    def __init__(self, connection: Connection[Any]) -> None:
        """Use a connection that commits each statement by itself."""
        self._connection = connection

    def close(self) -> None:
        """End the session, and with it the turn and what is temporary."""
        self._connection.close()

    def cancel(self) -> None:
        """End the statement that runs, from another thread."""
        with suppress(psycopg.Error):  # the connection is lost: nothing runs any more
            self._connection.cancel_safe(timeout=5)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            DatabaseError: the server does not answer any more.
            PartnerError: it refuses.
        """
        with _told():
            return self._connection.execute(sql.encode()).fetchall()

    def value(self, sql: str) -> Any:
        """Return the only value of a query; raises as `rows`."""
        return self.rows(f"SELECT {sql}")[0][0]

    def run(self, sql: str, *, lock_timeout_ms: int | None = None) -> int:
        """Run a statement; return how many rows it changed.

        Args:
            lock_timeout_ms: give up when a lock has not come after so long; None = as before, 0 = never.

        Raises:
            LockBusyError: a lock did not come, or somebody waited for ours.
            DatabaseError: the server does not answer any more.
            PartnerError: it refuses.
        """
        with _told():
            if lock_timeout_ms is not None:
                self._connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(lock_timeout_ms)])
            return self._connection.execute(sql.encode()).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let the block be one transaction, undone where it does not end well; raises as `run`."""
        with _told(), self._connection.transaction():
            yield


def connect(conninfo: str) -> Shop:
    """Return a session.

    Args:
        conninfo: as libpq takes it, a URL or words.

    Raises:
        UsageError: it is none.
        DatabaseError: the server is not there, or lets nobody in so.
        PartnerError: it is too old.
    """
    try:
        conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        raise UsageError("the database's address cannot be read: use postgresql://user:password@host/name") from None
    try:
        connection = open_session(conninfo, settings=_SETTINGS)
    except psycopg.Error as exc:
        raise DatabaseError(f"PostgreSQL cannot be used: {first_line(exc)}") from exc
    version = connection.info.server_version
    if version < _OLDEST:
        connection.close()
        raise PartnerError(f"PostgreSQL {version // 10000} is too old: 12 is the oldest that can do this online")
    return Shop(connection)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _LOCK_ERRORS as exc:
        raise LockBusyError(f"a lock did not come: {first_line(exc)}") from exc
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise DatabaseError(f"PostgreSQL did not do it: {first_line(exc)}") from exc
    except psycopg.Error as exc:
        raise PartnerError(f"PostgreSQL refuses: {first_line(exc)}") from exc
