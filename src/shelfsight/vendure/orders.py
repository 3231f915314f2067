"""Sales of tills become orders in Vendure, where a channel says so: each once, whoever dies meanwhile.

A sale that Vendure cannot take (its product is not sold there, or not in stock) is refused with words and stays
listed, until somebody has it tried again. What only needs time, or other settings there, is tried again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from shelfsight.database import clock
from shelfsight.errors import BusyError, OrderRefusedError, ShelfsightError, UnavailableError
from shelfsight.leases.lease import kept
from shelfsight.till import store as sales
from shelfsight.training.progress import Silent
from shelfsight.vendure import order_store as store
from shelfsight.vendure import store as connections
from shelfsight.vendure.connections import client_of
from shelfsight.vendure.place_order import OrderDesk
from shelfsight.vendure.rounds import Work
from shelfsight.vendure.rules import orders_lease, reason_of, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.database.engine import Database
    from shelfsight.leases.lease import Lease
    from shelfsight.training.progress import Progress
    from shelfsight.vendure.order_rules import Variant
    from shelfsight.vendure.order_store import OrderRow

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a sale is no order yet, or becomes none."""

    sale_id: str
    reason: str
    is_refused: bool


def orders(database: Database) -> Work:
    """Return the work of placing the orders of every channel that has any."""
    return Work(
        name="vendure_orders",
        database=database,
        find=store.due_channels,
        do=lambda channel: _tell(channel, place_due(database, channel)),
    )


def place_due(database: Database, channel: str, progress: Progress | None = None) -> list[Problem]:
    """Place what is due of a channel, unless another process is at it; return what could not be placed.

    Raises:
        NotFoundError: the channel is not connected.
        DatabaseError: the database does not answer.
    """
    with database.read() as tx:
        connected = connections.get(tx, channel)
    told = progress or Silent()
    problems: list[Problem] = []
    try:
        with kept(database, orders_lease(channel)) as lease, client_of(connected.server) as client:
            with database.write() as tx:
                now = clock.now(tx)
                store.take_sales(tx, channel, now)
                waiting = store.count_due(tx, channel, now)
            told.stage("Placing orders", waiting)
            desk = OrderDesk(client, connected.token, user_id=connected.server.user_id)
            while (order := _next(database, channel)) is not None:
                problem = _attempt(desk, order, lease)
                problems += [problem] if problem else []
                told.advance()
    except BusyError:
        pass  # the other one goes on
    return problems


def _tell(channel: str, problems: Sequence[Problem]) -> None:
    for one in problems:
        event = "vendure_order_refused" if one.is_refused else "vendure_order_waits"
        _log.warning(event, channel=channel, sale=one.sale_id, reason=one.reason)


def _next(database: Database, channel: str) -> OrderRow | None:
    with database.read() as tx:
        return store.next_due(tx, channel, clock.now(tx))


def _attempt(desk: OrderDesk, order: OrderRow, lease: Lease) -> Problem | None:
    """Try to place one order, write what came of it, and return why it could not be placed."""
    try:
        _place(desk, order, lease)
    except OrderRefusedError as exc:
        with lease.database.write() as tx:
            lease.check(tx)
            store.note_refused(tx, order, str(exc))
        return Problem(sale_id=order.sale_id, reason=str(exc), is_refused=True)
    except BusyError:
        raise
    except Exception as exc:  # noqa: BLE001 (else it would be tried again every second, and none after it)
        reason = reason_of(exc)
        with lease.database.write() as tx:
            lease.check(tx)
            now = clock.now(tx)
            store.note_failed(tx, order, reason, now + retry_after(order.attempts + 1))
            if isinstance(exc, UnavailableError):
                store.postpone(tx, order, now)  # else each of them would find out by itself
        if not isinstance(exc, ShelfsightError):
            _log.error("vendure_order_waits", channel=order.channel_id, sale=order.sale_id, exc_info=exc)
        return Problem(sale_id=order.sale_id, reason=reason, is_refused=False)
    return None


def _place(desk: OrderDesk, order: OrderRow, lease: Lease) -> None:
    with lease.database.read() as tx:
        sale = sales.get(tx, order.channel_id, order.sale_id)
        theirs = store.their_products(tx, order.channel_id, [line.product_id for line in sale.lines])
    variants = _variants(desk, theirs)
    order_id = order.order_id or _draft(desk, order, lease)
    placed = desk.place(sale, variants, order_id)
    if placed.note is not None:
        desk.note(order_id, placed.note)
    with lease.database.write() as tx:
        lease.check(tx)
        store.note_placed(tx, order, placed.code, placed.note)


def _draft(desk: OrderDesk, order: OrderRow, lease: Lease) -> str:
    """Return the id of an order's draft: a new one, or that of an attempt which ended before it was written down."""
    lost: list[str] = []
    if order.order_id is None:
        _note_draft(order, store.DRAFTING, lease)
    else:
        found = desk.empty_drafts()
        with lease.database.read() as tx:
            known = store.known(tx, order.channel_id, found)
        lost = [one for one in found if one not in known]
    order_id = lost[0] if lost else desk.draft()
    _note_draft(order, order_id, lease)
    return order_id


def _note_draft(order: OrderRow, order_id: str, lease: Lease) -> None:
    with lease.database.write() as tx:
        lease.check(tx)
        store.note_draft(tx, order, order_id)


def _variants(desk: OrderDesk, theirs: Mapping[str, tuple[str, str | None]]) -> dict[str, list[Variant]]:
    """Return what each product of a sale can be in Vendure, by our own id."""
    there = desk.variants(sorted({product for product, _ in theirs.values()}))
    return {
        ours: [one for one in there.get(product, []) if variant is None or one.id == variant]
        for ours, (product, variant) in theirs.items()
    }
