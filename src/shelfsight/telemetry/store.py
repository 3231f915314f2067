"""The SQL of events, stored as devices sent them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from shelfsight.database.batches import delete_older
from shelfsight.database.tables import events
from shelfsight.database.upsert import insert_into

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.telemetry.rules import Event


def add(tx: Connection, channel: str, reported: Sequence[Event], received_at: datetime) -> int:
    """Store events, and return how many were new: what was there already stays as it was."""
    if not reported:
        return 0
    rows = [_row(channel, event, received_at) for event in reported]
    statement = insert_into(tx, events).values(rows).on_conflict_do_nothing().returning(events.c.id)
    return len(tx.execute(statement).all())


def forget(tx: Connection, before: datetime, limit: int) -> int:
    """Delete events received before then, at most `limit`, and return how many."""
    return delete_older(tx, events.c.received_at, before, limit)


def _row(channel: str, event: Event, received_at: datetime) -> dict[str, object]:
    row = asdict(event)
    row["product_id"], row["correct_product_id"] = row.pop("product"), row.pop("correct_product")
    return {**row, "kind": event.kind.value, "channel_id": channel, "received_at": received_at}
