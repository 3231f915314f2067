"""Sales on their way to Vendure, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, insert, or_, select, update

from shelfsight.database.tables import sales, vendure_channels, vendure_orders, vendure_products
from shelfsight.errors import NotFoundError
from shelfsight.vendure.order_rules import OrderState

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, Row, Update

DRAFTING = ""
"""Id of an order whose draft is being made: whoever is killed then leaves one that nobody knows."""

_TAKEN_AT_ONCE = 500
_ERROR_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """A sale on its way.

    Attributes:
        order_id: there, from the moment that its draft is made; `DRAFTING` while it is, None before.
        note: what somebody ought to know of an order that is placed.
        error: why the last attempt failed, or why it was refused.
        next_at: of the next attempt, while it is pending.
    """

    channel_id: str
    sale_id: str
    state: OrderState
    order_id: str | None
    order_code: str | None
    note: str | None
    error: str | None
    attempts: int
    next_at: datetime | None


def due_channels(tx: Connection, now: datetime) -> list[str]:
    """Return the channels that have sales to be taken, or orders to be tried."""
    unseen = exists().where(
        sales.c.channel_id == vendure_channels.c.channel_id, sales.c.number > vendure_channels.c.sales_taken
    )
    waiting = exists().where(
        vendure_orders.c.channel_id == vendure_channels.c.channel_id,
        vendure_orders.c.state == OrderState.PENDING.value,
        vendure_orders.c.next_at <= now,
    )
    found = select(vendure_channels.c.channel_id).where(vendure_channels.c.records_orders, or_(unseen, waiting))
    return list(tx.scalars(found.order_by(vendure_channels.c.channel_id)))


def begin(tx: Connection, channel_id: str) -> None:
    """Let the sales of a channel that come from now on become orders, if it has not begun with that."""
    last = select(func.coalesce(func.max(sales.c.number), 0)).where(sales.c.channel_id == channel_id)
    mine = (vendure_channels.c.channel_id == channel_id, vendure_channels.c.records_orders)
    waiting = vendure_channels.c.sales_taken.is_(None)
    tx.execute(update(vendure_channels).where(*mine, waiting).values(sales_taken=last.scalar_subquery()))


def take_sales(tx: Connection, channel_id: str, now: datetime) -> None:
    """Let the next sales of a channel become orders."""
    mine = vendure_channels.c.channel_id == channel_id
    taken = tx.scalar(select(vendure_channels.c.sales_taken).where(mine).with_for_update())
    if taken is None:
        return
    fresh = select(sales.c.number, sales.c.id).where(sales.c.channel_id == channel_id, sales.c.number > taken)
    found = tx.execute(fresh.order_by(sales.c.number).limit(_TAKEN_AT_ONCE)).all()
    if found:
        rows = [{"channel_id": channel_id, "sale_id": row.id, "next_at": now} for row in found]
        tx.execute(insert(vendure_orders), rows)
        tx.execute(update(vendure_channels).where(mine).values(sales_taken=found[-1].number))


def count_due(tx: Connection, channel_id: str, now: datetime) -> int:
    """Return how many orders of a channel wait for an attempt."""
    due = select(func.count()).where(
        vendure_orders.c.channel_id == channel_id,
        vendure_orders.c.state == OrderState.PENDING.value,
        vendure_orders.c.next_at <= now,
    )
    return tx.execute(due).scalar_one()


def next_due(tx: Connection, channel_id: str, now: datetime) -> OrderRow | None:
    """Return the order of a channel that waits the longest for an attempt, None where none does."""
    due = select(vendure_orders).where(
        vendure_orders.c.channel_id == channel_id,
        vendure_orders.c.state == OrderState.PENDING.value,
        vendure_orders.c.next_at <= now,
    )
    row = tx.execute(due.order_by(vendure_orders.c.next_at, vendure_orders.c.sale_id).limit(1)).one_or_none()
    return None if row is None else _row(row)


def listed(tx: Connection, channel_id: str, states: Collection[OrderState]) -> list[OrderRow]:
    """Return the orders of a channel that are in one of those states."""
    found = select(vendure_orders).where(
        vendure_orders.c.channel_id == channel_id, vendure_orders.c.state.in_([state.value for state in states])
    )
    rows = tx.execute(found.order_by(vendure_orders.c.sale_id))
    return [_row(row) for row in rows]


def counts(tx: Connection) -> dict[str, dict[OrderState, int]]:
    """Return how many orders of each channel are in each state; none are left out."""
    columns = (vendure_orders.c.channel_id, vendure_orders.c.state)
    found: dict[str, dict[OrderState, int]] = {}
    for row in tx.execute(select(*columns, func.count().label("orders")).group_by(*columns)):
        found.setdefault(row.channel_id, {})[OrderState(row.state)] = row.orders
    return found


def their_products(
    tx: Connection, channel_id: str, product_ids: Collection[str]
) -> dict[str, tuple[str, str | None]]:
    """Return the id of the product in Vendure, and of the variant where it is one, of those products of ours."""
    columns = (
        vendure_products.c.product_id,
        vendure_products.c.vendure_product_id,
        vendure_products.c.variant_id,
    )
    found = select(*columns).where(
        vendure_products.c.channel_id == channel_id, vendure_products.c.product_id.in_(list(product_ids))
    )
    return {row.product_id: (row.vendure_product_id, row.variant_id) for row in tx.execute(found)}


def note_draft(tx: Connection, order: OrderRow, order_id: str) -> None:
    """Write that an order's draft is made; `DRAFTING`: that it will be."""
    tx.execute(_one(order).values(order_id=order_id))


def known(tx: Connection, channel_id: str, order_ids: Collection[str]) -> set[str]:
    """Return which of these orders of Vendure are of sales of a channel."""
    mine = (vendure_orders.c.channel_id == channel_id, vendure_orders.c.order_id.in_(list(order_ids)))
    return set(tx.scalars(select(vendure_orders.c.order_id).where(*mine)))


def note_placed(tx: Connection, order: OrderRow, code: str, note: str | None) -> None:
    """Write that an order is placed."""
    placed = _one(order).values(order_code=code, note=note, error=None, next_at=None, state=OrderState.PLACED.value)
    tx.execute(placed)


def note_refused(tx: Connection, order: OrderRow, error: str) -> None:
    """Write that a sale becomes no order; one that is tried again begins with a new draft."""
    refused = {"state": OrderState.REFUSED.value, "error": error[:_ERROR_MOST], "next_at": None, "order_id": None}
    tx.execute(_one(order).values(**refused))


def note_failed(tx: Connection, order: OrderRow, error: str, next_at: datetime) -> None:
    """Write that an attempt has failed, and when the next one is."""
    failed = _one(order).values(error=error[:_ERROR_MOST], attempts=order.attempts + 1, next_at=next_at)
    tx.execute(failed)


def postpone(tx: Connection, failed: OrderRow, now: datetime) -> None:
    """Let the orders of a channel that are due wait as long as the one that has just failed."""
    until = select(vendure_orders.c.next_at).where(
        vendure_orders.c.channel_id == failed.channel_id, vendure_orders.c.sale_id == failed.sale_id
    )
    others = update(vendure_orders).where(
        vendure_orders.c.channel_id == failed.channel_id,
        vendure_orders.c.state == OrderState.PENDING.value,
        vendure_orders.c.next_at <= now,
    )
    tx.execute(others.values(next_at=until.scalar_subquery()))


def hurry(tx: Connection, channel_id: str, now: datetime) -> None:
    """Let the orders of a channel that wait be tried now: what they waited for may have changed."""
    waiting = update(vendure_orders).where(
        vendure_orders.c.channel_id == channel_id, vendure_orders.c.state == OrderState.PENDING.value
    )
    tx.execute(waiting.values(next_at=now))


def retry(tx: Connection, channel_id: str, sale_id: str, now: datetime) -> None:
    """Let a sale that was refused, or that waits, be tried now.

    Raises:
        NotFoundError: there is no such sale that is no order yet.
    """
    again = update(vendure_orders).where(
        vendure_orders.c.channel_id == channel_id,
        vendure_orders.c.sale_id == sale_id,
        vendure_orders.c.state != OrderState.PLACED.value,
    )
    values = {"state": OrderState.PENDING.value, "next_at": now, "attempts": 0, "error": None}
    if tx.execute(again.values(**values)).rowcount == 0:
        raise NotFoundError(f"sale {sale_id!r} of channel {channel_id!r} waits for no order in Vendure")


def _row(row: Row[Any]) -> OrderRow:
    return OrderRow(**{**row._mapping, "state": OrderState(row.state)})  # noqa: SLF001 (SQLAlchemy's way)


def _one(order: OrderRow) -> Update:
    return update(vendure_orders).where(
        vendure_orders.c.channel_id == order.channel_id, vendure_orders.c.sale_id == order.sale_id
    )
