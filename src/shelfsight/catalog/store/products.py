"""Products: added, changed, deleted, restored, listed and found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from shelfsight.catalog.rules import (
    BATCH_MOST,
    ChangeKind,
    Product,
    ProductDetails,
    ProductState,
    ProductValues,
    Stamp,
    changed,
    check_batch,
    check_product_id,
    put_kind,
    search_text,
)
from shelfsight.catalog.store.changes import Entry, lock, record
from shelfsight.catalog.text import folded
from shelfsight.database.tables import products
from shelfsight.database.upsert import upsert
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

Written = tuple[Product, ChangeKind | None]
"""A product as it is after a write, and what happened to it: nothing where it was so already."""


def add(connection: Connection, channel_id: str, product_id: str, details: ProductDetails, stamp: Stamp) -> Product:
    """Add a product.

    Raises:
        UsageError: the id cannot be one.
        NotFoundError: there is no such channel.
        ConflictError: the product is there already, or was deleted.
    """
    check_product_id(product_id)
    lock(connection, channel_id)
    found = find(connection, channel_id, [product_id])
    if found:
        what = "was deleted: restore it" if found[product_id].deleted_at else "is there already: change it"
        raise ConflictError(f"product {product_id!r} of {channel_id} {what}, or choose another id")
    product = Product(id=product_id, name="", created_at=stamp.at).with_details(details)
    return _write(connection, channel_id, [(product, ChangeKind.PRODUCT_ADDED)], stamp)[0]


def put(
    connection: Connection, channel_id: str, batch: Mapping[str, ProductDetails], stamp: Stamp
) -> dict[str, Written]:
    """Let each product be as given: added, changed, or restored if it was deleted; all or none.

    Args:
        batch: at most `BATCH_MOST` products by id.

    Raises:
        UsageError: there are too many, or an id cannot be one.
        NotFoundError: there is no such channel.
    """
    check_batch(list(batch))
    lock(connection, channel_id)
    found = find(connection, channel_id, batch)
    result: dict[str, Written] = {}
    for product_id, details in batch.items():
        before = found.get(product_id)
        kept = before or Product(id=product_id, name="", created_at=stamp.at)
        kind = put_kind(before, details)
        result[product_id] = (replace(kept.with_details(details), deleted_at=0), kind) if kind else (kept, None)
    pending = [(product, kind) for product, kind in result.values() if kind]
    for product, (_, kind) in zip(_write(connection, channel_id, pending, stamp), pending, strict=True):
        result[product.id] = (product, kind)
    return result


def get(connection: Connection, channel_id: str, product_id: str) -> Product:
    """Return a product, deleted or not.

    Raises:
        NotFoundError: there is none of that id in the channel.
    """
    found = find(connection, channel_id, [product_id])
    if product_id not in found:
        raise NotFoundError(f"product {product_id!r} is not in channel {channel_id!r}")
    return found[product_id]


def change(
    connection: Connection,
    channel_id: str,
    product_id: str,
    values: ProductValues,
    *,
    stamp: Stamp,
    expected: int | None = None,
) -> Product:
    """Change what `values` name; return the product as it is then.

    Args:
        expected: the revision that the caller has read, None = whatever it is.

    Raises:
        NotFoundError: there is no such channel or product.
        ConflictError: the product is deleted.
        StaleWriteError: it is at another revision.
        UsageError: a value cannot be.
    """
    before = _locked(connection, channel_id, product_id, expected)
    if before.deleted_at:
        raise ConflictError(f"product {product_id!r} of {channel_id} is deleted: restore it first")
    after = changed(before, values)
    if after == before:
        return before
    return _write(connection, channel_id, [(after, ChangeKind.PRODUCT_CHANGED)], stamp)[0]


def delete(
    connection: Connection, channel_id: str, product_id: str, *, stamp: Stamp, expected: int | None = None
) -> Product:
    """Mark a product as deleted; its images stay, and so does one that is deleted already.

    Raises:
        NotFoundError: there is no such channel or product.
        StaleWriteError: it is at another revision than `expected`.
    """
    before = _locked(connection, channel_id, product_id, expected)
    if before.deleted_at:
        return before
    after = replace(before, deleted_at=max(1, int(stamp.at.timestamp())))
    return _write(connection, channel_id, [(after, ChangeKind.PRODUCT_DELETED)], stamp)[0]


def restore(
    connection: Connection, channel_id: str, product_id: str, *, stamp: Stamp, expected: int | None = None
) -> Product:
    """Take a deletion back; an active product stays as it is.

    Raises:
        NotFoundError: there is no such channel or product.
        StaleWriteError: it is at another revision than `expected`.
    """
    before = _locked(connection, channel_id, product_id, expected)
    if not before.deleted_at:
        return before
    return _write(connection, channel_id, [(replace(before, deleted_at=0), ChangeKind.PRODUCT_RESTORED)], stamp)[0]


def page(
    connection: Connection,
    channel_id: str,
    *,
    state: ProductState = ProductState.ACTIVE,
    text: str = "",
    after: str | None = None,
    limit: int,
) -> list[Product]:
    """Return the products behind the id `after`, by id, at most `limit`.

    Args:
        text: only those with it in name, SKU or a barcode, whatever the case and accents; empty = all.
    """
    ids = _ids(channel_id, state, text).order_by(products.c.id).limit(limit)
    if after is not None:
        ids = ids.where(products.c.id > after)
    # By an index that holds the ids; the rows themselves are read for the page only.
    rows = select(products).where(products.c.channel_id == channel_id, products.c.id.in_(ids))
    return [_product(row) for row in connection.execute(rows.order_by(products.c.id))]


def page_among(
    connection: Connection, channel_id: str, among: Collection[str], *, text: str, after: str | None, limit: int
) -> list[Product]:
    """Return what `page` does of the active products, looking at those with an id of `among` alone."""
    ids = products.c.id.in_(sorted(among))
    rows = select(products).where(products.c.channel_id == channel_id, ids, products.c.deleted_at == 0, _has(text))
    if after is not None:
        rows = rows.where(products.c.id > after)
    return [_product(row) for row in connection.execute(rows.order_by(products.c.id).limit(limit))]


def each(connection: Connection, channel_id: str, *, state: ProductState = ProductState.ACTIVE) -> Iterator[Product]:
    """Yield all products of a channel, by id."""
    after = None
    while found := page(connection, channel_id, state=state, after=after, limit=BATCH_MOST):
        yield from found
        after = found[-1].id


def count(connection: Connection, channel_id: str, *, state: ProductState = ProductState.ACTIVE) -> int:
    """Return how many products a channel has."""
    ids = _ids(channel_id, state, "").subquery()
    return connection.execute(select(func.count()).select_from(ids)).scalar_one()


def _ids(channel_id: str, state: ProductState, text: str) -> Select[tuple[str]]:
    found = select(products.c.id).where(products.c.channel_id == channel_id)
    match state:
        case ProductState.ACTIVE:
            found = found.where(products.c.deleted_at == 0)
        case ProductState.DELETED:
            found = found.where(products.c.deleted_at > 0)
        case ProductState.ALL:
            pass
    return found.where(_has(text)) if folded(text) else found


def _has(text: str) -> ColumnElement[bool]:
    return products.c.search_text.contains(folded(text), autoescape=True)


def _locked(connection: Connection, channel_id: str, product_id: str, expected: int | None) -> Product:
    """Return a product that nobody else changes before the transaction ends."""
    lock(connection, channel_id)
    product = get(connection, channel_id, product_id)
    if expected is not None and product.revision != expected:
        raise StaleWriteError(
            f"product {product_id!r} of {channel_id} is at revision {product.revision}, not {expected}: "
            "re-read and retry"
        )
    return product


def find(connection: Connection, channel_id: str, product_ids: Collection[str]) -> dict[str, Product]:
    """Return the products with these ids, deleted or not, by id; those that are there."""
    rows = select(products).where(products.c.channel_id == channel_id, products.c.id.in_(list(product_ids)))
    return {row.id: _product(row) for row in connection.execute(rows)}


def _write(
    connection: Connection, channel_id: str, pending: Sequence[tuple[Product, ChangeKind]], stamp: Stamp
) -> list[Product]:
    """Write products of a locked channel and their entries in its history; return them with their revisions."""
    if not pending:
        return []
    revisions = record(connection, channel_id, [Entry(kind, product.id) for product, kind in pending], stamp)
    written = [replace(product, revision=revision) for (product, _), revision in zip(pending, revisions, strict=True)]
    upsert(connection, products, [_row(channel_id, product) for product in written], keys=["channel_id", "id"])
    return written


def _row(channel_id: str, product: Product) -> dict[str, Any]:
    return {
        "channel_id": channel_id,
        "id": product.id,
        **product.values(),
        "barcodes": list(product.barcodes),
        "created_at": product.created_at,
        "deleted_at": product.deleted_at,
        "revision": product.revision,
        "search_text": search_text(product),
    }


def _product(row: Row[Any]) -> Product:
    return Product(
        id=row.id,
        name=row.name,
        sku=row.sku,
        barcodes=tuple(row.barcodes),
        price=row.price,
        currency=row.currency,
        created_at=row.created_at,
        deleted_at=row.deleted_at,
        revision=row.revision,
    )
