"""The table of workers: who is at work, who was declared dead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, or_, select, update

from shelfsight.database import clock
from shelfsight.database.tables import workers

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that runs jobs.

    Attributes:
        concurrency: how many jobs of a kind it runs at once.
        stopped_at: when it ended, or was declared dead.
    """

    id: str
    host: str
    pid: int
    concurrency: int
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None


def register(tx: Connection, *, id: str, host: str, pid: int, concurrency: int) -> None:  # noqa: A002 (the column's)
    """Add a worker that begins now."""
    now = clock.now(tx)
    tx.execute(
        insert(workers).values(id=id, host=host, pid=pid, concurrency=concurrency, started_at=now, seen_at=now)
    )


def beat(tx: Connection, worker: str) -> bool:
    """Note that a worker is there; return False where it was declared dead meanwhile."""
    mine = and_(workers.c.id == worker, workers.c.stopped_at.is_(None))
    return tx.execute(update(workers).where(mine).values(seen_at=clock.now(tx))).rowcount == 1


def stop(tx: Connection, worker: str) -> None:
    """Note that a worker has ended."""
    mine = and_(workers.c.id == worker, workers.c.stopped_at.is_(None))
    tx.execute(update(workers).where(mine).values(stopped_at=clock.now(tx)))


def declare_dead(tx: Connection, *, silent_s: float) -> list[str]:
    """Note that every worker that was silent for so long is dead; return who that is."""
    now = clock.now(tx)
    silent = and_(workers.c.stopped_at.is_(None), workers.c.seen_at < now - timedelta(seconds=silent_s))
    dead = update(workers).where(silent).values(stopped_at=now).returning(workers.c.id)
    return list(tx.execute(dead).scalars())


def alive(tx: Connection) -> set[str]:
    """Return the ids of those who neither ended nor were declared dead."""
    return set(tx.execute(select(workers.c.id).where(workers.c.stopped_at.is_(None))).scalars())


def all_workers(tx: Connection) -> list[Worker]:
    """Return the workers that are known, the newest first."""
    rows = tx.execute(select(workers).order_by(workers.c.started_at.desc())).mappings()
    return [Worker(**row) for row in rows]


def forget(tx: Connection, *, before: datetime) -> int:
    """Remove workers that ended before, or were last seen before; return how many."""
    old = or_(workers.c.stopped_at < before, workers.c.seen_at < before)
    return tx.execute(delete(workers).where(old)).rowcount
