"""Sales of tills become orders in Vendure, where a channel says so: each once, whoever dies meanwhile.

A sale that Vendure cannot take (its product is not sold there, or not in stock) is refused with words and stays
listed, until somebody has it tried again. What only needs time, or other settings there, is tried again by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from shelfsight.database import clock
from shelfsight.errors import OrderRefusedError, PublishConflictError, UnavailableError, VendureError
from shelfsight.registry.lease import held
from shelfsight.till import store as sales
from shelfsight.vendure import order_store as store
from shelfsight.vendure import store as connections
from shelfsight.vendure.connections import client_of
from shelfsight.vendure.place_order import OrderDesk
from shelfsight.vendure.rounds import Work
from shelfsight.vendure.rules import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.database.engine import Database
    from shelfsight.registry.lease import Lease
    from shelfsight.vendure.order_rules import Variant
    from shelfsight.vendure.order_store import OrderRow

_log = structlog.get_logger()


def orders(database: Database) -> Work:
    """Return the work of placing the orders of every channel that has any."""
    return Work(name="vendure_orders", due=lambda: _due(database), do=lambda channel: place_due(database, channel))


def place_due(database: Database, channel: str) -> None:
    """Place what is due of a channel, unless another process is at it.

    Raises:
        DatabaseError: the database does not answer.
    """
    try:
        with held(database, f"orders:{channel}") as lease:
            with database.write() as tx:
                store.take_sales(tx, channel, clock.now(tx))
            while (order := _next(database, channel)) is not None:
                lease.renew()
                _attempt(database, order, lease)
    except PublishConflictError:
        return


def _due(database: Database) -> list[str]:
    with database.read() as tx:
        return store.due_channels(tx, clock.now(tx))


def _next(database: Database, channel: str) -> OrderRow | None:
    with database.read() as tx:
        return store.next_due(tx, channel, clock.now(tx))


def _attempt(database: Database, order: OrderRow, lease: Lease) -> None:
    """Try to place one order, and write what came of it."""
    try:
        _place(database, order, lease)
    except OrderRefusedError as exc:
        _log.warning("vendure_order_refused", channel=order.channel_id, sale=order.sale_id, reason=str(exc))
        with database.write() as tx:
            lease.check(tx)
            store.note_refused(tx, order, str(exc))
    except (VendureError, UnavailableError) as exc:
        _log.warning("vendure_order_waits", channel=order.channel_id, sale=order.sale_id, reason=str(exc))
        with database.write() as tx:
            lease.check(tx)
            store.note_failed(tx, order, str(exc), clock.now(tx) + retry_after(order.attempts + 1))


def _place(database: Database, order: OrderRow, lease: Lease) -> None:
    with database.read() as tx:
        sale = sales.get(tx, order.channel_id, order.sale_id)
        theirs = store.their_products(tx, order.channel_id, [line.product_id for line in sale.lines])
        connected = connections.get(tx, order.channel_id)
    with client_of(connected.server) as client:
        desk = OrderDesk(client, connected.token)
        variants = _variants(desk, theirs)
        order_id = order.order_id
        if order_id is None:
            order_id = desk.draft()
            with database.write() as tx:
                lease.check(tx)
                store.note_draft(tx, order, order_id)
        placed = desk.place(sale, variants, order_id)
        if placed.note is not None:
            desk.note(order_id, placed.note)
    with database.write() as tx:
        lease.check(tx)
        store.note_placed(tx, order, placed.code, placed.note)


def _variants(desk: OrderDesk, theirs: Mapping[str, tuple[str, str | None]]) -> dict[str, list[Variant]]:
    """Return what each product of a sale can be in Vendure, by our own id."""
    there = desk.variants(sorted({product for product, _ in theirs.values()}))
    return {
        ours: [one for one in there.get(product, []) if variant is None or one.id == variant]
        for ours, (product, variant) in theirs.items()
    }
