"""The migration as a script for psql, which can be piped to a server in a container. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.channel_id.rules import FILL_ORDER, Mode, Names, dollar, literal
from shelfsight.backfill.channel_id.statements import (
    BRIEF_MS,
    LOCKS_AGAIN_S,
    How,
    Step,
    add_column,
    add_triggers,
    constrain_at_once,
    constrain_online,
    drop_book,
    drop_column,
    drop_notes,
    lock_all,
    settle,
    turn,
)
from shelfsight.backfill.channel_id.table import Table, default_channel, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 1000
"""Rows of a page online."""

ATTEMPTS = 1200
LOCK_ATTEMPTS = 80
_WAIT_S = 0.5
_HEAD = (
    r"\set ON_ERROR_STOP on",
    r"\set QUIET on",
    r"\set AUTOCOMMIT on",  # whatever somebody's .psqlrc says
    r"\encoding UTF8",
    "SET standard_conforming_strings = on;",
    "SET client_min_messages = warning;",
    "SET statement_timeout = 0;",
    # Only newer servers know this one.
    "DO $$BEGIN PERFORM set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'; END$$;",
    "SET plan_cache_mode = force_custom_plan;",
)


def script(names: Names, mode: Mode, *, fill: bool) -> str:
    """Return the script that does everything.

    Args:
        fill: let triggers give new rows of code that does not know the column a channel, until told otherwise.
    """
    made = _at_once(names, fill=fill) if mode is Mode.TRANSACTIONAL else _online(names, fill=fill)
    done = "SELECT 'channel-id: every table is complete' WHERE " + " AND ".join(
        table.is_complete for table in tables(names)
    )
    return _text(names, f"channel-id, {mode}", [*made, f"{done};"])


def undo_script(names: Names) -> str:
    """Return the script that takes the columns away again, where they are ours, and everything else of ours."""
    refused = do(
        " ".join(
            f"IF {table.has_column} AND NOT {table.is_ours} THEN "
            f"RAISE EXCEPTION USING MESSAGE = {literal(not_ours(table))}; END IF;"
            for table in tables(names)
        )
    )
    steps = [drop_book(names), *map(drop_column, tables(names)), drop_notes(names)]
    return _text(names, "channel-id, undo", [refused, *map(_retried, steps)])


def no_default(names: Names) -> str:
    """Return what is said where the default channel is not there."""
    return f"no channel has the code {names.default_channel!r}: name one with --default-channel"


def not_ours(table: Table) -> str:
    """Return what is said where a column was there before."""
    return f"{table.names.column} of {table.name} was not added by this migration: nothing is taken away"


def _text(names: Names, title: str, statements: Sequence[str]) -> str:
    said = literal("another run of channel-id is at work: wait until it has ended")
    # The server lets go of the turn of a session that has ended a moment later.
    ours = do(
        f"FOR attempt IN 1..5 LOOP IF {turn(names)} THEN RETURN; END IF; PERFORM pg_sleep(0.4); END LOOP; "
        f"RAISE EXCEPTION USING MESSAGE = {said};"
    )
    steps = [f"\\echo {number} of {len(statements)}\n{each}" for number, each in enumerate(statements, 1)]
    return "\n".join((f"-- shelfsight backfill: {title}", *_HEAD, ours, *steps, ""))


def _at_once(names: Names, *, fill: bool) -> list[str]:
    steps = [*map(add_column, tables(names)), *(add_triggers(names) if fill else ())]
    ends = [step for table in tables(names) for step in constrain_at_once(table)]
    filled: list[str] = []
    for table in (Table(names, kind) for kind in FILL_ORDER):
        filled += [*table.fill_map(), table.update()]
    return [
        "BEGIN;",
        _locked(lock_all(names)),
        _check(names),
        *map(_once, steps),
        *(f"{statement};" for statement in filled),
        *map(_once, ends),
        "COMMIT;",
    ]


def _online(names: Names, *, fill: bool) -> list[str]:
    first = [*map(add_column, tables(names)), *add_triggers(names)]
    made = [_check(names), *map(_retried, first)]
    for table in (Table(names, kind) for kind in FILL_ORDER):
        made += _filled(table)
    for table in tables(names):
        check, *steps = constrain_online(table)
        made += [_retried(check), *_filled(table)]  # again: what was being written while the others were done
        made += [_index(step) if step.how is How.INDEX else _retried(step) for step in steps]
    made += [f"{part};" if isinstance(part, str) else _retried(part) for part in settle(names, fill=fill)]
    return made


def _filled(table: Table) -> list[str]:
    return [*(f"{statement};" for statement in table.fill_map()), pages(table)]


def _check(names: Names) -> str:
    said = literal(no_default(names))
    return do(f"IF {default_channel(names)} IS NULL THEN RAISE EXCEPTION USING MESSAGE = {said}; END IF;")


def _once(step: Step) -> str:
    return do(f"IF NOT ({step.done}) THEN {step.body} END IF;")


def _retried(step: Step) -> str:
    """Return a step that is given up when its lock does not come at once, and taken until it is done."""
    timeout = f"{BRIEF_MS}ms" if step.how is How.BRIEF else "5s"
    return do(
        f"FOR attempt IN 1..{ATTEMPTS} LOOP IF {step.done} THEN RETURN; END IF; "
        f"BEGIN SET LOCAL lock_timeout = '{timeout}'; {step.code} "
        "EXCEPTION WHEN lock_not_available OR deadlock_detected THEN "
        f"PERFORM pg_sleep({_WAIT_S} * random()); END; COMMIT; END LOOP; {_no_lock(step)}"
    )


def _locked(step: Step) -> str:
    """Return a step that takes locks for the rest of a transaction, all of them or none for now."""
    return do(
        f"FOR attempt IN 1..{LOCK_ATTEMPTS} LOOP BEGIN {step.body} RETURN; "
        "EXCEPTION WHEN lock_not_available OR deadlock_detected THEN NULL; END; "
        # Everybody waits behind each attempt: while somebody reads for hours, there are few.
        f"PERFORM pg_sleep(least(attempt, {LOCKS_AGAIN_S:g}) * (0.5 + random() / 2)); "
        f"END LOOP; {_no_lock(step, LOCK_ATTEMPTS)}"
    )


def _no_lock(step: Step, attempts: int = ATTEMPTS) -> str:
    said = f"no lock for the {step.title} in {attempts} attempts: end long transactions, and start again"
    return f"RAISE EXCEPTION USING MESSAGE = {literal(said)};"


def pages(table: Table) -> str:
    """Return the block that gives all rows without a channel one, page by page."""
    low, high = "shelfsight_low", "shelfsight_high"
    page = table.update(f"t.id >= {low} AND t.id < {high}")
    rest = table.update(f"t.id >= {low}")
    return do(
        f"SELECT t.id INTO {low} FROM {table.at} t WHERE t.{table.column} IS NULL ORDER BY t.id LIMIT 1; "
        f"WHILE {low} IS NOT NULL LOOP "
        f"SELECT t.id INTO {high} FROM {table.at} t WHERE t.id >= {low} ORDER BY t.id OFFSET {PAGE} LIMIT 1; "
        f"LOOP BEGIN SET LOCAL lock_timeout = '{BRIEF_MS}ms'; "
        f"IF {high} IS NULL THEN {rest}; ELSE {page}; END IF; EXIT; "
        "EXCEPTION WHEN lock_not_available OR deadlock_detected THEN NULL; END; COMMIT; PERFORM pg_sleep(0.05); "
        f"END LOOP; COMMIT; {low} := {high}; END LOOP;",
        declare=f"{low} {table.at}.id%TYPE; {high} {table.at}.id%TYPE;",
    )


def _index(step: Step) -> str:
    return f"SET lock_timeout = 0;\nSELECT {dollar(step.body)} WHERE NOT ({step.done}) \\gexec"


def do(body: str, *, declare: str = "") -> str:
    """Return PL/pgSQL as a statement."""
    declared = f"DECLARE {declare} " if declare else ""
    return f"DO {dollar(declared + f'BEGIN {body} END')};"
