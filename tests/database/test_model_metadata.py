"""The table `model_metadata` under the hands of people who type SQL, on PostgreSQL as each role."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from shelfsight.database import migrate, tables
from shelfsight.database.engine import Database, open_database
from shelfsight.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

INSERT = """
INSERT INTO model_metadata (version, file_path, file_size_bytes, checksum_sha256, architecture, quantization, status)
VALUES ('v1.1.0', 'models/shelf_v1.1.0.ort', 2650000, 'ab', 'mobilenet_v2', 'INT8', 'testing')
"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ROW = "INSERT INTO model_metadata (channel_id, version, file_path, status) VALUES"
LIST = """
SELECT version, rollout_percentage, status, is_stable, created_at FROM model_metadata
WHERE status IN ('active','testing') ORDER BY created_at DESC
"""


@contextmanager
def session(database: Database, *settings: str) -> Iterator[Connection]:
    """A session as a person has one: nothing of what Shelfsight's own connections say, then `settings`."""
    with database.engine.connect() as connection:
        with connection.begin():
            connection.execute(text("RESET shelfsight.channel"))
            for setting in settings:
                connection.execute(text(setting))
            yield connection
        connection.invalidate()


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def shops(postgresql: Database) -> Database:
    """Three channels, one of them private, each with an active v1.0.0 and a v1.1.0 in testing."""
    with postgresql.write() as tx:
        tx.execute(text("INSERT INTO shelfsight.channels (id, token) VALUES ('T_1', 'a')"))
        tx.execute(text("INSERT INTO shelfsight.channels (id, token, visibility) VALUES ('T_2', 'b', 'private')"))
        for channel in ("default", "T_1", "T_2"):
            for version, status in (("v1.0.0", "active"), ("v1.1.0", "testing")):
                tx.execute(
                    text(
                        "INSERT INTO model_metadata (channel_id, version, file_path, status) VALUES (:c, :v, '', :s)"
                    ),
                    {"c": channel, "v": version, "s": status},
                )
    return postgresql


@pytest.fixture
def owned(postgresql_url: str) -> Iterator[Database]:
    """A database whose owner is no superuser, as with every hosted PostgreSQL."""
    server = open_database(postgresql_url)
    with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE ROLE keeper LOGIN CREATEROLE"))
        connection.execute(text("CREATE DATABASE owned OWNER keeper"))
    database = open_database(postgresql_url.replace("postgres:@/postgres?", "keeper:@/owned?"))
    yield database
    database.close()
    with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("DROP DATABASE owned WITH (FORCE)"))
        connection.execute(text("DROP ROLE keeper"))
    server.close()


def test_an_operators_statements_run_as_they_are(postgresql: Database) -> None:
    with session(postgresql) as sql:
        sql.execute(text(INSERT))
        assert [row[:4] for row in rows(sql, LIST)] == [("v1.1.0", 0, "testing", False)]
        for statement in (
            "UPDATE model_metadata SET shadow_mode = true, shadow_percentage = 10 WHERE version = 'v1.1.0'",
            "UPDATE model_metadata SET status = 'active', rollout_percentage = 10 WHERE version = 'v1.1.0'",
            "UPDATE model_metadata SET rollout_percentage = 100, is_stable = true WHERE version = 'v1.1.0'",
        ):
            assert sql.execute(text(statement)).rowcount == 1
        assert [row[:4] for row in rows(sql, LIST)] == [("v1.1.0", 100, "active", True)]
    with session(postgresql) as sql:
        sql.execute(text("UPDATE model_metadata SET is_stable = false WHERE version = 'v1.1.0'"))
        sql.execute(
            text("UPDATE model_metadata SET status = 'deprecated', deprecated_at = NOW() WHERE version = 'v1.1.0'")
        )
        assert rows(sql, LIST) == []
        assert rows(sql, "SELECT deprecated_at IS NOT NULL FROM model_metadata") == [(True,)]


def test_a_superusers_update_hits_the_row_of_the_sessions_channel_alone(shops: Database) -> None:
    statement = "UPDATE model_metadata SET rollout_percentage = 10 WHERE version = 'v1.1.0'"
    with session(shops) as sql:
        assert sql.execute(text(statement)).rowcount == 1
    with session(shops, "SET shelfsight.channel = 'T_2'") as sql:
        assert sql.execute(text(statement)).rowcount == 1
        assert sql.execute(text("DELETE FROM model_metadata WHERE version = 'v1.0.0'")).rowcount == 1
    changed = "SELECT channel_id FROM model_metadata WHERE rollout_percentage = 10 ORDER BY 1"
    with shops.read() as sql:
        assert rows(sql, changed) == [("T_2",), ("default",)]
        assert rows(sql, "SELECT count(*) FROM model_metadata") == [(5,)]


def test_an_owner_who_is_no_superuser_sees_the_sessions_channel_alone(owned: Database) -> None:
    migrate.prepare(owned)
    with owned.write() as tx:
        tx.execute(text("INSERT INTO shelfsight.channels (id, token) VALUES ('T_1', 'a')"))
        tx.execute(text(f"{ROW} ('T_1', 'v1.0.0', '', 'active')"))
    with session(owned) as sql:
        sql.execute(text(INSERT))
        assert rows(sql, "SELECT channel_id, version FROM model_metadata") == [("default", "v1.1.0")]
        stable = "UPDATE model_metadata SET status = 'active', is_stable = true WHERE version = 'v1.1.0'"
        assert sql.execute(text(stable)).rowcount == 1
    with session(owned, "SET shelfsight.channel = 'T_1'") as sql:
        assert rows(sql, "SELECT channel_id FROM model_metadata") == [("T_1",)]
        with pytest.raises(DBAPIError, match="row-level security"):
            sql.execute(text(f"{ROW} ('default', 'v9.0.0', '', 'active')"))
    with owned.read() as sql:
        assert rows(sql, "SELECT id, model_version FROM shelfsight.channels ORDER BY 1") == [
            ("T_1", None),
            ("default", "v1.1.0"),
        ]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_public_reads_active_rows_of_public_channels(shops: Database, role: str) -> None:
    with session(shops, f"SET LOCAL ROLE {role}") as sql:
        seen = rows(sql, "SELECT channel_id, version FROM model_metadata ORDER BY 1")
    assert seen == [("T_1", "v1.0.0"), ("default", "v1.0.0")]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "statement",
    [
        INSERT,
        "UPDATE model_metadata SET rollout_percentage = 100",
        "DELETE FROM model_metadata",
        "TRUNCATE model_metadata",
        "SELECT * FROM shelfsight.channels",
        "SELECT * FROM shelfsight.tokens",
        "SELECT * FROM trainings",
        "SELECT * FROM ml_models",
        "INSERT INTO shelfsight.audit (actor) VALUES ('me')",
    ],
)
def test_the_public_writes_nothing_and_reads_nothing_else(shops: Database, role: str, statement: str) -> None:
    with session(shops, f"SET LOCAL ROLE {role}") as sql, pytest.raises(DBAPIError, match="permission denied"):
        sql.execute(text(statement))


def test_the_public_sees_no_more_by_choosing_a_channel(shops: Database) -> None:
    for channel in ("*", "T_2"):
        with session(shops, f"SET shelfsight.channel = '{channel}'", "SET LOCAL ROLE anon") as sql:
            assert len(rows(sql, "SELECT 1 FROM model_metadata")) == 2


def test_service_role_does_everything_in_every_channel(shops: Database) -> None:
    with session(shops, "SET LOCAL ROLE service_role") as sql:
        assert len(rows(sql, "SELECT 1 FROM model_metadata")) == 6
        sql.execute(text(f"{ROW} ('T_2', 'v1.2.0', '', 'testing')"))
        sql.execute(text("INSERT INTO trainings (channel_id, status) VALUES ('T_2', 'failed')"))
        stable = (
            "UPDATE model_metadata SET status = 'active', is_stable = true WHERE channel_id = 'T_2' AND version = :v"
        )
        for version in ("v1.1.0", "v1.0.0"):
            assert sql.execute(text(stable), {"v": version}).rowcount == 1
        assert sql.execute(text("DELETE FROM model_metadata WHERE channel_id = 'T_2'")).rowcount == 3
    with shops.read() as sql:
        assert rows(sql, "SELECT model_version FROM shelfsight.channels WHERE id = 'T_2'") == [(None,)]


def test_a_temporary_table_of_the_same_name_is_not_what_the_triggers_work_on(shops: Database) -> None:
    with session(shops, "SET LOCAL ROLE service_role") as sql:
        sql.execute(
            text("UPDATE model_metadata SET is_stable = true WHERE channel_id = 'T_1' AND version = 'v1.0.0'")
        )
        sql.execute(text("CREATE TEMP TABLE model_metadata (LIKE public.model_metadata INCLUDING ALL)"))
        stable = "status = 'active', is_stable = true WHERE channel_id = 'T_1' AND version = 'v1.1.0'"
        sql.execute(text(f"UPDATE public.model_metadata SET {stable}"))
        assert rows(sql, "SELECT version FROM public.model_metadata WHERE is_stable") == [("v1.1.0",)]
    with shops.read() as sql:
        assert rows(sql, "SELECT model_version FROM shelfsight.channels WHERE id = 'T_1'") == [("v1.1.0",)]


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE model_metadata",  # which no trigger would audit
        "TRUNCATE trainings",
        "CREATE TRIGGER x BEFORE UPDATE ON trainings EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TEMP TABLE t (); CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION shelfsight.record_version()",
    ],
)
def test_service_role_gets_no_hold_of_the_owners_rights(shops: Database, statement: str) -> None:
    with session(shops, "SET LOCAL ROLE service_role") as sql, pytest.raises(DBAPIError, match="permission denied"):
        sql.execute(text(statement))


def test_what_a_database_grants_on_new_tables_and_sequences_is_taken_back(owned: Database) -> None:
    with owned.engine.begin() as connection:
        for role in ("anon", "service_role"):
            connection.execute(text(f"DO 'BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END'"))
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(text(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO anon, service_role"))
    migrate.prepare(owned)
    with owned.read() as sql:
        for table in ("model_metadata", "trainings"):
            assert not sql.scalar(text(f"SELECT has_sequence_privilege('anon', '{table}_id_seq', 'USAGE, UPDATE')"))
        assert not sql.scalar(
            text("SELECT has_sequence_privilege('anon', 'shelfsight.audit_id_seq', 'USAGE, UPDATE')")
        )
        assert not sql.scalar(text("SELECT has_table_privilege('anon', 'trainings', 'SELECT')"))
        assert not sql.scalar(text("SELECT has_table_privilege('service_role', 'shelfsight.tokens', 'SELECT')"))


def test_only_the_server_says_in_whose_name_it_writes(shops: Database) -> None:
    with session(shops, "SET LOCAL ROLE service_role", "SET shelfsight.actor = 'admin:anna'") as sql:
        sql.execute(text("UPDATE model_metadata SET rollout_percentage = 1 WHERE channel_id = 'T_1'"))
    with shops.read() as sql:
        actors = "SELECT DISTINCT actor FROM shelfsight.audit WHERE action = 'version_updated'"
        assert rows(sql, actors) == [("sql:service_role",)]


def _version(database: Database, version: str, *, status: str = "active", stable: bool = False) -> None:
    with database.write(actor="anna") as tx:
        tx.execute(
            text(
                "INSERT INTO model_metadata (channel_id, version, file_path, status, is_stable) "
                "VALUES ('default', :version, '', :status, :stable)"
            ),
            {"version": version, "status": status, "stable": stable},
        )


def _channels(database: Database) -> str:
    return "shelfsight.channels" if database.is_postgresql else "channels"


def test_whoever_becomes_stable_takes_it_from_the_one_that_was(database: Database) -> None:
    _version(database, "v1.0.0", stable=True)
    _version(database, "v1.1.0", stable=True)
    with database.write() as tx:
        assert rows(tx, "SELECT version FROM model_metadata WHERE is_stable") == [("v1.1.0",)]
        tx.execute(text("UPDATE model_metadata SET is_stable = true WHERE version = 'v1.0.0'"))
    with database.read() as tx:
        assert rows(tx, "SELECT version FROM model_metadata WHERE is_stable") == [("v1.0.0",)]
        assert rows(tx, f"SELECT model_version FROM {_channels(database)}") == [("v1.0.0",)]


def test_every_change_counts_the_sequence_up_and_is_audited_under_who_made_it(database: Database) -> None:
    audit = "shelfsight.audit" if database.is_postgresql else "audit"
    sequence = f"SELECT sequence FROM {_channels(database)} WHERE id = 'default'"
    _version(database, "v1.0.0", status="testing")
    with database.read() as tx:
        before = tx.scalar(text(sequence))
    with database.write(actor="token:ab12") as tx:
        tx.execute(text("UPDATE model_metadata SET rollout_percentage = 10"))
        tx.execute(text("DELETE FROM model_metadata"))
    with database.read() as tx:
        assert tx.scalar(text(sequence)) == before + 2
        assert rows(tx, f"SELECT actor, action, channel_id, subject FROM {audit} ORDER BY id") == [
            ("anna", "version_inserted", "default", "v1.0.0"),
            ("token:ab12", "version_updated", "default", "v1.0.0"),
            ("token:ab12", "version_deleted", "default", "v1.0.0"),
        ]


def test_a_change_by_a_person_at_the_database_is_audited_as_such(database: Database) -> None:
    audit = "shelfsight.audit" if database.is_postgresql else "audit"
    with database.engine.begin() as connection:
        connection.execute(text(f"{ROW} ('default', 'v1.0.0', '', 'active')"))
    with database.read() as tx:
        (actor,) = tx.execute(text(f"SELECT actor FROM {audit}")).scalars()
    assert actor == ("sql:postgres" if database.is_postgresql else "sql")


def test_deprecated_at_follows_the_status(database: Database) -> None:
    _version(database, "v1.0.0")
    query = text("SELECT deprecated_at IS NOT NULL FROM model_metadata")
    for status, deprecated in (("deprecated", True), ("active", False)):
        with database.write() as tx:
            tx.execute(text("UPDATE model_metadata SET status = :status"), {"status": status})
            assert bool(tx.scalar(query)) is deprecated


@pytest.mark.parametrize(
    "change",
    [
        "status = 'deprecated'",  # the stable version
        "status = 'broken'",
        "rollout_percentage = 101",
        "shadow_percentage = -1",
        "rollback_threshold = 5",
        "version = '1.0.0'",
        "version = 'v1.0.x'",
        "version = 'v1.1.0'",  # which is there
    ],
)
def test_what_makes_no_sense_is_refused(database: Database, change: str) -> None:
    _version(database, "v1.0.0", stable=True)
    _version(database, "v1.1.0")
    with pytest.raises(ConflictError, match="the database refuses it"), database.write() as tx:
        tx.execute(text(f"UPDATE model_metadata SET {change} WHERE version = 'v1.0.0'"))


def test_two_rows_are_never_stable_at_once(database: Database) -> None:
    _version(database, "v1.0.0", stable=True)
    several = "SELECT 1 FROM model_metadata WHERE is_stable GROUP BY channel_id HAVING count(*) > 1"
    for version in ("v1.1.0", "v1.2.0"):
        _version(database, version, stable=True)
        with database.read() as tx:
            assert rows(tx, several) == []


def test_a_change_wakes_who_listens(postgresql: Database) -> None:
    with postgresql.engine.connect() as listener:
        raw: Any = listener.connection.driver_connection
        listener.execute(text("LISTEN shelfsight_versions"))
        listener.commit()
        _version(postgresql, "v1.0.0")
        (note,) = list(raw.notifies(timeout=5, stop_after=1))
    assert note.payload == "default"


def test_ml_models_is_the_history_with_failures(database: Database) -> None:
    _version(database, "v1.0.0", stable=True)
    with database.write() as tx:
        training = "INSERT INTO trainings (channel_id, version, status) VALUES ('default', :v, :s)"
        tx.execute(text(training), {"v": "v1.0.0", "s": "ready"})
        tx.execute(text(training), {"v": None, "s": "failed"})
    with database.read() as tx:
        found = rows(tx, "SELECT version, active FROM ml_models ORDER BY id")
    assert [(version, bool(active)) for version, active in found] == [("v1.0.0", True), (None, False)]


def _rollouts(database: Database) -> list[Any]:
    with database.read() as tx:
        return list(tx.execute(select(tables.rollouts).order_by(tables.rollouts.c.id)))


def _sequence(database: Database) -> int:
    with database.read() as tx:
        return int(tx.scalar(text(f"SELECT sequence FROM {_channels(database)} WHERE id = 'default'")) or 0)


def _change(database: Database, version: str, columns: str) -> None:
    with database.write(actor="anna") as tx:
        tx.execute(text(f"UPDATE model_metadata SET {columns} WHERE version = '{version}'"))


@pytest.mark.parametrize("begins", ["rollout_percentage = 10", "shadow_mode = true, shadow_percentage = 10"])
@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ("rollout_percentage = 0, shadow_mode = false", "stopped"),
        ("status = 'deprecated'", "stopped"),
        ("status = 'active', is_stable = true", "stable"),
    ],
)
def test_a_rollout_is_a_row_from_the_first_share_to_the_last(
    database: Database, begins: str, ends: str, outcome: str
) -> None:
    _version(database, "v1.1.0", status="testing")
    assert _rollouts(database) == []
    _change(database, "v1.1.0", begins)
    (begun,) = _rollouts(database)
    assert (begun.version, begun.started_by, begun.outcome, begun.ended_at) == ("v1.1.0", "anna", "", None)
    assert (begun.stages_bp, begun.platforms, begun.tiers, begun.held_at) == ([1000, 5000], [], [], None)
    assert begun.started_at <= begun.stage_at
    _change(database, "v1.1.0", ends)
    (ended,) = _rollouts(database)
    assert (ended.outcome, ended.salt, ended.shadow_salt) == (outcome, begun.salt, begun.shadow_salt)
    assert ended.ended_at >= begun.started_at


def test_a_share_without_its_mode_begins_no_rollout(database: Database) -> None:
    _version(database, "v1.1.0", status="testing")
    for columns in ("shadow_percentage = 10", "shadow_percentage = 0, shadow_mode = true", "status = 'active'"):
        _change(database, "v1.1.0", columns)
    assert _rollouts(database) == []


def test_a_version_inserted_with_a_share_is_rolled_out(database: Database) -> None:
    with database.write(actor="anna") as tx:
        columns = "channel_id, version, file_path, rollout_percentage"
        tx.execute(text(f"INSERT INTO model_metadata ({columns}) VALUES ('default', 'v1.1.0', '', 5)"))
    (begun,) = _rollouts(database)
    assert (begun.version, begun.started_by) == ("v1.1.0", "anna")
    with database.write() as tx:
        tx.execute(text("DELETE FROM model_metadata"))
    assert [one.outcome for one in _rollouts(database)] == ["stopped"]


def test_who_is_in_stays_in_until_the_next_rollout(database: Database) -> None:
    _version(database, "v1.1.0", status="testing")
    for _ in range(2):
        _change(database, "v1.1.0", "shadow_mode = true, shadow_percentage = 10")
        for columns in (
            "rollout_percentage = 10",
            "shadow_mode = false",
            "rollout_percentage = 90",
            "accuracy = 0.5",
        ):
            _change(database, "v1.1.0", columns)
        _change(database, "v1.1.0", "rollout_percentage = 0")
    first, second = _rollouts(database)
    assert len({first.salt, first.shadow_salt, second.salt, second.shadow_salt}) == 4
    assert all(len(salt) >= 16 for salt in (first.salt, first.shadow_salt))


def test_the_stage_has_a_time_that_other_changes_leave_alone(database: Database) -> None:
    _version(database, "v1.1.0", status="testing")
    _change(database, "v1.1.0", "rollout_percentage = 10")
    with database.write() as tx:
        tx.execute(update(tables.rollouts).values(stage_at=LONG_AGO))
    _change(database, "v1.1.0", "accuracy = 0.5, rollback_threshold = 0.1")
    assert _rollouts(database)[0].stage_at == LONG_AGO
    _change(database, "v1.1.0", "rollout_percentage = 50")
    assert _rollouts(database)[0].stage_at > LONG_AGO


@pytest.mark.parametrize("outcome", ["rolled_back", "halted"])
def test_how_a_rollout_ends_may_be_said_before_it_does(database: Database, outcome: str) -> None:
    _version(database, "v1.1.0", status="testing")
    _change(database, "v1.1.0", "rollout_percentage = 10")
    with database.write() as tx:
        tx.execute(update(tables.rollouts).values(outcome=outcome))
        tx.execute(text("UPDATE model_metadata SET rollout_percentage = 0"))
    assert [one.outcome for one in _rollouts(database)] == [outcome]


def test_whom_a_rollout_is_for_and_who_draws_counts_as_a_change_and_a_hold_does_not(database: Database) -> None:
    _version(database, "v1.1.0", status="testing")
    _change(database, "v1.1.0", "rollout_percentage = 10")
    before = _sequence(database)
    changes: list[dict[str, Any]] = [
        {"salt": "new"},
        {"shadow_salt": "new"},
        {"platforms": ["web"]},
        {"tiers": ["low"]},
    ]
    for number, changed in enumerate(changes, start=1):
        with database.write() as tx:
            tx.execute(update(tables.rollouts).values(changed))
        assert _sequence(database) == before + number
    with database.write() as tx:
        tx.execute(update(tables.rollouts).values(held_at=LONG_AGO, reason="wait", stages_bp=[500]))
    assert _sequence(database) == before + 4


def test_a_version_has_one_open_rollout_and_a_known_outcome(database: Database) -> None:
    _version(database, "v1.1.0", status="testing")
    _change(database, "v1.1.0", "rollout_percentage = 10")
    with pytest.raises(ConflictError), database.write() as tx:
        tx.execute(insert(tables.rollouts).values(channel_id="default", version="v1.1.0"))
    with pytest.raises(ConflictError), database.write() as tx:
        tx.execute(update(tables.rollouts).values(outcome="lost"))


@pytest.mark.parametrize(
    "takes_it",
    [
        "status = 'active', is_stable = true, rollout_percentage = 100 WHERE version = 'v1.1.0'",  # another
        "is_stable = false WHERE version = 'v1.0.0'",
    ],
)
def test_who_stops_being_stable_is_no_candidate(database: Database, takes_it: str) -> None:
    _version(database, "v1.0.0", status="testing")
    _change(database, "v1.0.0", "shadow_mode = true, shadow_percentage = 10")
    _change(database, "v1.0.0", "status = 'active', is_stable = true, rollout_percentage = 100")
    _version(database, "v1.1.0", status="testing")
    with database.write() as tx:
        tx.execute(text(f"UPDATE model_metadata SET {takes_it}"))
    with database.read() as tx:
        row = tx.execute(
            text(
                "SELECT is_stable, status, rollout_percentage, shadow_mode, shadow_percentage FROM model_metadata "
                "WHERE version = 'v1.0.0'"
            )
        ).one()
    assert (bool(row[0]), row[1], row[2], bool(row[3]), row[4]) == (False, "active", 0, False, 0)
    assert [(one.version, one.outcome) for one in _rollouts(database)] == [("v1.0.0", "stable")]


def test_who_is_inserted_as_stable_takes_the_share_too(database: Database) -> None:
    _version(database, "v1.0.0", stable=True)
    _change(database, "v1.0.0", "rollout_percentage = 100")
    _version(database, "v1.1.0", stable=True)
    with database.read() as tx:
        shares = rows(tx, "SELECT version, rollout_percentage FROM model_metadata ORDER BY version")
    assert shares == [("v1.0.0", 0), ("v1.1.0", 0)]
    assert _rollouts(database) == []


@pytest.mark.parametrize("share", ["rollout_percentage = 50", "shadow_mode = true, shadow_percentage = 20"])
def test_who_stops_being_stable_keeps_the_share_that_the_statement_gives(database: Database, share: str) -> None:
    _version(database, "v1.0.0", stable=True)
    _change(database, "v1.0.0", "rollout_percentage = 100")
    _change(database, "v1.0.0", f"is_stable = false, {share}")
    assert [(one.version, one.outcome) for one in _rollouts(database)] == [("v1.0.0", "")]
    with database.read() as tx:
        row = tx.execute(text("SELECT rollout_percentage, shadow_mode, shadow_percentage FROM model_metadata")).one()
    expected = (50, False, 0) if "rollout" in share else (0, True, 20)
    assert (row[0], bool(row[1]), row[2]) == expected


def test_service_role_rolls_out_and_reads_the_rollout_and_writes_it_not(shops: Database) -> None:
    with session(shops, "SET LOCAL ROLE service_role") as sql:
        where = "WHERE channel_id = 'T_2' AND version = 'v1.1.0'"
        sql.execute(text(f"UPDATE model_metadata SET rollout_percentage = 10 {where}"))
        assert rows(sql, "SELECT channel_id, version, started_by FROM shelfsight.rollouts") == [
            ("T_2", "v1.1.0", "sql:service_role")
        ]
    for statement in ("UPDATE shelfsight.rollouts SET salt = 'mine'", "DELETE FROM shelfsight.rollouts"):
        with session(shops, "SET LOCAL ROLE service_role") as sql, pytest.raises(DBAPIError, match="denied"):
            sql.execute(text(statement))


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("table", ["rollouts", "signing_keys", "objects", "downloads"])
def test_the_public_reads_nothing_of_rollouts_and_keys(shops: Database, role: str, table: str) -> None:
    with session(shops, f"SET LOCAL ROLE {role}") as sql, pytest.raises(DBAPIError, match="permission denied"):
        sql.execute(text(f"SELECT * FROM shelfsight.{table}"))


def test_an_owner_who_is_no_superuser_rolls_out(owned: Database) -> None:
    migrate.prepare(owned)
    with session(owned) as sql:
        sql.execute(text(INSERT))
        sql.execute(text("UPDATE model_metadata SET rollout_percentage = 10 WHERE version = 'v1.1.0'"))
        stable = "status = 'active', is_stable = true, rollout_percentage = 100"
        sql.execute(text(f"UPDATE model_metadata SET {stable} WHERE version = 'v1.1.0'"))
        sql.execute(text(INSERT.replace("v1.1.0", "v1.2.0")))
        sql.execute(text(f"UPDATE model_metadata SET {stable} WHERE version = 'v1.2.0'"))
        assert rows(sql, "SELECT version, rollout_percentage FROM model_metadata ORDER BY 1") == [
            ("v1.1.0", 0),
            ("v1.2.0", 100),
        ]
    assert [(one.version, one.outcome, one.started_by) for one in _rollouts(owned)] == [
        ("v1.1.0", "stable", "sql:keeper")
    ]
