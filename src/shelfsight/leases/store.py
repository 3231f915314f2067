"""The SQL of leases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, literal, or_, select, update

from shelfsight.database.clock import now
from shelfsight.database.tables import leases
from shelfsight.database.upsert import insert_into

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLease:
    """Who holds a lease, or held it last."""

    holder: str
    expires_at: datetime


def find(tx: Connection, name: str) -> FoundLease | None:
    """Return who holds a lease or held it last."""
    row = tx.execute(select(leases.c.holder, leases.c.expires_at).where(leases.c.name == name)).first()
    return None if row is None else FoundLease(holder=row.holder, expires_at=row.expires_at)


def take(tx: Connection, *, name: str, holder: str, instead_of: str | None, lasts_s: float) -> int | None:
    """Take a lease that is free, has expired, or belongs to `instead_of`; return its new token, or None.

    One statement, so that of two who try at once one gets it.
    """
    moment = now(tx)
    mine = {"holder": holder, "expires_at": moment + timedelta(seconds=lasts_s)}
    free = or_(leases.c.expires_at <= moment, leases.c.holder == instead_of if instead_of else literal(value=False))
    statement = (
        insert_into(tx, leases)
        .values(name=name, token=1, **mine)
        .on_conflict_do_update(index_elements=[leases.c.name], set_={"token": leases.c.token + 1, **mine}, where=free)
        .returning(leases.c.token)
    )
    token: int | None = tx.scalar(statement)
    return token


def renew(tx: Connection, *, name: str, token: int, lasts_s: float) -> bool:
    """Make a lease last from now on; return False where another holds it."""
    later = now(tx) + timedelta(seconds=lasts_s)
    mine = and_(leases.c.name == name, leases.c.token == token)
    return tx.execute(update(leases).where(mine).values(expires_at=later)).rowcount == 1


def release(tx: Connection, *, name: str, token: int) -> None:
    """Give a lease back, if it is still held under this token; the row stays, for the tokens to count on."""
    mine = and_(leases.c.name == name, leases.c.token == token)
    tx.execute(update(leases).where(mine).values(expires_at=now(tx), holder=""))


def end(tx: Connection, *, name: str) -> None:
    """Let nobody hold a lease, and its token count on."""
    ended = {"token": leases.c.token + 1, "holder": "", "expires_at": now(tx)}
    tx.execute(update(leases).where(leases.c.name == name).values(ended))
