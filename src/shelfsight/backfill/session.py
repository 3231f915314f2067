"""A session of a shop's PostgreSQL, as every backfill wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection

_CONNECTS_WITHIN_S = 10
_SETTINGS = {
    "standard_conforming_strings": "on",
    # A role may have ones that are too short for reading a whole table.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_SET = """
    SELECT set_config(name, value, false)
    FROM pg_settings AS known JOIN unnest(%s::text[], %s::text[]) AS wanted (name, value) USING (name)"""
_ALIVE: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A server that went away without a word is noticed within a minute, and not after hours."""


def open_session(conninfo: str = "", *, settings: Mapping[str, str], **parameters: Any) -> Connection[Any]:
    """Return a session that commits each statement by itself, and speaks UTF-8 whatever the database does.

    Args:
        settings: of the session, beside those that all have; what the server is too old to know is left out.
        parameters: of the connection, beside what `conninfo` says.

    Raises:
        psycopg.Error: the server is not there, or lets nobody in so.
    """
    connection = psycopg.connect(
        conninfo,
        autocommit=True,
        connect_timeout=_CONNECTS_WITHIN_S,
        application_name="shelfsight backfill",
        client_encoding="utf8",
        **_ALIVE,
        **parameters,
    )
    wanted = {**_SETTINGS, **settings}
    try:
        connection.execute(_SET, [list(wanted), list(wanted.values())])
    except psycopg.Error:
        connection.close()
        raise
    return connection


def first_line(error: Exception) -> str:
    """Return what the database itself said, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
