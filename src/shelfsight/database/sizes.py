"""How much there is in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, inspect, select

from shelfsight.database.tables import SCHEMA, acting, metadata, public

if TYPE_CHECKING:
    from sqlalchemy import Connection


def row_counts(tx: Connection) -> dict[str, int]:
    """Return the number of rows of each table that is there, by its name."""
    schema = SCHEMA if tx.dialect.name == "postgresql" else None
    known = inspect(tx)
    there = [table for table in public.sorted_tables if known.has_table(table.name)]
    there += [table for table in metadata.sorted_tables if known.has_table(table.name, schema=schema)]
    return {
        table.name: tx.scalar(select(func.count()).select_from(table)) or 0 for table in there if table is not acting
    }
