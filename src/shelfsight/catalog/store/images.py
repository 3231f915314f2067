"""Images of products: which there are, and whose; their bytes lie in the storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select
from sqlalchemy import delete as delete_rows

from shelfsight.catalog.rules import ChangeKind, Image, Stamp
from shelfsight.catalog.store import products
from shelfsight.catalog.store.changes import Entry, lock, record
from shelfsight.database.tables import images
from shelfsight.database.tables import products as product_rows
from shelfsight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Row


def add(
    connection: Connection, channel_id: str, product_id: str, pictures: Sequence[Image], stamp: Stamp
) -> list[Image]:
    """Add images to a product; return those it did not have.

    Raises:
        NotFoundError: there is no such channel or product.
        ConflictError: the product is deleted.
    """
    lock(connection, channel_id)
    check_takes_images(connection, channel_id, product_id)
    return add_each(connection, channel_id, pictures, stamp)


def add_each(connection: Connection, channel_id: str, pictures: Sequence[Image], stamp: Stamp) -> list[Image]:
    """Add images to the products that they name, which are active; return those that were not there.

    Raises:
        NotFoundError: there is no such channel.
    """
    lock(connection, channel_id)
    has = select(images.c.product_id, images.c.sha256).where(
        images.c.channel_id == channel_id, images.c.product_id.in_({picture.product_id for picture in pictures})
    )
    had = {(row.product_id, row.sha256) for row in connection.execute(has)}
    named = {(picture.product_id, picture.sha256): picture for picture in pictures}
    new = [picture for key, picture in named.items() if key not in had]
    entries = [Entry(ChangeKind.IMAGE_ADDED, picture.product_id, picture.sha256) for picture in new]
    record(connection, channel_id, entries, stamp)
    if new:
        connection.execute(insert(images), [_row(channel_id, picture) for picture in new])
    return new


def check_takes_images(connection: Connection, channel_id: str, product_id: str) -> None:
    """Refuse images for a product that is deleted or not there.

    Raises:
        NotFoundError: there is no such product.
        ConflictError: it is deleted.
    """
    if products.get(connection, channel_id, product_id).deleted_at:
        raise ConflictError(f"product {product_id!r} of {channel_id} is deleted: restore it first")


def get(connection: Connection, channel_id: str, product_id: str, sha256: str) -> Image:
    """Return an image of a product.

    Raises:
        NotFoundError: the product has none with these bytes.
    """
    found = select(images).where(
        images.c.channel_id == channel_id, images.c.product_id == product_id, images.c.sha256 == sha256
    )
    row = connection.execute(found).one_or_none()
    if row is None:
        raise NotFoundError(f"product {product_id!r} of {channel_id} has no image {sha256}")
    return _image(row)


def page(
    connection: Connection, channel_id: str, product_id: str, *, after: str | None = None, limit: int
) -> list[Image]:
    """Return a product's images behind the hash `after`, by hash, at most `limit`."""
    found = select(images).where(images.c.channel_id == channel_id, images.c.product_id == product_id)
    if after is not None:
        found = found.where(images.c.sha256 > after)
    return [_image(row) for row in connection.execute(found.order_by(images.c.sha256).limit(limit))]


def remove(connection: Connection, channel_id: str, product_id: str, sha256: str, stamp: Stamp) -> None:
    """Take an image from a product; its file is for the clean-up.

    Raises:
        NotFoundError: there is no such channel, or the product has no such image.
    """
    lock(connection, channel_id)
    image = get(connection, channel_id, product_id, sha256)
    record(connection, channel_id, [Entry(ChangeKind.IMAGE_REMOVED, product_id, image.sha256)], stamp)
    connection.execute(
        delete_rows(images).where(
            images.c.channel_id == channel_id, images.c.product_id == product_id, images.c.sha256 == image.sha256
        )
    )


def of_active_products(connection: Connection, channel_id: str) -> Iterator[tuple[str, str]]:
    """Yield (product id, SHA-256) of all that a channel can be trained on, by product."""
    owned = and_(images.c.channel_id == product_rows.c.channel_id, images.c.product_id == product_rows.c.id)
    found = (
        select(images.c.product_id, images.c.sha256)
        .select_from(product_rows.join(images, owned))
        .where(product_rows.c.channel_id == channel_id, product_rows.c.deleted_at == 0)
        .order_by(product_rows.c.id, images.c.sha256)
    )
    for row in connection.execute(found):
        yield row.product_id, row.sha256


def hashes(connection: Connection, channel_id: str) -> set[str]:
    """Return the SHA-256 of every image of a channel, those of deleted products included: they may be restored."""
    return set(connection.scalars(select(images.c.sha256).where(images.c.channel_id == channel_id)))


def count(connection: Connection, channel_id: str) -> int:
    """Return how many images the active products of a channel have."""
    owned = and_(images.c.channel_id == product_rows.c.channel_id, images.c.product_id == product_rows.c.id)
    found = select(func.count()).select_from(product_rows.join(images, owned))
    return connection.execute(
        found.where(product_rows.c.channel_id == channel_id, product_rows.c.deleted_at == 0)
    ).scalar_one()


def known(connection: Connection, channel_id: str, hashes: Iterable[str]) -> set[str]:
    """Return which of the hashes are those of a channel's images, of deleted products too."""
    found = select(images.c.sha256).where(images.c.channel_id == channel_id, images.c.sha256.in_(list(hashes)))
    return set(connection.scalars(found))


def owners(connection: Connection, channel_id: str, hashes: Iterable[str]) -> dict[str, list[str]]:
    """Return the active products, sorted, of each hash that is one of their images."""
    owned = and_(images.c.channel_id == product_rows.c.channel_id, images.c.product_id == product_rows.c.id)
    found = (
        select(images.c.sha256, images.c.product_id)
        .select_from(images.join(product_rows, owned))
        .where(images.c.channel_id == channel_id, images.c.sha256.in_(list(hashes)), product_rows.c.deleted_at == 0)
        .order_by(images.c.product_id)
    )
    result: dict[str, list[str]] = {}
    for row in connection.execute(found):
        result.setdefault(row.sha256, []).append(row.product_id)
    return result


def _row(channel_id: str, image: Image) -> dict[str, Any]:
    return {
        "channel_id": channel_id,
        "product_id": image.product_id,
        "sha256": image.sha256,
        "media_type": image.media_type,
        "size_bytes": image.size_bytes,
        "width": image.width,
        "height": image.height,
        "created_at": image.created_at,
    }


def _image(row: Row[Any]) -> Image:
    return Image(
        product_id=row.product_id,
        sha256=row.sha256,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        created_at=row.created_at,
    )
