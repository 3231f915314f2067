"""Changes become trainings and versions, by real workers on both databases; the training itself is a stand-in."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from shelfsight.catalog.retrain import NOTHING
from shelfsight.catalog.rules import ChannelValues, Image, ProductDetails, Stamp
from shelfsight.catalog.store import channels, due, images, products
from shelfsight.catalog.store.changes import changes_since
from shelfsight.database import tables
from shelfsight.jobs import store
from shelfsight.jobs.trainings import Reason, Training, TrainingState
from shelfsight.registry import latest
from shelfsight.settings import ServiceSettings
from shelfsight.storage import open_storage
from tests.jobs.factory import Factory
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shelfsight.database.engine import Database

QUIET = ChannelValues(model_retrain_debounce_seconds=2)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "one")


@pytest.fixture
def factory(database: Database, tmp_path: Path, tiny_bundle: Path) -> Iterator[Factory]:
    url = database.engine.url.render_as_string(hide_password=False)
    settings = ServiceSettings(database_url=url, storage_url=str(tmp_path / "assets"))
    made = Factory(settings=settings, bundle=tiny_bundle, log=tmp_path / "trained.log")
    yield made
    made.close()


def now() -> Stamp:
    return Stamp(actor="anna", at=datetime.now(UTC))


def open_shop(database: Database, name: str, values: ChannelValues = QUIET) -> None:
    """Make a channel of two products with a photo each, which is due."""
    with database.write() as tx:
        channels.create(tx, name, values, now())
    for product in ("a", "b"):
        add(database, name, product)


def add(database: Database, name: str, product: str) -> None:
    """Add a product with a photo."""
    with database.write() as tx:
        products.add(tx, name, product, ProductDetails(name=product), now())
        sha256 = f"{hash((name, product)) % 16**12:064x}"
        photo = Image(
            product_id=product, sha256=sha256, media_type="image/jpeg", size_bytes=1, width=9, height=9,
            created_at=now().at,
        )  # fmt: skip
        images.add(tx, name, product, [photo], now())


def until(holds: Callable[[], bool], within_s: float = 60) -> None:
    ends_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_at, "it did not come to this in time"
        time.sleep(0.05)


def history(database: Database, name: str) -> list[Training]:
    """Return the trainings of a channel, the oldest first."""
    with database.read() as tx:
        return store.page(tx, name, limit=100)[0][::-1]


def is_calm(database: Database) -> bool:
    """Return whether nothing is due, waits or runs."""
    with database.read() as tx:
        unfinished = tx.execute(
            select(tables.trainings.c.id).where(tables.trainings.c.status.in_(["queued", "training"]))
        )
        waiting = tx.execute(select(tables.channels.c.id).where(tables.channels.c.train_at.is_not(None)))
        return unfinished.first() is None and waiting.first() is None


def test_every_change_of_many_shops_is_trained_once_and_never_two_at_once(
    database: Database, factory: Factory
) -> None:
    shops = [f"T_{number}" for number in range(50)]
    for shop in shops:
        open_shop(database, shop)
    factory.hire(3)
    shuffled = [(shop, product) for shop in shops for product in ("c", "d")]
    random.Random(1).shuffle(shuffled)  # noqa: S311 (no secret)
    for shop, product in shuffled:
        add(database, shop, product)
    until(lambda: is_calm(database), within_s=150)
    trained = factory.trained()
    for shop in shops:
        spans = sorted((begin, end) for begin, end, channel in trained if channel == shop)
        assert all(one[1] <= other[0] for one, other in pairwise(spans)), shop
        rows = history(database, shop)
        assert [row.status for row in rows] == [TrainingState.READY] * len(spans)
        assert len({row.version for row in rows}) == len(rows)
        with database.read() as tx:
            last_change = changes_since(tx, shop, 0, 1000)[-1].revision
            seen = tables.trainings.c.catalogue_revision
            assert tx.scalar(select(seen).where(tables.trainings.c.id == rows[-1].id)) == last_change
            assert due.get(tx, shop) == NOTHING


@pytest.mark.parametrize("kill_at", ["learning", "publishing", "published"])
def test_a_worker_that_is_killed_is_replaced_and_nothing_is_published_twice(
    database: Database, factory: Factory, kill_at: str
) -> None:
    open_shop(database, "T_1")
    factory.hire(1, kill_at=kill_at)
    until(lambda: factory.processes[0].exitcode is not None)
    factory.hire(1)
    until(lambda: is_calm(database))
    (row,) = history(database, "T_1")
    assert (row.status, row.version) == (TrainingState.READY, "1.0.1" if kill_at == "publishing" else "1.0.0")
    with database.read() as tx:
        assert len(list(tx.scalars(select(tables.model_metadata.c.version)))) == 1
    assert latest.read(open_storage(factory.settings.storage_url), "T_1") == row.version


def test_a_worker_that_slept_and_wakes_publishes_nothing_beside_who_took_over(
    database: Database, factory: Factory
) -> None:
    open_shop(database, "T_1")
    slow = Factory(settings=factory.settings, bundle=factory.bundle, log=factory.log, lasts_s=3)
    try:
        slow.hire(1)
        until(lambda: any(row.stage == "Learning" for row in history(database, "T_1")))
        sleeper = slow.processes[0].pid or 0
        os.kill(sleeper, signal.SIGSTOP)
        factory.hire(1)
        until(lambda: is_calm(database))
        os.kill(sleeper, signal.SIGCONT)
        add(database, "T_1", "c")
        until(lambda: len(history(database, "T_1")) == 2 and is_calm(database))
    finally:
        slow.close()
    assert [row.version for row in history(database, "T_1")] == ["1.0.0", "1.0.1"]
    with database.read() as tx:
        assert len(list(tx.scalars(select(tables.model_metadata.c.version)))) == 2


def test_a_training_that_runs_is_cancelled_long_before_its_end_and_publishes_nothing(
    database: Database, factory: Factory
) -> None:
    open_shop(database, "T_1")
    slow = Factory(settings=factory.settings, bundle=factory.bundle, log=factory.log, lasts_s=600)
    try:
        slow.hire(1)
        until(lambda: any(row.stage == "Learning" for row in history(database, "T_1")))
        with database.write() as tx:
            store.cancel(tx, history(database, "T_1")[0].id, now().at)
        until(lambda: history(database, "T_1")[0].status.ended)
    finally:
        slow.close()
    assert history(database, "T_1")[0].status is TrainingState.CANCELLED
    with database.read() as tx:
        assert list(tx.scalars(select(tables.model_metadata.c.version))) == []
        assert due.get(tx, "T_1").changed_since is not None  # the night will learn it


def test_a_change_during_a_training_leads_to_one_more(database: Database, factory: Factory) -> None:
    open_shop(database, "T_1", ChannelValues(model_retrain_debounce_seconds=1))
    slow = Factory(settings=factory.settings, bundle=factory.bundle, log=factory.log, lasts_s=2)
    try:
        slow.hire(1)
        until(lambda: any(row.stage == "Learning" for row in history(database, "T_1")))
        for product in ("c", "d", "e"):
            add(database, "T_1", product)
        until(lambda: len(history(database, "T_1")) == 2 and is_calm(database))
    finally:
        slow.close()
    assert [row.version for row in history(database, "T_1")] == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_shop_of_one_product_is_told_what_to_do(database: Database, factory: Factory, count: int) -> None:
    with database.write() as tx:
        channels.create(tx, "T_1", QUIET, now())
    if count:
        add(database, "T_1", "a")
    with database.write() as tx:
        store.request(tx, "T_1", reason=Reason.PERSON, requested_by="anna", now=now().at)
    factory.hire(1)
    until(lambda: is_calm(database))
    (row,) = history(database, "T_1")
    assert (row.status, row.error) == (TrainingState.IDLE, "Add a second product with photos.")
    with database.read() as tx:
        assert channels.get(tx, "T_1").settings.model_training_status == "idle"
