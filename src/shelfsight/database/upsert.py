"""Rows that may be there already, in the words of either database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Table


def insert_into(tx: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can say what to do with rows that are there."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(
    tx: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Collection[str],
    stays: Collection[str] = (),
) -> None:
    """Insert rows, or replace those that are there with the same `keys`; their columns that `stays` names stay."""
    if not rows:
        return
    new = insert_into(tx, table)
    replaced = {name: new.excluded[name] for name in rows[0] if name not in {*keys, *stays}}
    tx.execute(new.on_conflict_do_update(index_elements=list(keys), set_=replaced), list(rows))
