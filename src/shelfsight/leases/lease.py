"""One holder at a time, from however many machines: leases in the database, with a fencing token.

After M. Kleppmann, "How to do distributed locking" (2016): a lease expires, so that the death of its holder stops
nobody for long; and its token is checked in the transaction that counts, so that a holder who was only asleep and
wakes too late is refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shelfsight.beside import beside
from shelfsight.database import clock
from shelfsight.errors import BusyError, DatabaseError
from shelfsight.leases import store
from shelfsight.leases.holder import is_dead, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database
    from shelfsight.leases.rules import Exclusive

LASTS_S = 60
"""How long a lease lasts when it is not renewed; each step of a publish renews it."""

_KEPT_EVERY_S = LASTS_S / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that was won; `token` is higher than that of every earlier holder."""

    database: Database
    work: Exclusive
    token: int
    holder: str

    def renew(self) -> None:
        """Hold it for another while.

        Raises:
            BusyError: another has taken it over.
        """
        with self.database.write() as tx:
            self.check(tx)

    def check(self, tx: Connection) -> None:
        """Renew it inside a transaction: whoever would take it over waits for the end of it.

        Raises:
            BusyError: another has taken it over.
        """
        if not store.renew(tx, name=self.work.name, token=self.token, lasts_s=LASTS_S):
            raise BusyError(
                f"another has taken over {self.work.what} while this one was stopped; nothing of this one counts"
            )


@contextmanager
def held(database: Database, work: Exclusive) -> Iterator[Lease]:
    """Yield the lease on some work, given back at the end.

    Raises:
        BusyError: somebody else holds it.
    """
    lease = _acquire(database, work)
    try:
        yield lease
    finally:
        _give_back(lease)


@contextmanager
def kept(database: Database, work: Exclusive, *, every_s: float = _KEPT_EVERY_S) -> Iterator[Lease]:
    """Yield the lease on some work, renewed in the background while the block waits for somebody slow.

    What is written still checks it: a process that was stopped does not renew.

    Raises:
        BusyError: somebody else holds it.
    """
    with held(database, work) as lease, beside(partial(_keep, lease, every_s), name=f"keep {work.name}"):
        yield lease


def is_held(database: Database, work: Exclusive) -> bool:
    """Return whether somebody holds a lease now who is not known to be dead."""
    with database.read() as tx:
        found = store.find(tx, work.name)
        return found is not None and found.expires_at > clock.now(tx) and not is_dead(found.holder)


def end(tx: Connection, work: Exclusive) -> None:
    """Take a lease from whoever holds it: nothing that holder writes counts any more."""
    store.end(tx, name=work.name)


def _acquire(database: Database, work: Exclusive) -> Lease:
    holder = this_process()
    with database.write() as tx:
        found = store.find(tx, work.name)
        gone = found.holder if found is not None and is_dead(found.holder) else None
        token = store.take(tx, name=work.name, holder=holder, instead_of=gone, lasts_s=LASTS_S)
        if token is None:
            raise BusyError(_busy(work, found))
    return Lease(database=database, work=work, token=token, holder=holder)


def _keep(lease: Lease, every_s: float, is_over: Event) -> None:
    while not is_over.wait(every_s):
        try:
            lease.renew()
        except BusyError:
            return
        except DatabaseError:
            continue  # whoever writes will see


def _give_back(lease: Lease) -> None:
    try:
        with lease.database.write() as tx:
            store.release(tx, name=lease.work.name, token=lease.token)
    except DatabaseError:
        return  # it expires by itself


def _busy(work: Exclusive, found: store.FoundLease | None) -> str:
    where = f" on {found.holder.partition('/')[0]}" if found else ""
    return f"{work.what} is running{where}: try again when it has ended, or {LASTS_S} seconds after it was killed"
