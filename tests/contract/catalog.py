"""What the tests of the catalogue's stores put in, and how they look at what came of it."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shelfsight.catalog.rules import (
    Change,
    Image,
    Product,
    ProductDetails,
    Stamp,
)
from shelfsight.catalog.store import products
from shelfsight.catalog.store.changes import changes_since

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
MARIA = Stamp(actor="maria", at=NOW)
APPLE = ProductDetails(name="Apple", sku="A-1", barcodes=("4006381333931",), price=Decimal("0.35"), currency="EUR")
PEAR = ProductDetails(name="Pear")
NAMES = {
    "accents": "Crème brûlée à l'orange",
    "right to left": "חלב 3% תנובה \u200f1 ליטר",
    "arabic": "حليب كامل الدسم",
    "emoji": "🥐🍎 👩‍🌾 Farmer's 🇫🇷",
    "chinese": "老干妈 风味豆豉油制辣椒",
    "500 characters": "ß" * 500,
    "quotes": """'; DROP TABLE products; -- "%_\\""",
}


def sha256(number: int) -> str:
    return f"{number:064x}"


def image(product_id: str, number: int) -> Image:
    return Image(
        product_id=product_id,
        sha256=sha256(number),
        media_type="image/jpeg",
        size_bytes=1000 + number,
        width=640,
        height=480,
        created_at=NOW,
    )


def history(database: Database, channel_id: str = "default") -> list[Change]:
    with database.read() as connection:
        return changes_since(connection, channel_id, 0, 10_000)


def kinds(database: Database) -> list[str]:
    return [entry.kind for entry in history(database)]


def add(database: Database, product_id: str, details: ProductDetails = APPLE, channel_id: str = "default") -> Product:
    with database.write(actor="maria") as connection:
        return products.add(connection, channel_id, product_id, details, MARIA)


def stored(database: Database, product_id: str) -> Product:
    with database.read() as connection:
        return products.get(connection, "default", product_id)


def wanted(details: ProductDetails) -> dict[str, Any]:
    return {each.name: getattr(details, each.name) for each in fields(details)}


def listed(database: Database, **query: Any) -> list[str]:
    with database.read() as connection:
        return [product.id for product in products.page(connection, "default", limit=100, **query)]
