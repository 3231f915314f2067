"""The catalogue of a large shop: 100,000 products and 300,000 images in SQLite, beside a small one and bare sqlite3.

python -m bench.catalogue [folder on the disk to measure]
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import event, insert

from shelfsight.catalog.rules import BATCH_MOST, ProductDetails, Stamp
from shelfsight.catalog.store import products
from shelfsight.catalog.store.changes import changes_since
from shelfsight.database import migrate, tables
from shelfsight.database.engine import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shelfsight.database.engine import Database

LARGE, SMALL = 100_000, 100
IMAGES_A_PRODUCT = 3
RUNS = 60
TARGET_MS = 20
STAMP = Stamp(actor="bench", at=datetime(2026, 5, 4, tzinfo=UTC))
WORDS = ("apple", "pear", "bread", "milk", "cheese", "butter", "organic", "fresh", "large", "small", "red", "golden")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A catalogue of `size` products, and the same file as sqlite3 opens it by itself."""

    database: Database
    bare: sqlite3.Connection
    size: int


def product(number: int) -> tuple[str, ProductDetails]:
    """Return the id and the details of a product that is like others, and has a number of its own."""
    name = " ".join(random.Random(number).sample(WORDS, 4))  # noqa: S311 (no secret)
    return f"p{number:06}", ProductDetails(
        name=f"{name} no. {number}",
        sku=f"S-{number}",
        barcodes=(f"40{number:011}",),
        price=Decimal(number) / 100,
        currency="EUR",
    )


def open_shop(path: Path, size: int) -> Shop:
    """Return a new catalogue, its products added in no order, as shops do."""
    database = open_database(f"sqlite:///{path}")
    migrate.prepare(database)
    numbers = random.Random(0).sample(range(size), size)  # noqa: S311
    for start in range(0, size, BATCH_MOST):
        part = numbers[start : start + BATCH_MOST]
        images = [
            {"channel_id": "default", "product_id": f"p{one:06}", "sha256": f"{one * IMAGES_A_PRODUCT + place:064x}"}
            for one in part
            for place in range(IMAGES_A_PRODUCT)
        ]
        with database.write() as connection:
            products.put(connection, "default", dict(map(product, part)), STAMP)
            connection.execute(insert(tables.images), images)
    bare = sqlite3.connect(path, isolation_level=None)
    bare.execute("CREATE TABLE bare (id TEXT PRIMARY KEY, name TEXT)")
    bare.execute("PRAGMA synchronous = FULL")
    return Shop(database=database, bare=bare, size=size)


def operations(shop: Shop) -> dict[str, Callable[[], object]]:
    """Return what is measured, by its name."""
    middle, next_number = f"p{shop.size // 2:06}", count(shop.size)
    rare = f"no. {shop.size - 1}"

    def read(work: Callable[[Any], object]) -> object:
        with shop.database.read() as connection:
            return work(connection)

    def add() -> None:
        product_id, details = product(next(next_number))
        with shop.database.write(actor="bench") as connection:
            products.add(connection, "default", product_id, details, STAMP)

    def page(**query: Any) -> Callable[[], object]:
        return lambda: read(lambda connection: products.page(connection, "default", limit=100, **query))

    def changed(back: int) -> Callable[[], object]:
        return lambda: read(lambda connection: changes_since(connection, "default", shop.size - back, 100))

    return {
        "page of 100, the first": page(),
        "page of 100, in the middle": page(after=middle),
        "search, 100 found": page(text="milk"),
        "search, one found": page(text=rare),
        "search, none found": page(text="chainsaw"),
        "what changed, the last 100": changed(100),
        "what changed, nothing": changed(0),
        "add a product": add,
    }


def bare_operations(shop: Shop) -> dict[str, Callable[[], object]]:
    """Return the least that a database must do for the same, by the same names."""
    numbers = count()

    def ask(sql: str, *values: object) -> Callable[[], object]:
        return lambda: shop.bare.execute(sql, values).fetchall()

    def add() -> None:
        shop.bare.execute("INSERT INTO bare VALUES (?, 'x')", (str(next(numbers)),))

    page = "SELECT * FROM products WHERE channel_id = 'default' AND id > ? ORDER BY id LIMIT 100"
    scan = "SELECT id FROM products WHERE search_text LIKE ? LIMIT 100"
    since = "SELECT * FROM changes WHERE channel_id = 'default' AND revision > ? ORDER BY revision LIMIT 100"
    return {
        "page of 100, the first": ask(page, ""),
        "page of 100, in the middle": ask(page, f"p{shop.size // 2:06}"),
        "search, 100 found": ask(scan, "%milk%"),
        "search, one found": ask(scan, f"%no. {shop.size - 1}%"),
        "search, none found": ask(scan, "%chainsaw%"),
        "what changed, the last 100": ask(since, shop.size - 100),
        "what changed, nothing": ask(since, shop.size),
        "add a product": add,
    }


def milliseconds(kinds: list[dict[str, Callable[[], object]]]) -> list[dict[str, list[float]]]:
    """Time every operation of every kind, in turn, so that a busy moment of the machine meets them all."""
    found: list[dict[str, list[float]]] = [{name: [] for name in kind} for kind in kinds]
    for name in kinds[0]:
        for run in range(RUNS + 3):
            for kind, times in zip(kinds, found, strict=True):
                started = time.perf_counter()
                kind[name]()
                if run >= 3:  # the first ones fill caches
                    times[name].append(1000 * (time.perf_counter() - started))
    return found


def plans(shop: Shop) -> Iterator[tuple[str, str]]:
    """Yield (operation, a step of SQLite's plan for it), of products, images and changes only."""
    for name, work in operations(replace(shop, size=shop.size + 10_000)).items():
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_: Any, into: Any = asked) -> None:
            into.append((sql, values))

        event.listen(shop.database.engine, "before_cursor_execute", note)
        work()
        event.remove(shop.database.engine, "before_cursor_execute", note)
        for sql, values in asked:
            one = values[0] if isinstance(values, list) else values
            steps = shop.bare.execute(f"EXPLAIN QUERY PLAN {sql}", one).fetchall()
            yield from ((name, step) for *_, step in steps if step.startswith(("SCAN", "SEARCH")))


def report(found: list[dict[str, list[float]]], console: Console) -> None:
    """Print the figures."""
    table = Table("Operation", f"{LARGE:,} products", "p95", f"{SMALL} products", "p95", "bare sqlite3", "wanted")
    large, small, bare = found
    for name, times in large.items():
        cells = [f"{median(times):.2f} ms", f"{_p95(times):.2f} ms", f"{median(small[name]):.2f} ms"]
        cells += [f"{_p95(small[name]):.2f} ms", f"{median(bare[name]):.2f} ms"]
        table.add_row(name, *cells, f"< {TARGET_MS} ms{'' if median(times) < TARGET_MS else ': missed'}")
    console.print(table)


def _p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


def main() -> None:
    """Make both catalogues, time what people do with them, and say which indexes it went by."""
    console = Console()
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with TemporaryDirectory(dir=folder) as place:
        started = time.perf_counter()
        large = open_shop(Path(place) / "large.db", LARGE)
        small = open_shop(Path(place) / "small.db", SMALL)
        size = (Path(place) / "large.db").stat().st_size / 1e6
        took = time.perf_counter() - started
        console.print(f"{LARGE:,} products, {IMAGES_A_PRODUCT * LARGE:,} images: {took:.0f} s, {size:.0f} MB")
        with closing(large.bare), closing(small.bare):
            report(milliseconds([operations(large), operations(small), bare_operations(large)]), console)
            steps = dict.fromkeys(plans(large))
        for name, step in steps:
            console.print(f"{name}: {step}")
        scans = [step for _, step in steps if step.startswith("SCAN") and "VIRTUAL" not in step]
        console.print(f"scans of whole tables: {', '.join(scans) or 'none'}")
        large.database.close()
        small.database.close()


if __name__ == "__main__":
    main()
