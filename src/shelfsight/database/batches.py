"""Delete many rows without keeping others from writing: a few in each transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete, select, tuple_

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Column, Connection

    from shelfsight.database.engine import Database

AT_ONCE = 5000
_BREATH_S = 0.1
"""Between two transactions: who waits for the lock of SQLite asks for it ten times a second."""


class DeleteSome(Protocol):
    """Deletes a few of many rows."""

    def __call__(self, tx: Connection, limit: int, /) -> int:
        """Delete at most so many; return how many."""


def delete_older(tx: Connection, age: Column[datetime], before: datetime, limit: int) -> int:
    """Delete the oldest of the rows whose `age` is before then, at most `limit`; return how many.

    Args:
        age: a column of their table, with an index.
    """
    key = age.table.primary_key.columns
    oldest = select(*key).where(age < before).order_by(age).limit(limit)
    return tx.execute(delete(age.table).where(tuple_(*key).in_(oldest))).rowcount


def in_batches(database: Database, delete_some: DeleteSome) -> Iterator[int]:
    """Delete as long as there is something to delete; yield after each short transaction how many rows that were.

    Raises:
        DatabaseError: the database does not answer.
    """
    while True:
        with database.write() as tx:
            count = delete_some(tx, AT_ONCE)
        yield count
        if count < AT_ONCE:
            return
        time.sleep(_BREATH_S)
