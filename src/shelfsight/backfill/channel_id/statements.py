"""The SQL of the migration, as steps that know when they are done. Pure.

The same text is sent by us and printed for psql, so names and texts are written into it, quoted, and nothing is a
parameter. A body is PL/pgSQL, which can ask the catalogue and act on what it says in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shelfsight.backfill.channel_id.rules import FILL_ORDER, LOCK_ORDER, Names, dollar, identifier, literal
from shelfsight.backfill.channel_id.table import (
    COMMENT,
    Table,
    booked_at,
    channels_at,
    default_channel,
    ledger_at,
    tables,
)

BOOK = "shelfsight_note_booked"
"""The name of the trigger that notes what is booked, and of its function."""

BRIEF_MS = 15
"""So long a lock is waited for behind which others wait."""

LOCKS_AGAIN_S = 10.0
"""So long at most from one attempt to lock every table to the next; each lets everybody wait for half a second."""

_AT_ONCE = 500
"""Rows corrected in one transaction."""


class How(StrEnum):
    """What a step needs."""

    BRIEF = "brief"
    """A lock that others wait behind: for a moment only, and given up when it does not come at once."""
    SCAN = "scan"
    """To read a whole table, under a lock that stops no writer."""
    INDEX = "index"
    """A statement that must be no part of a transaction: `CREATE INDEX CONCURRENTLY`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part of the migration.

    Attributes:
        done: an expression that says whether there is nothing to do.
        body: PL/pgSQL that does it; of an index, the statement.
        at: the table that it locks, if it is worth to make autovacuum leave it first.
    """

    title: str
    how: How
    done: str
    body: str
    at: str = ""

    @property
    def code(self) -> str:
        """The body, behind a lock that stops no writer and is waited for.

        A vacuum gives way only to somebody who waits for a second (`deadlock_timeout`). Who waits for a lock that
        stops writers must not wait so long.
        """
        if not self.at:
            return self.body
        lock = f"LOCK TABLE {self.at} IN SHARE UPDATE EXCLUSIVE MODE"
        return f"SET LOCAL lock_timeout = '5s'; {lock}; SET LOCAL lock_timeout = '{BRIEF_MS}ms'; {self.body}"


def add_column(table: Table) -> Step:
    """Return the step that adds the column, of the type that channels' ids have."""
    kind = (
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = to_regclass({literal(channels_at(table.names))}) AND attname = 'id'"
    )
    add = literal(f"ALTER TABLE {table.at} ADD COLUMN {table.column} ")
    return Step(
        title=f"column of {table.name}",
        how=How.BRIEF,
        done=table.has_column,
        body=f"EXECUTE {add} || ({kind}); COMMENT ON COLUMN {table.at}.{table.column} IS {literal(COMMENT)};",
        at=table.at,
    )


def add_trigger(table: Table) -> Step:
    """Return the step after which rows of code that does not know the column get a channel."""
    names = table.names
    function = f"{identifier(names.schema)}.{identifier(table.trigger)}"
    fill = f"NEW.{table.column} := {table.given('NEW')};"
    return Step(
        title=f"new rows of {table.name}",
        how=How.BRIEF,
        done=table.has_trigger,
        body=(
            f"{_function(function, fill)} "
            f"CREATE TRIGGER {identifier(table.trigger)} BEFORE INSERT ON {table.at} FOR EACH ROW "
            f"WHEN (NEW.{table.column} IS NULL) EXECUTE FUNCTION {function}();"
        ),
        at=table.at,
    )


def add_book(names: Names) -> Step:
    """Return the step after which everything that is booked is noted."""
    function = f"{identifier(names.schema)}.{BOOK}"
    source = f"NEW.{identifier(names.source_type_column)}"
    kinds = " ".join(f"WHEN {literal(names.source(kind))} THEN {literal(kind.value)}" for kind in LOCK_ORDER)
    note = (
        f"INSERT INTO {booked_at(names)} VALUES (CASE {source} {kinds} END, "
        f"NEW.{identifier(names.source_id_column)}::text) ON CONFLICT DO NOTHING;"
    )
    sources = ", ".join(literal(names.source(kind)) for kind in LOCK_ORDER)
    return Step(
        title=f"new rows of {names.ledger}",
        how=How.BRIEF,
        done=has_book(names),
        body=(
            f"CREATE TABLE IF NOT EXISTS {booked_at(names)} (kind text, id text, PRIMARY KEY (kind, id)); "
            f"{_function(function, note)} "
            f"CREATE TRIGGER {BOOK} BEFORE INSERT ON {ledger_at(names)} FOR EACH ROW WHEN ({source} IN ({sources}) "
            f"AND NEW.{identifier(names.source_id_column)} IS NOT NULL) EXECUTE FUNCTION {function}();"
        ),
        at=ledger_at(names),
    )


def add_triggers(names: Names) -> list[Step]:
    """Return the steps after which new rows get a channel, and what is booked of them is noted: that begins first."""
    return [add_book(names), *map(add_trigger, tables(names))]


def drop_book(names: Names) -> Step:
    """Return the step after which nothing is noted any more."""
    return Step(
        title=f"no more notes of {names.ledger}",
        how=How.BRIEF,
        done=f"NOT {has_book(names)}",
        body=f"DROP TRIGGER {BOOK} ON {ledger_at(names)}; DROP FUNCTION {identifier(names.schema)}.{BOOK}();",
        at=ledger_at(names),
    )


def has_book(names: Names) -> str:
    """Return whether what is booked is noted."""
    oid = f"to_regclass({literal(ledger_at(names))})"
    return f"EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {oid} AND tgname = {literal(BOOK)} AND NOT tgisinternal)"


def _function(name: str, body: str) -> str:
    """Return the statement that makes a trigger's function, which does what its owner may, whoever writes a row."""
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS {dollar(f'BEGIN {body} RETURN NEW; END')};"
    )


def drop_trigger(table: Table) -> Step:
    """Return the step after which nobody gives new rows a channel."""
    function = f"{identifier(table.names.schema)}.{identifier(table.trigger)}"
    return Step(
        title=f"no more filling of {table.name}",
        how=How.BRIEF,
        done=f"NOT {table.has_trigger}",
        body=f"DROP TRIGGER {identifier(table.trigger)} ON {table.at}; DROP FUNCTION {function}();",
        at=table.at,
    )


def drop_column(table: Table) -> Step:
    """Return the step that takes the column away, with its key, its index and its trigger."""
    function = f"{identifier(table.names.schema)}.{identifier(table.trigger)}"
    return Step(
        title=f"column of {table.name} away",
        how=How.BRIEF,
        done=f"NOT ({table.has_column} OR {table.has_trigger})",
        # At once: between the end of the trigger and that of NOT NULL, old code could not write.
        body=(
            f"DROP TRIGGER IF EXISTS {identifier(table.trigger)} ON {table.at}; "
            f"ALTER TABLE {table.at} DROP COLUMN IF EXISTS {table.column}; DROP FUNCTION IF EXISTS {function}();"
        ),
        at=table.at,
    )


def drop_notes(names: Names) -> Step:
    """Return the step that takes the notes away."""
    return Step(
        title="notes away",
        how=How.BRIEF,
        done=f"to_regclass({literal(booked_at(names))}) IS NULL",
        body=f"DROP TABLE {booked_at(names)};",
    )


def constrain_online(table: Table) -> list[Step]:
    """Return the steps to NOT NULL, foreign key and index during which nobody waits for long."""
    check, alter = identifier(table.check), f"ALTER TABLE {table.at}"
    return [
        Step(
            title=f"check of {table.name}",
            how=How.BRIEF,
            done=f"({table.not_null} OR {table.has_check})",
            body=f"{alter} ADD CONSTRAINT {check} CHECK ({table.column} IS NOT NULL) NOT VALID;",
            at=table.at,
        ),
        Step(
            title=f"check of all rows of {table.name}",
            how=How.SCAN,
            done=f"({table.not_null} OR {table.has_valid_check})",
            body=f"{alter} VALIDATE CONSTRAINT {check};",
        ),
        Step(
            title=f"NOT NULL of {table.name}",
            how=How.BRIEF,
            done=f"({table.not_null} AND NOT {table.has_check})",
            body=f"{alter} ALTER COLUMN {table.column} SET NOT NULL; {alter} DROP CONSTRAINT IF EXISTS {check};",
            at=table.at,
        ),
        _key(table, " NOT VALID"),
        _validate_key(table),
        _drop_invalid_index(table),
        Step(
            title=f"index of {table.name}",
            how=How.INDEX,
            done=table.has_valid_index,
            body=f"CREATE INDEX CONCURRENTLY {identifier(table.index)} ON {table.at} ({table.column})",
        ),
    ]


def constrain_at_once(table: Table) -> list[Step]:
    """Return the steps to NOT NULL, foreign key and index under a lock that is held anyway."""
    alter = f"ALTER TABLE {table.at}"
    drop_check = f"{alter} DROP CONSTRAINT IF EXISTS {identifier(table.check)};"
    return [
        Step(
            title=f"NOT NULL of {table.name}",
            how=How.SCAN,
            done="false",
            body=f"{alter} ALTER COLUMN {table.column} SET NOT NULL; {drop_check}",
        ),
        _key(table, ""),
        _validate_key(table),
        _drop_invalid_index(table),
        Step(
            title=f"index of {table.name}",
            how=How.SCAN,
            done=table.has_valid_index,
            body=f"CREATE INDEX {identifier(table.index)} ON {table.at} ({table.column});",
        ),
    ]


def lock_all(names: Names) -> Step:
    """Return the step that locks every table at once; one that does not come soon lets all others go again."""
    ours = [table.at for table in tables(names)]
    others = [channels_at(names), ledger_at(names)]
    vacuumed = ", ".join(ours + others)
    return Step(
        title="locks",
        how=How.BRIEF,
        done="false",  # within one transaction alone
        body=(
            # Autovacuum goes when somebody has waited for a second; to wait so in the next lock would stop writers.
            f"SET LOCAL lock_timeout = '5s'; LOCK TABLE {vacuumed} IN SHARE UPDATE EXCLUSIVE MODE; "
            f"SET LOCAL lock_timeout = '500ms'; LOCK TABLE {', '.join(ours)} IN ACCESS EXCLUSIVE MODE; "
            f"LOCK TABLE {', '.join(others)} IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = 0;"
        ),
    )


def reconcile(names: Names) -> list[str | Step]:
    """Return what gives rows that were booked late the channel that the ledger says now: statements, and steps.

    Of rows in the default channel only: what somebody has moved meanwhile stays there.
    """
    parts: list[str | Step] = []
    for table in (Table(names, kind) for kind in FILL_ORDER):
        found = f"shelfsight_found_of_{table.kind.value}"
        wrong = (
            f"SELECT t.id, f.channel FROM pg_temp.{found} f JOIN {table.at} t ON t.id::text = f.id "
            f"WHERE t.{table.column} = {default_channel(names)} AND t.{table.column} <> f.channel"
        )
        parts += [
            f"DROP TABLE IF EXISTS pg_temp.{found}",
            f"CREATE TEMPORARY TABLE {found} AS {table.booked()}",
            Step(
                title=f"rows of {table.name} booked meanwhile",
                how=How.BRIEF,
                done=f"NOT EXISTS ({wrong})",
                body=(
                    f"UPDATE {table.at} t SET {table.column} = w.channel FROM ({wrong} LIMIT {_AT_ONCE}) w "
                    f"WHERE t.id = w.id AND t.{table.column} = {default_channel(names)};"
                ),
            ),
        ]
    return parts


def settle(names: Names, *, fill: bool) -> list[str | Step]:
    """Return what is done at the end: new rows are looked at again, and triggers taken away that shall not go on."""
    if fill:
        return reconcile(names)
    return [*map(drop_trigger, tables(names)), drop_book(names), *reconcile(names), drop_notes(names)]


def _key(table: Table, how: str) -> Step:
    return Step(
        title=f"foreign key of {table.name}",
        how=How.BRIEF,
        done=table.has_key,
        body=(
            f"ALTER TABLE {table.at} ADD CONSTRAINT {identifier(table.key)} FOREIGN KEY ({table.column}) "
            f"REFERENCES {channels_at(table.names)} (id){how};"
        ),
        at=table.at,
    )


def _validate_key(table: Table) -> Step:
    name = f"SELECT quote_ident(conname) {table.keys.removeprefix('SELECT ')} ORDER BY conname LIMIT 1"
    return Step(
        title=f"foreign key of all rows of {table.name}",
        how=How.SCAN,
        done=table.has_valid_key,
        body=f"EXECUTE {literal(f'ALTER TABLE {table.at} VALIDATE CONSTRAINT ')} || ({name});",
    )


def _drop_invalid_index(table: Table) -> Step:
    index = f"{identifier(table.names.schema)}.{identifier(table.index)}"
    invalid = f"SELECT FROM pg_index WHERE indexrelid = to_regclass({literal(index)}) AND NOT indisvalid"
    return Step(
        title=f"broken index of {table.name}",
        how=How.BRIEF,
        done=f"NOT EXISTS ({invalid})",
        body=f"DROP INDEX {index};",
        at=table.at,
    )


def turn(names: Names) -> str:
    """Return an expression that is true for one session at a time, until that ends."""
    return f"pg_try_advisory_lock(hashtextextended({literal('shelfsight channel-id ' + names.schema)}, 0))"
