"""How long a publish, a roll-back and a clean-up take, beside a plain copy of the files; on a folder and on S3.

python -m bench.publish
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert
from tests.servers import s3_server

from bench.common import ROOT, run_shelfsight
from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.database.tables import channels
from shelfsight.registry import versions
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database

ROUNDS = 7
CHANNELS = 1_000


@dataclass(frozen=True)
class Figures:
    """Seconds, medians of the rounds."""

    publish: float
    roll_back: float
    clean_up: float


def main() -> None:
    """Train the example shop once, publish it again and again, and print a table."""
    with TemporaryDirectory(prefix="shelfsight-bench-") as work, ExitStack() as stack:
        folder = Path(work)
        bundle = folder / "bundle"
        run_shelfsight("train", ROOT / "examples" / "corner-shop", "--out", bundle, cache_dir=folder / "cache")
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        copied = median(_seconds(partial(_copy, bundle, folder / f"copy-{n}")) for n in range(ROUNDS))
        server = stack.enter_context(s3_server())
        table = Table("", "publish", "of it copying the files", "roll back", f"clean up, {CHANNELS:,} channels")
        for name, url, options in (
            ("folder", str(folder / "assets"), {}),
            ("S3 (SeaweedFS)", server.url, server.options),
        ):
            storage = open_storage(url, options=options)
            found = _measure(bundle, Registry(database=_database(folder, name), storage=storage))
            copy = "" if options else _ms(copied)
            table.add_row(name, _ms(found.publish), copy, _ms(found.roll_back), _ms(found.clean_up))
        console = Console()
        console.print(f"A bundle of {size / 1e6:.1f} MB, medians of {ROUNDS}; a publish checks and runs every model.")
        console.print(table)


def _measure(bundle: Path, registry: Registry) -> Figures:
    published = median(
        _seconds(lambda: publish(registry, Order(folder=bundle, channel="default"))) for _ in range(ROUNDS)
    )
    targets = [f"1.0.{n % 2}" for n in range(ROUNDS)]
    rolled = median(_seconds(partial(versions.roll_back, registry, "default", to)) for to in targets)
    return Figures(publish=published, roll_back=rolled, clean_up=_seconds(lambda: clean_up(registry)))


def _database(folder: Path, name: str) -> Database:
    database = open_database(f"sqlite:///{folder / name}.db")
    migrate.prepare(database)
    with database.write() as tx:
        tx.execute(insert(channels), [{"id": f"T_{n}", "token": f"ck_{n}"} for n in range(CHANNELS)])
    return database


def _copy(source: Path, target: Path) -> None:
    """Copy the files as a script would, and make sure that they are on the disk."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"


if __name__ == "__main__":
    main()
