"""The session of a shop's PostgreSQL that every backfill works in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from shelfsight.backfill.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def latin_url(postgresql_url: str) -> Iterator[str]:
    """The URL of a database in LATIN1, whose sessions end soon."""
    name = f"shop_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        for limit in ("statement_timeout", "transaction_timeout", "idle_session_timeout"):
            connection.execute(f"ALTER DATABASE {name} SET {limit} = '5s'")
        yield postgresql_url.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_no_limit_of_the_database_ends_it(latin_url: str) -> None:
    with open_session(latin_url, settings={"lock_timeout": "250ms"}) as session:
        found = session.execute("SELECT name, setting FROM pg_settings WHERE name LIKE '%\\_timeout'").fetchall()
    limits = dict(found)
    assert limits["lock_timeout"] == "250"
    for name in ("statement_timeout", "transaction_timeout", "idle_session_timeout"):
        assert limits[name] == "0"


def test_what_an_older_server_does_not_know_is_left_out(postgresql_url: str) -> None:
    with open_session(postgresql_url, settings={"no_such_timeout": "0", "lock_timeout": "1s"}) as session:
        assert session.execute("SHOW lock_timeout").fetchone() == ("1s",)


def test_it_speaks_utf_8_to_a_database_that_does_not(latin_url: str) -> None:
    with open_session(latin_url, settings={}) as session:
        session.execute("CREATE TABLE products (id text)")
        with session.cursor() as cursor, cursor.copy("COPY products FROM STDIN") as copy:
            copy.write("k\u00e4se\n".encode())
        assert session.execute("SELECT id, length(id) FROM products").fetchone() == ("k\u00e4se", 4)


def test_a_server_that_went_away_without_a_word_is_noticed(postgresql_url: str) -> None:
    with open_session(postgresql_url, settings={}) as session:
        parameters = session.info.get_parameters()
    assert int(parameters["keepalives_idle"]) <= 60
