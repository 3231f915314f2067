"""What a plan says: locks, time, growth, and what should be looked at first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields.table import TABLE
from shelfsight.backfill.rules import expected_s, spoken

if TYPE_CHECKING:
    from shelfsight.backfill.inventory_fields.table import Layout, Measures
    from shelfsight.backfill.rules import Pace

_ROWS_PER_S = 100_000
"""About as many are done at full speed on a small machine."""
_LONG_TRANSACTION_S = 300
_GROWTH_MORE = 1.3
"""Than the rows of the first stride, measured: some of the others move as well."""
_ZERO = {"0", "'0'::bigint", "'0'::integer", "(0)::bigint"}


def locks(pace: Pace, known: Layout) -> str:
    """Return which locks it takes, and for how long."""
    rows = f"{pace.size:,} rows" if known.strides == 1 else f"{pace.size:,} rows, spread over {known.strides} pages"
    return (
        f"ROW EXCLUSIVE on {TABLE}; each transaction locks {rows}, for some milliseconds. Readers never wait; "
        "a lock that the shop holds is waited for 0.5 s at most, then tried again"
    )


def expected(found: Measures, pace: Pace) -> str:
    """Return how long it takes, sleep and work apart."""
    work_s, sleep_s = expected_s(found.rows, page_size=pace.size, sleep_s=pace.sleep_s, rows_per_s=_ROWS_PER_S)
    work = f"about {spoken(work_s)} of work, more if the search is slow"
    if not sleep_s:
        return work
    pages = -(-found.rows // pace.size)
    sleep = f"{spoken(sleep_s)} of sleep ({pages:,} pages, {pace.sleep_s:g} s after each)"
    return f"about {spoken(work_s + sleep_s)}: {sleep}, {work}"


def growth(found: Measures, known: Layout) -> str:
    """Return how much the table grows."""
    if not found.unset:
        return "none: deleted_at is set everywhere"
    share = found.unset / max(found.rows, 1)
    grows = found.table_bytes * share / known.strides * _GROWTH_MORE
    text = f"{found.table_bytes / 1e6:,.0f} MB of table to about {(found.table_bytes + grows) / 1e6:,.0f} MB"
    if known.is_indexed:
        text += f", and its indexes, {found.index_bytes / 1e6:,.0f} MB, to as much as twice that"
    return f"{text}; the shop's own writes use the space again"


def plan_warnings(found: Measures, known: Layout) -> list[str]:
    """Return what should be looked at before it is started."""
    warnings = default_warnings(known)
    if known.is_indexed:
        warnings.append("deleted_at is indexed, so every row that is set is written anew in every index")
    if found.triggers:
        warnings.append(f"these triggers run for each row that is set: {', '.join(found.triggers)}")
    if found.oldest_transaction_s > _LONG_TRANSACTION_S:
        warnings.append(
            f"a transaction has been open for {spoken(found.oldest_transaction_s)}: "
            "until it ends, no space is used again and the table grows more"
        )
    return warnings


def default_warnings(known: Layout) -> list[str]:
    """Return what to do about rows that the shop adds later."""
    if known.default in _ZERO:
        return []
    change = f"ALTER TABLE {TABLE} ALTER deleted_at SET DEFAULT 0"
    return [f"deleted_at has no default of 0, so rows that the shop adds without it are NULL again: {change}"]
