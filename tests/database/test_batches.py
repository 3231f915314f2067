"""Many rows are deleted a few at a time, and others write in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from shelfsight.database import batches
from shelfsight.database.batches import delete_older, in_batches
from shelfsight.database.tables import channels, events

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.database.engine import Database

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with seven events of seven days, the oldest last, and some of them of one moment."""
    with database.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
        for number, days in enumerate((0, 1, 2, 2, 2, 5, 6)):
            add(tx, f"event-{number}", NOW - timedelta(days=days))
    return database


def add(tx: Connection, name: str, at: datetime) -> None:
    """Add an event."""
    row = {"channel_id": "T_1", "id": name, "kind": "prediction", "at": at, "received_at": at}
    tx.execute(insert(events).values(**row))


def ids(database: Database) -> list[str]:
    """Return the ids of the events that are there."""
    with database.read() as tx:
        return sorted(tx.scalars(select(events.c.id)))


def test_the_oldest_go_first_and_never_more_than_asked_for(filled: Database) -> None:
    before = NOW - timedelta(days=1)
    with filled.write() as tx:
        assert delete_older(tx, events.c.received_at, before, 2) == 2
    assert ids(filled) == [f"event-{number}" for number in range(5)]
    with filled.write() as tx:
        assert delete_older(tx, events.c.received_at, before, 2) == 2  # of three of one moment
        assert delete_older(tx, events.c.received_at, before, 2) == 1
        assert delete_older(tx, events.c.received_at, before, 2) == 0
    assert ids(filled) == ["event-0", "event-1"]


def test_others_write_between_two_transactions(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    before = NOW - timedelta(days=1)
    counts = []
    for count in in_batches(filled, lambda tx, limit: delete_older(tx, events.c.received_at, before, limit)):
        counts.append(count)
        with filled.write() as tx:  # while the lock of SQLite was held, this would wait, and fail
            add(tx, f"new-{len(counts)}", NOW)
    assert counts == [2, 2, 1]
    assert ids(filled) == ["event-0", "event-1", "new-1", "new-2", "new-3"]
