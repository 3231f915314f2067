"""SQL of what was taken over from Vendure: which products and pictures of ours came from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from shelfsight.catalog.rules import Image
from shelfsight.database.tables import images, products
from shelfsight.database.tables import vendure_assets as assets
from shelfsight.database.tables import vendure_products as taken
from shelfsight.database.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

_REASON_MOST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenProduct:
    """A product of ours that came from Vendure.

    Attributes:
        variant_id: of the variant that it is, None where it is a whole product.
        fingerprint: of what it was when it was taken over; None = it is not for sale there any more.
        pictures: hashes of those of its images that came from there.
    """

    product_id: str
    vendure_id: str
    variant_id: str | None
    fingerprint: str | None
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenAsset:
    """A picture of Vendure: its hash, or why it was refused."""

    sha256: str | None = None
    reason: str | None = None


def marks(tx: Connection, channel_id: str) -> list[tuple[str, str]]:
    """Return id in Vendure and fingerprint of each product of a channel that is for sale there."""
    found = select(taken.c.vendure_product_id, taken.c.fingerprint)
    rows = tx.execute(found.where(taken.c.channel_id == channel_id, taken.c.fingerprint.is_not(None)))
    return [(row.vendure_product_id, row.fingerprint) for row in rows]


def of_theirs(tx: Connection, channel_id: str, vendure_ids: Collection[str]) -> list[TakenProduct]:
    """Return what products of Vendure have become here, also those that are no longer for sale."""
    mine = (taken.c.channel_id == channel_id, taken.c.vendure_product_id.in_(list(vendure_ids)))
    return [
        TakenProduct(
            product_id=row.product_id,
            vendure_id=row.vendure_product_id,
            variant_id=row.variant_id,
            fingerprint=row.fingerprint,
            pictures=tuple(row.pictures),
        )
        for row in tx.execute(select(taken).where(*mine).order_by(taken.c.product_id))
    ]


def others(tx: Connection, channel_id: str, product_ids: Collection[str]) -> set[str]:
    """Return which of these ids are products of the channel that did not come from Vendure."""
    named = list(product_ids)
    here = select(products.c.id).where(products.c.channel_id == channel_id, products.c.id.in_(named))
    ours = select(taken.c.product_id).where(taken.c.channel_id == channel_id, taken.c.product_id.in_(named))
    return set(tx.scalars(here)) - set(tx.scalars(ours))


def put(tx: Connection, channel_id: str, rows: Iterable[TakenProduct]) -> None:
    """Write what products of Vendure have become here."""
    found = [
        {
            "channel_id": channel_id,
            "product_id": one.product_id,
            "vendure_product_id": one.vendure_id,
            "variant_id": one.variant_id,
            "fingerprint": one.fingerprint,
            "pictures": list(one.pictures),
        }
        for one in rows
    ]
    upsert(tx, taken, found, keys=["channel_id", "product_id"])


def withdraw(tx: Connection, channel_id: str, product_ids: Collection[str]) -> None:
    """Write that products are no longer for sale in Vendure."""
    mine = (taken.c.channel_id == channel_id, taken.c.product_id.in_(list(product_ids)))
    tx.execute(update(taken).where(*mine).values(fingerprint=None))


def forget_marks(tx: Connection, channel_id: str) -> None:
    """Let everything be read anew: what is for sale in Vendure stays so until then."""
    mine = (taken.c.channel_id == channel_id, taken.c.fingerprint.is_not(None))
    tx.execute(update(taken).where(*mine).values(fingerprint=""))


def forget_assets(tx: Connection, channel_id: str) -> None:
    """Let every picture be fetched anew."""
    tx.execute(delete(assets).where(assets.c.channel_id == channel_id))


def forget_refused(tx: Connection, channel_id: str) -> None:
    """Let pictures that were refused be tried again."""
    tx.execute(delete(assets).where(assets.c.channel_id == channel_id, assets.c.reason.is_not(None)))


def count(tx: Connection, channel_id: str) -> int:
    """Return how many products of a channel are for sale in Vendure."""
    mine = (taken.c.channel_id == channel_id, taken.c.fingerprint.is_not(None))
    return tx.execute(select(func.count()).select_from(taken).where(*mine)).scalar_one()


def counts(tx: Connection) -> dict[str, int]:
    """Return how many products are for sale in Vendure, by channel; channels without any are left out."""
    found = select(taken.c.channel_id, func.count().label("products")).where(taken.c.fingerprint.is_not(None))
    return {row.channel_id: row.products for row in tx.execute(found.group_by(taken.c.channel_id))}


def assets_of(tx: Connection, channel_id: str, asset_ids: Collection[str]) -> dict[str, TakenAsset]:
    """Return what became of pictures of Vendure, by id; those that were not fetched yet are missing."""
    mine = (assets.c.channel_id == channel_id, assets.c.asset_id.in_(list(asset_ids)))
    rows = tx.execute(select(assets).where(*mine))
    return {row.asset_id: TakenAsset(sha256=row.sha256, reason=row.reason) for row in rows}


def put_assets(tx: Connection, channel_id: str, found: Mapping[str, TakenAsset]) -> None:
    """Write what became of pictures of Vendure."""
    rows = [
        {
            "channel_id": channel_id,
            "asset_id": asset_id,
            "sha256": one.sha256,
            "reason": None if one.reason is None else one.reason[:_REASON_MOST],
        }
        for asset_id, one in found.items()
    ]
    upsert(tx, assets, rows, keys=["channel_id", "asset_id"])


def refused(tx: Connection, channel_id: str) -> dict[str, str]:
    """Return the pictures of Vendure that were refused, and why, by id."""
    mine = (assets.c.channel_id == channel_id, assets.c.reason.is_not(None))
    return {row.asset_id: row.reason for row in tx.execute(select(assets).where(*mine).order_by(assets.c.asset_id))}


def pictures(tx: Connection, channel_id: str, hashes: Collection[str]) -> dict[str, Image]:
    """Return the images of a channel with these hashes, each once, whosever they are."""
    mine = (images.c.channel_id == channel_id, images.c.sha256.in_(list(hashes)))
    columns = ("product_id", "sha256", "media_type", "size_bytes", "width", "height", "created_at")
    rows = tx.execute(select(*(images.c[name] for name in columns)).where(*mine))
    return {row.sha256: Image(**row._mapping) for row in rows}  # noqa: SLF001 (SQLAlchemy's way)


def hashes_of(tx: Connection, channel_id: str, product_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the hashes of the images of products, by product."""
    mine = (images.c.channel_id == channel_id, images.c.product_id.in_(list(product_ids)))
    found: dict[str, set[str]] = {}
    for row in tx.execute(select(images.c.product_id, images.c.sha256).where(*mine)):
        found.setdefault(row.product_id, set()).add(row.sha256)
    return found
