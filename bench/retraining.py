"""From a change to a published version, and how soon it is found which channels are due.

python -m bench.retraining [--products 1000]

The photos are made up: what they show does not matter for how long it takes.
"""

from __future__ import annotations

import argparse
import io
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import insert, text

from shelfsight.app import open_services
from shelfsight.catalog.images import Upload, add_images
from shelfsight.catalog.rules import ChannelValues, ProductDetails, Stamp
from shelfsight.catalog.store import channels, due, products
from shelfsight.database.tables import channels as channel_rows
from shelfsight.jobs import store
from shelfsight.jobs.trainings import TrainingState
from shelfsight.settings import ServiceSettings
from shelfsight.worker import run_worker

if TYPE_CHECKING:
    from shelfsight.api.services import Services
    from shelfsight.jobs.trainings import Training

SHOP = "T_1"
PHOTOS = 5
QUIET_S = 5
CHANNELS, DIRTY = 10_000, 100
_SIDE = 320


def main() -> None:
    """Train a shop from nothing, add a product, and print how long each took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, default=1000)
    count = parser.parse_args().products
    with TemporaryDirectory(prefix="shelfsight-bench-") as work:
        settings = ServiceSettings(
            database_url=f"sqlite:///{Path(work) / 'shelfsight.db'}", storage_url=str(Path(work) / "assets")
        )
        services = open_services(settings)
        _open_shop(services, count)
        stop = threading.Event()
        worker = threading.Thread(target=run_worker, args=(settings,), kwargs={"concurrency": 1, "stop": stop})
        worker.start()
        first = _ended(services, 1)
        _add(services, "new", seed=10**6)
        second = _ended(services, 2)
        stop.set()
        worker.join()
        table = Table("Training", "photos", "from the end of the quiet time to published", "wanted")
        for name, training, wanted in (("the whole shop", first, ""), ("one product more", second, "< 15 s")):
            table.add_row(name, f"{training.image_count:,}", f"{_seconds(training):.1f} s", wanted)
        console = Console()
        console.print(f"{count:,} products with {PHOTOS} photos each; then one more.")
        console.print(table)
        console.print(_due(services))
        services.close()


def _open_shop(services: Services, count: int) -> None:
    with services.database.write() as tx:
        channels.create(tx, SHOP, ChannelValues(model_auto_retrain_enabled=False), _now())
    for number in track(range(count), description="Making photos"):
        _add(services, f"product-{number}", seed=number)
    with services.database.write() as tx:
        values = ChannelValues(model_auto_retrain_enabled=True, model_retrain_debounce_seconds=QUIET_S)
        channels.change(tx, SHOP, values, stamp=_now())
    _add(services, "last", seed=10**5)


def _add(services: Services, product: str, *, seed: int) -> None:
    with services.database.write() as tx:
        products.add(tx, SHOP, product, ProductDetails(name=product), _now())
    uploads = [Upload(name=f"{photo}.jpg", data=_photo(seed, photo)) for photo in range(PHOTOS)]
    add_images(services, SHOP, product, uploads, _now())


def _photo(seed: int, photo: int) -> bytes:
    """Return a JPEG of blocks in the product's own colours, a little different each time."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    noise = np.random.default_rng((seed, photo)).normal(0, 20, (8, 8, 3))
    small = Image.fromarray(np.clip(blocks + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def _ended(services: Services, number: int) -> Training:
    """Wait for the end of the shop's training with that number, and return it."""
    while True:
        with services.database.read() as tx:
            found, _ = store.page(tx, SHOP, limit=10)
        if len(found) == number and found[0].status.ended:
            if found[0].status is not TrainingState.READY:
                raise SystemExit(f"the training failed: {found[0].error}")
            return found[0]
        time.sleep(0.2)


def _seconds(training: Training) -> float:
    if training.ended_at is None:
        raise AssertionError(training)
    return (training.ended_at - training.created_at).total_seconds()


def _due(services: Services) -> str:
    """Return how long it takes to find a hundred channels that are due among ten thousand."""
    now = datetime.now(UTC)
    rows = [
        {"id": f"C_{n}", "token": f"ck_{n}", "train_at": now - timedelta(seconds=1) if n % 100 == 0 else None}
        for n in range(CHANNELS)
    ]
    with services.database.write() as tx:
        tx.execute(insert(channel_rows), rows)
    times = []
    for _ in range(51):
        started = time.perf_counter()
        with services.database.read() as tx:
            found = due.due_channels(tx, now, DIRTY)
        times.append(time.perf_counter() - started)
    query = "EXPLAIN QUERY PLAN SELECT id FROM channels WHERE train_at <= 'x' ORDER BY train_at LIMIT 100"
    with services.database.read() as tx:
        (plan,) = (row[-1] for row in tx.execute(text(query)))
    return f"{len(found)} of {CHANNELS:,} channels due: found in {1000 * median(times):.1f} ms ({plan})"


def _now() -> Stamp:
    return Stamp(actor="bench", at=datetime.now(UTC))


if __name__ == "__main__":
    main()
