"""Sales are booked: all of a batch or nothing of it, and each once however often it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shelfsight.catalog.store import changes
from shelfsight.database import clock
from shelfsight.errors import UsageError
from shelfsight.till import store
from shelfsight.till.documents import RecordedSaleDocument
from shelfsight.till.rules import BATCH_MOST, Receipt, blamed, booked_sale, check_products, unbooked
from shelfsight.webhooks import outbox
from shelfsight.webhooks.rules import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database
    from shelfsight.till.rules import NewSale, Period, Sale, Summary

_READ_AT_ONCE = 500


def book(database: Database, channel_id: str, batch: Sequence[NewSale], *, actor: str) -> list[Receipt]:
    """Book those sales of a batch that are not booked yet; return what became of each, in order.

    What is to be sent to webhooks is written in the same transaction.

    Raises:
        UsageError: there are none, too many, or one has a price without a currency.
        NotFoundError: there is no such channel.
        ProductNotFoundError: a sale that is not booked yet names what the channel does not sell.
        SaleConflictError: one has the id of a sale with other contents.
    """
    if not 1 <= len(batch) <= BATCH_MOST:
        raise UsageError(f"{len(batch)} sales in one batch: send 1 to {BATCH_MOST}")
    with database.write(actor=actor) as tx:
        changes.lock(tx, channel_id)
        before = store.booked(tx, channel_id, {sale.id for sale in batch})
        fresh = unbooked(batch, before)
        made = _book(tx, channel_id, fresh, actor=actor) if fresh else []
    recorded = {place for place, _ in fresh}
    received_at = {sale_id: one.received_at for sale_id, one in before.items()}
    received_at |= {sale.id: sale.received_at for sale in made}
    return [
        Receipt(id=sale.id, recorded=place in recorded, received_at=received_at[sale.id])
        for place, sale in enumerate(batch)
    ]


def each(database: Database, channel_id: str, period: Period) -> Iterator[Sale]:
    """Yield the sales of a period that `closed` returned, the oldest first; no transaction lasts while it waits."""
    behind = None
    while True:
        with database.read() as tx:
            found = store.page(tx, channel_id, period, behind=behind, limit=_READ_AT_ONCE, oldest_first=True)
        yield from found
        if len(found) < _READ_AT_ONCE:
            return
        behind = found[-1].position


def closed(database: Database, channel_id: str, period: Period) -> Period:
    """Return a period that ends now, or before; nothing is added to it any more.

    So two periods, one of which ends where the other begins, hold every sale once: who books has the lock of the
    channel, which is waited for here, when a sale is given its time.

    Raises:
        NotFoundError: there is no such channel.
    """
    with database.write() as tx:
        changes.lock(tx, channel_id)
        now = clock.now(tx)
    return period if period.until is not None and period.until <= now else replace(period, until=now)


def summarised(database: Database, channel_id: str, period: Period) -> Summary:
    """Return what was sold in a period that `closed` returned."""
    with database.read() as tx:
        return store.summary(tx, channel_id, period)


def _book(tx: Connection, channel_id: str, fresh: Sequence[tuple[int, NewSale]], *, actor: str) -> list[Sale]:
    """Book sales that are not booked yet, with their places in the batch, in a channel that is locked."""
    said = [sale for _, sale in fresh]
    products = store.sold_products(tx, channel_id, {line.product_id for sale in said for line in sale.lines})
    check_products(fresh, products, channel_id)
    received_at = clock.now(tx)
    first = store.last_number(tx, channel_id) + 1
    made = []
    for number, (place, sale) in enumerate(fresh, first):
        with blamed(place):
            made.append(booked_sale(sale, products, number=number, received_at=received_at))
    store.insert_sales(tx, channel_id, said, made, actor=actor)
    documents = (RecordedSaleDocument.of(sale, channel_id).as_json() for sale in made)
    outbox.emit(tx, channel_id, Event.SALE_RECORDED, documents, at=received_at)
    return made
