"""Takes over what has changed in Vendure: products whole, with their pictures, or not at all.

What is here already is not fetched again. A sync that is killed is gone on with by the next one, from the products
that were taken over: each has a fingerprint of what it was in Vendure then. One process at a time syncs a channel, by
a lease that is checked in the transactions that write.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shelfsight.database import clock
from shelfsight.errors import BusyError, DatabaseError
from shelfsight.leases.lease import kept
from shelfsight.training.progress import Silent
from shelfsight.vendure import product_store, store
from shelfsight.vendure.catalogue import BATCH, FIRST_BATCH, their_channel
from shelfsight.vendure.choices import take_over_choices
from shelfsight.vendure.connections import client_of
from shelfsight.vendure.pictures import Pictures
from shelfsight.vendure.rules import (
    NAMED_MOST,
    SCAN_EVERY,
    Plan,
    Sells,
    mark_of,
    plan,
    reason_of,
    retry_after,
    staying,
    sync_lease,
)
from shelfsight.vendure.take_over import TakeOver, batches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.catalog.images import Stores
    from shelfsight.leases.lease import Lease
    from shelfsight.training.progress import Progress
    from shelfsight.vendure.catalogue import TheirChannel
    from shelfsight.vendure.product_store import TakenProduct
    from shelfsight.vendure.rules import ConnectedChannel, Glance
    from shelfsight.vendure.take_over import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a sync is to do.

    Attributes:
        named: only what events have named.
        full: read everything, also what has not changed, and try pictures again that were refused.
        allow_deletions: delete also more than half of the products.
    """

    named: bool = False
    full: bool = False
    allow_deletions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What a sync did: how many products of ours it added, changed, restored and deleted.

    Attributes:
        seen: products of Vendure that were looked at.
        pictures: that were fetched.
        refused: products and pictures that cannot be taken over; they do not change by waiting.
        put_off: products whose pictures cannot be fetched now; the next sync tries again.
    """

    seen: int = 0
    added: int = 0
    changed: int = 0
    restored: int = 0
    deleted: int = 0
    pictures: int = 0
    refused: tuple[Refusal, ...] = ()
    put_off: tuple[Refusal, ...] = ()


def sync(stores: Stores, channel_id: str, order: Order, progress: Progress | None = None) -> SyncResult:
    """Let a channel's products be as Vendure has them; write how it went.

    Raises:
        NotFoundError: the channel is not connected.
        BusyError: another process syncs it.
        ConflictError: more than half of its products would be deleted.
        VendureError: Vendure refuses.
        UnavailableError: Vendure, database or storage do not answer; what is done stays.
    """
    with kept(stores.database, sync_lease(channel_id)) as lease:
        with stores.database.read() as tx:
            connected, began = store.get(tx, channel_id), clock.now(tx)
            named = store.wanted_of(tx, channel_id, NAMED_MOST + 1) if order.named else {}
        if len(named) > NAMED_MOST:
            order, named = replace(order, named=False), {}
        try:
            result = _Sync(stores, connected, lease, order).run(list(named), progress or Silent())
        except BusyError:  # another has taken over: how it goes is for that one to write
            raise
        except Exception as exc:
            _note_failed(stores, connected, exc)  # else a worker would try again every second
            raise
        with stores.database.write() as tx:
            lease.check(tx)
            now = clock.now(tx)
            if order.named:
                store.forget_wanted(tx, channel_id, named)
            else:
                store.forget_all_wanted(tx, channel_id, began)
            scan_at = None if order.named else now + SCAN_EVERY
            store.note_synced(tx, channel_id, now, began=began, scan_at=scan_at)
    return result


class _Sync:
    """One sync of one channel, while its lease is held."""

    def __init__(self, stores: Stores, connected: ConnectedChannel, lease: Lease, order: Order) -> None:
        self._stores = stores
        self._connected = connected
        self._lease = lease
        self._order = order

    def run(self, named: list[str], progress: Progress) -> SyncResult:
        server = self._connected.server
        with client_of(server) as client, closing(Pictures(server.api_url)) as pictures:
            progress.stage("Looking at Vendure")
            theirs = their_channel(client, self._connected.token, self._connected.sells)
            if not self._order.named:
                take_over_choices(client, self._connected, self._lease)
            seen, todo, glances = self._plan(theirs, named)
            take_over = TakeOver(self._stores, self._connected.channel, self._lease, pictures)
            take_over.withdraw(self._gone(take_over, theirs, todo, glances), allow_all=self._order.allow_deletions)
            if self._order.full:
                take_over.forget_refusals()
            progress.stage("Products", len(todo.changed))
            # A few first, so that pictures are on their way while the many are read.
            parts = (todo.changed[:FIRST_BATCH], *batches(todo.changed[FIRST_BATCH:], BATCH))
            read = (theirs.read(part) for part in parts if part)
            for count in take_over.products(read, theirs.conditions):
                progress.advance(count)
        return SyncResult(seen=seen, **take_over.counts, **take_over.problems)

    def _plan(self, theirs: TheirChannel, named: list[str]) -> tuple[int, Plan, dict[str, Glance]]:
        """Return how many products of Vendure were looked at, what is to be done, and glances, if any were needed."""
        with self._stores.database.read() as tx:
            known = product_store.marks(tx, self._connected.channel)
        if not known and not self._order.named:  # everything is to be read whole: a glance at it would cost as much
            ids = theirs.ids()
            return len(ids), Plan(changed=tuple(ids), withdrawn=(), missing=()), {}
        glances = self._glances(theirs, named)
        marks = {one: mark_of(glance, theirs.conditions) for one, glance in glances.items()}
        asked = frozenset(named) if self._order.named else None
        return len(glances), plan(marks, known, named=asked, full=self._order.full), glances

    def _gone(
        self, take_over: TakeOver, theirs: TheirChannel, todo: Plan, glances: Mapping[str, Glance]
    ) -> list[TakenProduct]:
        """Return our products that are not for sale there any more: whole ones, and variants of those that stay.

        What moved between two pages of a list was not listed: it is asked for by id before it counts as gone.
        """
        sells = theirs.conditions.sells
        known = [one for one in todo.changed if one in glances and sells is Sells.VARIANTS]
        looked_at = (*known, *todo.withdrawn, *todo.missing)
        gone = take_over.gone({one: staying(glances.get(one), theirs.conditions) for one in looked_at}, sells)
        if self._order.named:  # by id
            return gone
        ids = dict.fromkeys(one.vendure_id for one in gone)
        there = {one: details.glance for batch in batches(ids, BATCH) for one, details in theirs.read(batch).items()}
        return take_over.gone({one: staying(there.get(one), theirs.conditions) for one in ids}, sells)

    def _glances(self, theirs: TheirChannel, named: list[str]) -> dict[str, Glance]:
        if not self._order.named:
            return theirs.glances()
        found = (theirs.read(batch) for batch in batches(named, BATCH))
        return {one: details.glance for some in found for one, details in some.items()}


def _note_failed(stores: Stores, connected: ConnectedChannel, error: Exception) -> None:
    attempts = connected.state.attempts + 1
    with suppress(DatabaseError), stores.database.write() as tx:  # that it failed is told in any case
        retry_at = clock.now(tx) + retry_after(attempts)
        store.note_failed(tx, connected.channel, reason_of(error), attempts=attempts, retry_at=retry_at)
