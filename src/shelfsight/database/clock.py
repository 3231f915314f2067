"""What time it is for everybody who writes to one database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

if TYPE_CHECKING:
    from sqlalchemy import Connection


def now(tx: Connection) -> datetime:
    """Return the database's time: that of one machine, however many ask."""
    if tx.dialect.name != "postgresql":
        return datetime.now(UTC)
    moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)
