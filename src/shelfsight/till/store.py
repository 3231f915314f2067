"""SQL of the till: sales with their lines, what they come to, and what tills are told of products.

Whoever books locks the channel first, so that sales are numbered in the order of commit, and the same sale that comes
twice at once meets itself.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, literal, select, text, tuple_

from shelfsight.catalog.rules import ChangeKind
from shelfsight.database.tables import changes, channels, products, sale_lines, sales
from shelfsight.database.tables.columns import Exact
from shelfsight.errors import NotFoundError
from shelfsight.till.rules import (
    Booked,
    ListedProduct,
    Period,
    Position,
    Sale,
    SaleLine,
    SoldInAll,
    SoldProduct,
    Summary,
    fingerprint,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from shelfsight.till.rules import NewSale

_IN_ONE_STATEMENT = 1000
_OF_PRODUCTS = (
    ChangeKind.PRODUCT_ADDED,
    ChangeKind.PRODUCT_CHANGED,
    ChangeKind.PRODUCT_DELETED,
    ChangeKind.PRODUCT_RESTORED,
)
_LISTED: tuple[ColumnElement[Any], ...] = (
    products.c.id,
    products.c.name,
    products.c.sku,
    products.c.barcodes,
    products.c.price,
    products.c.currency,
)
_THOUSANDTH, _PRICE_UNIT = Decimal("0.001"), Decimal("0.0001")


def booked(tx: Connection, channel_id: str, sale_ids: Collection[str]) -> dict[str, Booked]:
    """Return what is kept of those sales that are booked, by id."""
    known = select(sales.c.id, sales.c.fingerprint, sales.c.received_at).where(
        sales.c.channel_id == channel_id, sales.c.id.in_(list(sale_ids))
    )
    return {row.id: Booked(row.fingerprint, row.received_at) for row in tx.execute(known)}


def sold_products(tx: Connection, channel_id: str, product_ids: Collection[str]) -> dict[str, SoldProduct]:
    """Return those products that the channel has, deleted ones too, by id."""
    columns = (products.c.id, products.c.name, products.c.sku, products.c.price, products.c.currency)
    found = select(*columns, (products.c.deleted_at == 0).label("is_active")).where(
        products.c.channel_id == channel_id
    )
    return {
        row.id: SoldProduct(**{**row._mapping, "is_active": bool(row.is_active)})  # noqa: SLF001
        for part in _parts(sorted(product_ids))
        for row in tx.execute(found.where(products.c.id.in_(part)))
    }


def last_number(tx: Connection, channel_id: str) -> int:
    """Return the number of the last sale that was booked, 0 where there is none."""
    return tx.scalar(select(func.max(sales.c.number)).where(sales.c.channel_id == channel_id)) or 0


def insert_sales(
    tx: Connection, channel_id: str, said: Sequence[NewSale], made: Sequence[Sale], *, actor: str
) -> None:
    """Book sales of a locked channel, as they are said and as they are made of that."""
    if not made:
        return
    rows = [
        {
            "channel_id": channel_id,
            "number": sale.number,
            "id": sale.id,
            "at": sale.at,
            "received_at": sale.received_at,
            "device": sale.device,
            "model_version": sale.model_version,
            "fingerprint": fingerprint(one),
            "actor": actor,
        }
        for one, sale in zip(said, made, strict=True)
    ]
    lines = [
        {"channel_id": channel_id, "sale_number": sale.number, "line": place, **_line_row(line)}
        for sale in made
        for place, line in enumerate(sale.lines, 1)
    ]
    tx.execute(insert(sales), rows)
    tx.execute(insert(sale_lines), lines)


def get(tx: Connection, channel_id: str, sale_id: str) -> Sale:
    """Return a sale.

    Raises:
        NotFoundError: there is none of that id.
    """
    found = tx.execute(select(sales).where(sales.c.channel_id == channel_id, sales.c.id == sale_id)).all()
    if not found:
        raise NotFoundError(f"sale {sale_id!r} is not in channel {channel_id!r}")
    return _with_lines(tx, channel_id, found)[0]


def page(
    tx: Connection,
    channel_id: str,
    period: Period,
    *,
    behind: Position | None = None,
    limit: int,
    oldest_first: bool = False,
) -> list[Sale]:
    """Return sales in the order in which they were received, the newest first unless said otherwise.

    Args:
        behind: the last one already seen.
        limit: that many at most.
    """
    found = _of(select(sales), channel_id, period)
    order = (sales.c.received_at, sales.c.number)
    if behind is not None:
        place, seen = tuple_(*order), tuple_(*map(literal, behind, (column.type for column in order)))
        found = found.where(place > seen if oldest_first else place < seen)
    found = found.order_by(*(order if oldest_first else (column.desc() for column in order))).limit(limit)
    return _with_lines(tx, channel_id, tx.execute(found).all())


def summary(tx: Connection, channel_id: str, period: Period) -> Summary:
    """Return what was sold in a period, product by product; nothing else was done in the transaction before.

    Raises:
        NotFoundError: there is no such channel.
    """
    _snapshot(tx)
    revision(tx, channel_id)
    count = tx.scalar(_of(select(func.count()).select_from(sales), channel_id, period)) or 0
    numbers = _of(select(sales.c.number), channel_id, period)
    lines = sale_lines.c
    of_period = and_(lines.channel_id == channel_id, lines.sale_number.in_(numbers))
    in_all = (
        select(
            lines.product_id,
            _sum(tx, lines.quantity).label("quantity"),
            func.count(lines.sale_number.distinct()).label("sales"),
        )
        .where(of_period)
        .group_by(lines.product_id)
        .order_by(lines.product_id)
    )
    amounts = _amounts(tx, of_period)
    found = tx.execute(in_all).all()
    known = sold_products(tx, channel_id, [row.product_id for row in found])
    sold = tuple(_sold(row, known, amounts.get(row.product_id, {})) for row in found)
    everything: dict[str, Decimal] = {}
    for currency, amount in (pair for of_product in amounts.values() for pair in of_product.items()):
        everything[currency] = everything.get(currency, Decimal(0)) + amount
    return Summary(sales=count, amounts=everything, products=sold)


def revision(tx: Connection, channel_id: str) -> tuple[int, datetime]:
    """Return the revision of a channel's catalogue, and when the channel was made.

    Raises:
        NotFoundError: there is no such channel.
    """
    number, created_at, _sequence = standing(tx, channel_id)
    return number, created_at


def standing(tx: Connection, channel_id: str) -> tuple[int, datetime, int]:
    """Return what `revision` does, and the sequence of the channel's config; one look at one row.

    Raises:
        NotFoundError: there is no such channel.
    """
    columns = (channels.c.revision, channels.c.created_at, channels.c.sequence)
    row = tx.execute(select(*columns).where(channels.c.id == channel_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"channel {channel_id!r} is not there")
    return row.revision, row.created_at, row.sequence


def listing(tx: Connection, channel_id: str) -> tuple[tuple[int, datetime], list[ListedProduct]]:
    """Return what `revision` does, and the active products at that very revision, by id.

    Nothing else was done in the transaction before.

    Raises:
        NotFoundError: there is no such channel.
    """
    _snapshot(tx)
    at = revision(tx, channel_id)
    active = select(*_LISTED).where(products.c.channel_id == channel_id, products.c.deleted_at == 0)
    return at, [ListedProduct(*row) for row in tx.execute(active.order_by(products.c.id))]


def changed_since(
    tx: Connection, channel_id: str, since: int, *, most: int
) -> tuple[tuple[int, datetime], list[ListedProduct], list[str]] | None:
    """Return what `revision` does, the active products that changed since, and the ids of those that went since.

    Nothing else was done in the transaction before.

    Returns: None where more than `most` products have changed.

    Raises:
        NotFoundError: there is no such channel.
    """
    _snapshot(tx)
    at = revision(tx, channel_id)
    touched = (
        select(changes.c.product_id)
        .distinct()
        .where(changes.c.channel_id == channel_id, changes.c.revision > since, changes.c.kind.in_(_OF_PRODUCTS))
        .limit(most + 1)
    )
    ids = list(tx.scalars(touched))
    if len(ids) > most:
        return None
    found = select(*_LISTED).where(
        products.c.channel_id == channel_id, products.c.id.in_(ids), products.c.deleted_at == 0
    )
    active = [ListedProduct(*row) for row in tx.execute(found.order_by(products.c.id))]
    return at, active, sorted(set(ids) - {product.id for product in active})


def _of(query: Select[Any], channel_id: str, period: Period) -> Select[Any]:
    query = query.where(sales.c.channel_id == channel_id)
    if period.since is not None:
        query = query.where(sales.c.received_at >= period.since)
    if period.until is not None:
        query = query.where(sales.c.received_at < period.until)
    if period.device is not None:
        query = query.where(sales.c.device == period.device)
    return query


def _with_lines(tx: Connection, channel_id: str, rows: Sequence[Row[Any]]) -> list[Sale]:
    lines: dict[int, list[SaleLine]] = {row.number: [] for row in rows}
    for part in _parts(list(lines)):
        of_sales = select(sale_lines).where(sale_lines.c.channel_id == channel_id, sale_lines.c.sale_number.in_(part))
        for line in tx.execute(of_sales.order_by(sale_lines.c.sale_number, sale_lines.c.line)):
            lines[line.sale_number].append(_line(line))
    return [
        Sale(
            number=row.number,
            id=row.id,
            at=row.at,
            received_at=row.received_at,
            lines=tuple(lines[row.number]),
            device=row.device,
            model_version=row.model_version,
        )
        for row in rows
    ]


def _line(row: Row[Any]) -> SaleLine:
    return SaleLine(
        product_id=row.product_id,
        name=row.name,
        sku=row.sku,
        quantity=row.quantity,
        unit_price=row.unit_price,
        currency=row.currency,
        amount=row.amount,
    )


def _amounts(tx: Connection, of_period: ColumnElement[bool]) -> dict[str, dict[str, Decimal]]:
    """Return what lines come to, by product and currency."""
    lines = sale_lines.c
    money = (
        select(lines.product_id, lines.currency, _sum(tx, lines.amount).label("amount"))
        .where(of_period, lines.amount.is_not(None))
        .group_by(lines.product_id, lines.currency)
        .order_by(lines.currency)
    )
    amounts: dict[str, dict[str, Decimal]] = {}
    for row in tx.execute(money):
        amounts.setdefault(row.product_id, {})[row.currency] = row.amount
    return amounts


def _sold(row: Row[Any], known: Mapping[str, SoldProduct], amounts: dict[str, Decimal]) -> SoldInAll:
    product = known.get(row.product_id)
    return SoldInAll(
        product_id=row.product_id,
        name=product.name if product else "",
        sku=product.sku if product else None,
        quantity=row.quantity,
        sales=row.sales,
        amounts=amounts,
    )


def _line_row(line: SaleLine) -> dict[str, Any]:
    """Return a line as columns; numbers as SQLite's text shows them: 100.000, never 1E+2."""
    return {
        "product_id": line.product_id,
        "name": line.name,
        "sku": line.sku,
        "quantity": line.quantity.quantize(_THOUSANDTH),
        "unit_price": line.unit_price.quantize(_PRICE_UNIT) if line.unit_price is not None else None,
        "currency": line.currency,
        "amount": line.amount.quantize(_PRICE_UNIT) if line.amount is not None else None,
    }


def _snapshot(tx: Connection) -> None:
    """Let every statement of a transaction that begins see the same; SQLite's always do."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _sum(tx: Connection, column: ColumnElement[Decimal]) -> ColumnElement[Decimal]:
    """Return an exact sum; SQLite's own would be a float."""
    if tx.dialect.name == "postgresql":
        return func.sum(column)
    driver: Any = tx.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.create_aggregate("exact_sum", 1, _ExactSum)
    return func.exact_sum(column, type_=Exact(38, 4))


class _ExactSum:
    """What SQLite calls for each row: numbers as text, or NULL."""

    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, value: Any) -> None:
        if value is not None:
            self._sum += Decimal(value)

    def finalize(self) -> Any:
        return f"{self._sum:f}"


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _IN_ONE_STATEMENT):
        yield values[start : start + _IN_ONE_STATEMENT]
