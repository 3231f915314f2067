"""How far the shop's database is, in words: for each table what is there, and what is missing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.channel_id.rules import LOCK_ORDER
from shelfsight.backfill.rules import titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.channel_id.rules import Names
    from shelfsight.backfill.work import Findings

NOT_NULL, KEY, INDEX = "NOT NULL", "valid foreign key", "valid index"
"""What a table must have beside a channel in every row."""

_PARTS = (NOT_NULL, KEY, INDEX)


def rows_of(table: str) -> str:
    """Return the name under which all rows of a table are counted."""
    return f"rows of {table}"


def empty_rows_of(table: str) -> str:
    """Return the name under which its rows without a channel are counted."""
    return f"{rows_of(table)} without a channel"


def lack_of(part: str, table: str) -> str:
    """Return the name under which is counted that a table lacks a part: 1, or 0."""
    return f"{part} of {table}"


def standing(findings: Findings, names: Names) -> list[tuple[str, str]]:
    """Return what is there and what is missing, what else was counted, and at the end whether it is complete."""
    tables = [names.table(kind) for kind in LOCK_ORDER]
    facts = []
    for table in tables:
        total, empty = findings.counts[rows_of(table)], findings.open[empty_rows_of(table)]
        facts.append((titled(rows_of(table)), f"{total:,}{_with_channel(total, empty)}"))
        facts += [
            (titled(f"{part} on {table}"), "missing" if findings.open[lack_of(part, table)] else "there")
            for part in _PARTS
        ]
    seen = {rows_of(table) for table in tables}
    facts += [(titled(name), f"{count:,}") for name, count in findings.counts.items() if name not in seen]
    return [*facts, ("State", _conclusion([one for table in tables for one in _missing(findings, table)]))]


def _missing(findings: Findings, table: str) -> list[str]:
    """Return what a table lacks, such as `NOT NULL on stock_purchase`."""
    empty = findings.open[empty_rows_of(table)]
    found = [f"the channel of {empty:,} {'row' if empty == 1 else 'rows'} of {table}"] if empty else []
    return found + [f"{part} on {table}" for part in _PARTS if findings.open[lack_of(part, table)]]


def _conclusion(lacks: Sequence[str]) -> str:
    if not lacks:
        return "Complete"
    are = "thing is" if len(lacks) == 1 else "things are"
    return f"Incomplete: {len(lacks)} {are} missing: {', '.join(lacks)}"


def _with_channel(total: int, empty: int) -> str:
    if not empty:
        return ", each with a channel" if total else ""
    return ", none with a channel" if empty == total else f", {empty:,} of them without a channel"
