"""What nobody needs any more goes at night: all of it, a little at a time, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select

from shelfsight.database import batches, tables
from shelfsight.jobs.housekeeping import forget
from shelfsight.jobs.job import Abandoned, Job, Standing
from shelfsight.worker import old_at
from tests.jobs.test_job import RECORD, Run

if TYPE_CHECKING:
    from sqlalchemy import Table

    from shelfsight.database.engine import Database

NOW = datetime.now(UTC)
COUNT = 5


@pytest.fixture
def full(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with events, deliveries and messages, five old ones of each and one of now."""
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    webhook = {"id": "w", "channel_id": "T_1", "url": "http://a/", "events": [], "secret": "s", "created_by": "anna"}
    server = {"id": "v", "api_url": "http://v/", "api_key": "k", "secret": "s", "user_id": "1", "created_by": "anna"}
    with database.write() as tx:
        tx.execute(insert(tables.channels).values(id="T_1", token="ck_1"))
        tx.execute(insert(tables.webhooks).values(**webhook, created_at=NOW))
        tx.execute(insert(tables.vendure_servers).values(**server, created_at=NOW))
        for number, at in enumerate([*[NOW - timedelta(days=31)] * COUNT, NOW]):
            event = {"channel_id": "T_1", "id": f"event-{number}", "kind": "prediction", "at": at}
            tx.execute(insert(tables.events).values(**event, received_at=at))
            tx.execute(insert(tables.webhook_deliveries).values(delivery(number, at)))
            message = {"server_id": "v", "id": f"msg_{number}", "received_at": at}
            tx.execute(insert(tables.vendure_messages).values(**message))
    return database


def delivery(number: int, at: datetime) -> dict[str, Any]:
    """Return a delivery that ended then."""
    same = {"channel_id": "T_1", "webhook_id": "w", "event": "sale.recorded", "body": "{}", "state": "delivered"}
    times = {"created_at": at, "attempted_at": at, "ended_at": at, "attempts": 1, "attempts_before": 0}
    return {**same, **times, "message_id": f"msg_{number}"}


def left(database: Database, table: Table) -> int:
    """Return how many rows a table has."""
    with database.read() as tx:
        return tx.scalar(select(func.count()).select_from(table)) or 0


def test_all_that_is_old_goes_and_what_is_young_stays(full: Database) -> None:
    run = Run()
    forget(full, Job(RECORD, run), old_at(NOW))
    assert run.names == ["forget-deliveries", "forget-events", "forget-messages"]
    assert [left(full, tables.webhook_deliveries), left(full, tables.events)] == [1, 1]
    assert left(full, tables.vendure_messages) == 1


def test_a_worker_that_stops_leaves_the_rest_to_another(full: Database) -> None:
    run = Run()

    def stopped(tx: Any, limit: int) -> int:
        run.now = Standing.LOST
        return old_at(NOW)["events"](tx, limit)

    with pytest.raises(Abandoned):
        forget(full, Job(RECORD, run), {"events": stopped})
    assert left(full, tables.events) == COUNT + 1 - batches.AT_ONCE
