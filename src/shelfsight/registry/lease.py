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
from shelfsight.errors import DatabaseError, PublishConflictError
from shelfsight.registry import store
from shelfsight.registry.holder import is_dead, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database

LASTS_S = 60
"""How long a lease lasts when it is not renewed; each step of a publish renews it."""

_KEPT_EVERY_S = LASTS_S / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that was won; `token` is higher than that of every earlier holder."""

    database: Database
    name: str
    token: int
    holder: str

    def renew(self) -> None:
        """Hold it for another while.

        Raises:
            PublishConflictError: another has taken it over.
        """
        with self.database.write() as tx:
            self.check(tx)

    def check(self, tx: Connection) -> None:
        """Renew it inside a transaction: whoever would take it over waits for the end of it.

        Raises:
            PublishConflictError: another has taken it over.
        """
        if not store.renew_lease(tx, name=self.name, token=self.token, lasts_s=LASTS_S):
            raise PublishConflictError(
                f"another has taken over {_what(self.name)} while this one was stopped; nothing of this one counts"
            )


@contextmanager
def held(database: Database, name: str) -> Iterator[Lease]:
    """Yield the lease `name`, given back at the end.

    Raises:
        PublishConflictError: somebody else holds it.
    """
    lease = _acquire(database, name)
    try:
        yield lease
    finally:
        _give_back(lease)


@contextmanager
def kept(database: Database, name: str, *, every_s: float = _KEPT_EVERY_S) -> Iterator[Lease]:
    """Yield the lease `name`, renewed in the background while the block waits for somebody slow.

    What is written still checks it: a process that was stopped does not renew.

    Raises:
        PublishConflictError: somebody else holds it.
    """
    with held(database, name) as lease, beside(partial(_keep, lease, every_s), name=f"keep {name}"):
        yield lease


def is_held(database: Database, name: str) -> bool:
    """Return whether somebody holds a lease now who is not known to be dead."""
    with database.read() as tx:
        found = store.lease(tx, name)
        return found is not None and found.expires_at > clock.now(tx) and not is_dead(found.holder)


def end(tx: Connection, name: str) -> None:
    """Take a lease from whoever holds it: nothing that holder writes counts any more."""
    store.end_lease(tx, name=name)


def publish_lease(channel: str) -> str:
    """Return the name of the lease of whoever changes a channel's versions."""
    return f"publish:{channel}"


SWEEP = "sweep:blobs"
"""The lease of whoever removes blobs that nobody uses."""

PRODUCT_INDEX = "index:products"
"""The lease of whoever writes products into Typesense."""


def _acquire(database: Database, name: str) -> Lease:
    holder = this_process()
    with database.write() as tx:
        found = store.lease(tx, name)
        gone = found.holder if found is not None and is_dead(found.holder) else None
        token = store.take_lease(tx, name=name, holder=holder, instead_of=gone, lasts_s=LASTS_S)
        if token is None:
            raise PublishConflictError(_busy(name, found))
    return Lease(database=database, name=name, token=token, holder=holder)


def _keep(lease: Lease, every_s: float, is_over: Event) -> None:
    while not is_over.wait(every_s):
        try:
            lease.renew()
        except PublishConflictError:
            return
        except DatabaseError:
            continue  # whoever writes will see


def _give_back(lease: Lease) -> None:
    try:
        with lease.database.write() as tx:
            store.release_lease(tx, name=lease.name, token=lease.token)
    except DatabaseError:
        return  # it expires by itself


def _busy(name: str, found: store.FoundLease | None) -> str:
    where = f" on {found.holder.partition('/')[0]}" if found else ""
    return f"{_what(name)} is running{where}: try again when it has ended, or {LASTS_S} seconds after it was killed"


def _what(name: str) -> str:
    match name.partition(":"):
        case ("publish", _, channel):
            return f"a publish or clean-up of {channel}"
        case ("vendure", _, channel):
            return f"a sync of {channel} with Vendure"
        case ("vendure-mirror", _, channel):
            return f"the telling of Vendure how {channel} is"
        case ("vendure-orders", _, channel):
            return f"the placing of the orders of {channel} in Vendure"
        case ("index", _, _):
            return "the writing of products into Typesense"
        case _:
            return "a clean-up of shared files"
