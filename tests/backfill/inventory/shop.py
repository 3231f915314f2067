"""An old shop: rows in a real PostgreSQL, documents in the stand-in for Typesense, and what both must be."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.inventory_fields.backfill import InventoryFields
from shelfsight.backfill.rules import Pace
from shelfsight.backfill.runner import Runner, Terms
from shelfsight.backfill.stop import Stop
from shelfsight.partners.typesense import Limits, Patience, Typesense
from shelfsight.settings import PostgresSettings
from tests.backfill.typesense_documents import Collection
from tests.backfill.typesense_server import API_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.backfill.checkpoints import Checkpoints
    from shelfsight.backfill.report import Report
    from tests.backfill.typesense_server import TypesenseServer

COLLECTION = "products_search"
DOCUMENT = "backfill_inventory_fields"
CREATED = "2024-05-01 12:00:00.9+00"
CREATED_S = 1714564800


@dataclass
class Watched:
    """What somebody at the terminal would have seen."""

    told: list[str] = field(default_factory=list)
    phases: list[tuple[str, int, int]] = field(default_factory=list)
    rows: int = 0

    def begin(self, title: str, *, total: int, done: int) -> None:
        self.phases.append((title, total, done))

    def advance(self, rows: int) -> None:
        self.rows += rows

    def tell(self, text: str) -> None:
        self.told.append(text)


@dataclass
class Shop:
    """Both sides of a shop."""

    settings: PostgresSettings
    typesense: TypesenseServer
    key: str = "bigint"

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        """Return a connection of the shop's own."""
        one = self.settings
        return psycopg.connect(
            host=one.host,
            port=one.port,
            dbname=one.database,
            user=one.user,
            password=one.password,
            autocommit=True,
            **more,
        )

    def do(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Do something in the shop's database."""
        with self.connect() as connection:
            done = connection.execute(statement.encode(), parameters or None)
            return done.fetchall() if done.description else []

    def rows(self) -> dict[str, tuple[Any, ...]]:
        """Return every row by its key, as text."""
        found = self.do("SELECT id::text, name, extract(epoch FROM created_at), deleted_at FROM public.products")
        return {row[0]: row[1:] for row in found}

    @property
    def documents(self) -> dict[str, dict[str, Any]]:
        """What the search has."""
        return self.typesense.documents(COLLECTION)

    def expected(self) -> dict[str, dict[str, Any]]:
        """Return the documents as they must be, by the rows as they are now."""
        rows = self.rows()
        after = {}
        for key, document in self.documents.items():
            _, created, deleted = rows.get(key, (None, None, 0))
            after[key] = {**document, "created_at": int(created // 1) if created else 0, "deleted_at": deleted}
        return after

    def is_done(self) -> bool:
        """Return whether both sides are as they must be."""
        return self.documents == self.expected() and all(row[2] is not None for row in self.rows().values())


def open_shop(settings: PostgresSettings, typesense: TypesenseServer, *, key: str = "bigint") -> Shop:
    """Return a shop with an empty table and an empty collection."""
    shop = Shop(settings=settings, typesense=typesense, key=key)
    shop.do("DROP TABLE IF EXISTS public.products")
    shop.do(
        f"CREATE TABLE public.products (id {key} PRIMARY KEY, name text NOT NULL, "
        "created_at timestamptz, deleted_at bigint)"
    )
    fields = [{"name": "name", "type": "string", "optional": False}]
    typesense.collections[COLLECTION] = Collection(COLLECTION, fields)
    return shop


def fill(shop: Shop, rows: int, *, only_in_search: int = 0, seed: int = 0) -> None:
    """Add products: some deleted, some without a date, some not in the search; and documents without a row."""
    chance = random.Random(seed)  # noqa: S311
    keys = [key_of(shop.key, number, chance) for number in range(1, rows + 1)]
    table = [
        (
            key,
            f"product {key}",
            None if number % 11 == 0 else f"2024-05-01 12:00:{number % 60:02}.9+00",
            1_700_000_000 + number if number % 7 == 0 else 0 if number % 13 == 0 else None,
        )
        for number, key in enumerate(keys)
    ]
    with shop.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO public.products VALUES (%s, %s, %s, %s)", table)
        cursor.execute("ANALYZE public.products")
    absent = {key for number, key in enumerate(keys) if number % 17 == 3}
    orphans = [key_of(shop.key, 1_000_000 + number, chance) for number in range(only_in_search)]
    for key in [*(key for key in keys if key not in absent), *orphans]:
        shop.documents[key] = {"id": key, "name": f"product {key}"}
    for orphan in orphans[:1]:
        shop.documents[orphan]["deleted_at"] = 5  # somebody's guess, from before


def key_of(kind: str, number: int, chance: random.Random) -> str:
    """Return the key of a product as text."""
    match kind:
        case "uuid":
            return str(uuid.UUID(int=chance.getrandbits(128)))
        case "text":
            return f"{chance.choice(['a', 'B', 'ä', 'x y', chr(39), chr(34), chr(92)])}-{number}"
        case _:
            return str(number)


def settings_of(url: str) -> PostgresSettings:
    """Return the settings of a PostgreSQL of the tests, by its URL."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    return PostgresSettings(
        host=host,
        port=parts.port or 5432,
        database=parts.path.strip("/"),
        user=parts.username or "postgres",
        password=parts.password or "",
    )


def client_of(shop: Shop, stop: Stop | None = None, **limits: float) -> Typesense:
    """Return a client of the shop's search that does not wait for long."""
    return Typesense(
        shop.typesense.url,
        API_KEY,
        patience=Patience(seconds=0.2, first_wait_s=0.01),
        limits=Limits(**{"answer_s": 5.0, "import_s": 5.0, **limits}),
        wait=(stop or Stop()).sleep,
    )


def run(
    shop: Shop,
    checkpoints: Checkpoints,
    *,
    pace: Pace | None = None,
    stop: Stop | None = None,
    watch: Watched | None = None,
    page_size: int = 4,
    accepts_missing_rows: bool = False,
    patience_s: float = 30.0,
    lasts_s: float = 30.0,
    import_s: float = 5.0,
    **how: bool,
) -> Report:
    """Run the backfill here, to its end, or until `stop`."""
    stop = stop or Stop()
    with client_of(shop, stop, import_s=import_s) as typesense:
        backfill = InventoryFields(
            shop.settings, typesense, stop, page_size=page_size, accepts_missing_rows=accepts_missing_rows
        )
        terms = Terms(pace=pace or Pace(size=10), patience_s=patience_s, lasts_s=lasts_s)
        try:
            return Runner(backfill, checkpoints, terms=terms, stop=stop, watch=watch or Watched()).run(**how)
        finally:
            backfill.close()


def counts(report: Report) -> Mapping[str, int]:
    """Return what a report counts."""
    names = (
        "batch_no",
        "last_page",
        "total_processed",
        "updated_supabase",
        "updated_typesense",
        "not_in_typesense",
        "default_set_count",
        "mended",
    )
    return {name: report.checkpoint.count(name) for name in names}


def sqlite_store(path: object) -> SqlCheckpoints:
    """Return a store in a file."""
    return SqlCheckpoints(f"sqlite:///{path}")
