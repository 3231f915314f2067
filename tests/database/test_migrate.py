"""Empty databases get their tables, once; any other schema than ours is refused with one sentence."""

from __future__ import annotations

import subprocess
import sys
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from alembic import command
from sqlalchemy import insert, inspect, select, text

from shelfsight.database import migrate
from shelfsight.database.engine import Database, open_database
from shelfsight.database.tables import SCHEMA, channels, metadata, public, rollouts
from shelfsight.errors import ConflictError, DatabaseError, SchemaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield database
        database.close()
        return
    url: str = request.getfixturevalue("postgresql_url")
    server = open_database(url)
    alone = server.engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
    database = open_database(url.replace("/postgres?", "/empty?"))
    yield database
    database.close()
    with alone.connect() as connection:
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    server.close()


def test_an_empty_database_gets_every_table_with_every_column(empty: Database) -> None:
    assert migrate.revision(empty) is None
    migrate.prepare(empty)
    assert migrate.revision(empty) == migrate.latest()
    schema = SCHEMA if empty.is_postgresql else None
    with empty.read() as tx:
        found = inspect(tx)
        for table in (*metadata.sorted_tables, *public.sorted_tables):
            if table.name == "acting" and empty.is_postgresql:
                continue
            columns = {column["name"] for column in found.get_columns(table.name, schema=table.schema and schema)}
            assert columns == set(table.columns.keys()), table.name


def test_a_second_start_changes_nothing(empty: Database) -> None:
    migrate.prepare(empty)
    with empty.write() as tx:
        tx.execute(
            text("INSERT INTO model_metadata (version, file_path, channel_id) VALUES ('v1.0.0', '', 'default')")
        )
    migrate.prepare(empty)
    migrate.upgrade(empty)
    with empty.read() as tx:
        assert tx.scalar(text("SELECT count(*) FROM model_metadata")) == 1


def test_servers_that_start_at_once_on_an_empty_database_take_turns(empty: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(migrate.prepare, empty) for _ in range(6)]:
            done.result()
    with empty.read() as tx:
        name = f"{SCHEMA}.channels" if empty.is_postgresql else "channels"
        assert tx.scalar(text(f"SELECT count(*) FROM {name}")) == 1


@pytest.mark.parametrize(
    ("found", "sentence"),
    [("0000", "which this Shelfsight does not know"), ("9999", "upgrade Shelfsight, or restore the backup")],
)
def test_a_schema_of_another_version_is_refused(empty: Database, found: str, sentence: str) -> None:
    migrate.prepare(empty)
    _pretend(empty, found)
    with pytest.raises(SchemaError, match=sentence):
        migrate.prepare(empty)
    with pytest.raises(SchemaError):
        migrate.upgrade(empty)


def test_an_old_schema_is_refused_until_it_is_upgraded(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.prepare(empty)
    monkeypatch.setattr(migrate, "latest", lambda: "0099")
    with pytest.raises(SchemaError, match=r"has schema [0-9]+, wanted 0099: run `shelfsight db upgrade`"):
        migrate.prepare(empty)


def test_a_database_of_the_first_schema_is_upgraded_and_keeps_its_rows(empty: Database) -> None:
    with migrate._exclusive(empty) as connection:
        command.upgrade(migrate._config(connection), "0001")
    with empty.write() as tx:
        tx.execute(text("INSERT INTO trainings (channel_id, version, status) VALUES ('default', 'v1.0.0', 'ready')"))
    with pytest.raises(SchemaError, match="run `shelfsight db upgrade`"):
        migrate.prepare(empty)
    migrate.upgrade(empty)
    migrate.prepare(empty)
    with empty.read() as tx:
        assert tx.execute(text("SELECT version, done, stage FROM trainings")).all() == [("v1.0.0", 0, "")]


def test_a_rollout_that_runs_goes_on_under_the_next_schema(empty: Database) -> None:
    with migrate._exclusive(empty) as connection:
        command.upgrade(migrate._config(connection), "0003")
    stable = "status = 'active', rollout_percentage = 100, is_stable = true"
    with empty.write() as tx:
        for version in ("v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0"):
            columns = "(version, file_path, channel_id)"
            tx.execute(text(f"INSERT INTO model_metadata {columns} VALUES ('{version}', '', 'default')"))
        for version, changed in (
            ("v1.0.0", stable),
            ("v1.1.0", stable),  # v1.0.0 was left active, with all of the devices
            ("v1.2.0", "rollout_percentage = 25"),
            ("v1.3.0", "shadow_mode = true, shadow_percentage = 10"),
            ("v1.4.0", "status = 'deprecated', rollout_percentage = 50"),
        ):
            tx.execute(text(f"UPDATE model_metadata SET {changed} WHERE version = '{version}'"))
    migrate.upgrade(empty)
    migrate.prepare(empty)
    with empty.read() as tx:
        found = tx.execute(select(rollouts).order_by(rollouts.c.version)).all()
        shares = tx.execute(text("SELECT version, rollout_percentage FROM model_metadata ORDER BY version")).all()
    assert [(one.version, one.ended_at, one.outcome) for one in found] == [("v1.2.0", None, ""), ("v1.3.0", None, "")]
    assert len({salt for one in found for salt in (one.salt, one.shadow_salt)}) == 4
    assert [share for _, share in shares] == [0, 100, 25, 0, 50]
    with empty.write() as tx:
        tx.execute(text(f"UPDATE model_metadata SET {stable} WHERE version = 'v1.2.0'"))
    with empty.read() as tx:
        ended = tx.execute(select(rollouts.c.version, rollouts.c.outcome).order_by(rollouts.c.version)).all()
    assert ended == [("v1.2.0", "stable"), ("v1.3.0", "")]


def _pretend(database: Database, version: str) -> None:
    prefix = f"{SCHEMA}." if database.is_postgresql else ""
    with database.write() as tx:
        tx.execute(text(f"UPDATE {prefix}schema_version SET version_num = '{version}'"))


def test_somebody_elses_table_is_not_touched(empty: Database) -> None:
    with empty.engine.begin() as connection:
        connection.execute(text("CREATE TABLE model_metadata (version text)"))
    with pytest.raises(SchemaError, match="a table 'model_metadata' that is not Shelfsight's"):
        migrate.prepare(empty)


def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    with empty.engine.begin() as connection:
        connection.execute(text("CREATE VIEW ml_models AS SELECT 1 AS id"))  # in the way of its last statements
    with pytest.raises(SchemaError, match="it is as it was"):
        migrate.prepare(empty)
    assert migrate.revision(empty) is None
    with empty.engine.begin() as connection:
        connection.execute(text("DROP VIEW ml_models"))
    migrate.prepare(empty)


def test_a_migration_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from shelfsight.database import migrate; "
        "from shelfsight.database.engine import open_database; from sqlalchemy import event; "
        "database = open_database(sys.argv[1]); seen = []\n"
        "def kill(*args):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "event.listen(database.engine, 'before_cursor_execute', kill)\n"
        "migrate.prepare(database)"
    )
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    done = subprocess.run([sys.executable, "-c", script, url], check=False)
    assert done.returncode == -9
    database = open_database(url)
    assert migrate.revision(database) is None
    migrate.prepare(database)
    database.close()


@pytest.mark.parametrize(
    "url", ["", "mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql+asyncpg:/"]
)
def test_what_is_no_database_is_said_without_the_password(url: str) -> None:
    with pytest.raises(UsageError):
        open_database(url)
    with pytest.raises(UsageError) as caught:
        open_database("mysql://anna:secret@host/shop")
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    database = open_database("postgresql://anna:secret@127.0.0.1:9/shop")
    with pytest.raises(DatabaseError, match="the database did not do it") as caught:
        migrate.prepare(database)
    assert "secret" not in str(caught.value)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        migrate.prepare(open_database(f"sqlite:///{broken}"))


def test_a_writer_waits_for_another_and_a_reader_does_not(sqlite: Database) -> None:
    with sqlite.write() as tx:
        tx.execute(text("UPDATE channels SET name = 'new'"))
        with sqlite.read() as reader:
            assert reader.scalar(text("SELECT name FROM channels")) == "Default"
    with sqlite.read() as reader:
        assert reader.scalar(text("SELECT name FROM channels")) == "new"


def test_a_block_that_raises_undoes_its_writes(database: Database) -> None:
    name = f"{SCHEMA}.channels" if database.is_postgresql else "channels"
    with pytest.raises(ConflictError), database.write() as tx:  # noqa: PT012 (both: the second undoes the first)
        tx.execute(text(f"UPDATE {name} SET name = 'new'"))
        tx.execute(text(f"INSERT INTO {name} (id, token) VALUES ('default', '')"))
    with database.read() as tx:
        assert tx.scalar(text(f"SELECT name FROM {name}")) == "Default"


def test_an_error_in_the_log_shows_no_values(database: Database) -> None:
    secret = uuid.uuid4().hex
    with pytest.raises(ConflictError) as caught, database.write() as tx:
        tx.execute(insert(channels).values(id="default", token=secret))
    assert secret not in "".join(traceback.format_exception(caught.value))
