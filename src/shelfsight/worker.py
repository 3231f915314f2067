"""Runs jobs until it is told to stop: chooses the adapters, as `app.py` does for the server."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from shelfsight.jobs import product_index, workers
from shelfsight.jobs.crons import CRON
from shelfsight.jobs.engine import Engine
from shelfsight.jobs.housekeeping import forget, tidy
from shelfsight.jobs.scheduler import scheduling
from shelfsight.jobs.training import KIND, Trainer
from shelfsight.registry.publish import open_registry
from shelfsight.telemetry import store as telemetry
from shelfsight.vendure import message_rules, rounds
from shelfsight.vendure import store as vendure
from shelfsight.vendure.mirror import mirror
from shelfsight.vendure.orders import orders
from shelfsight.vendure.syncs import syncs
from shelfsight.webhooks import store as webhooks
from shelfsight.webhooks.sender import sending
from shelfsight.webhooks.subscriptions import reach_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from shelfsight.database.batches import DeleteSome
    from shelfsight.jobs.job import Job
    from shelfsight.jobs.timings import Timings
    from shelfsight.registry.publish import Registry
    from shelfsight.settings import ServiceSettings, TypesenseSettings

_TIDY_AT = "0 3 * * 0"  # Sundays, 03:00 UTC
_FORGET_JOBS_AT = "30 3 * * *"
_JOBS_KEPT = timedelta(days=30)
_TICKS_KEPT = timedelta(days=14)
_DELIVERIES_KEPT = timedelta(days=30)
_EVENTS_KEPT = timedelta(days=30)


def run_worker(settings: ServiceSettings, *, concurrency: int, stop: threading.Event) -> None:
    """Run jobs until `stop` is set.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    registry = open_registry(settings)
    try:
        trainer = Trainer(registry=registry, storage_url=settings.storage_url)
        webhooks_sent = sending(registry.database, reach_of(settings.webhook_networks))
        vendure_followed = following_vendure(registry)
        with webhooks_sent, vendure_followed, working(settings, trainer, concurrency=concurrency):
            stop.wait()
    finally:
        registry.database.close()


@contextmanager
def following_vendure(registry: Registry) -> Iterator[None]:
    """Take over what changes in connected Vendure servers, and tell them what does here, while the block runs."""
    following = (syncs(registry), mirror(registry), orders(registry.database))
    with ExitStack() as running:
        for work in following:
            running.enter_context(rounds.working(work))
        yield


def old_at(now: datetime) -> dict[str, DeleteSome]:
    """Return what deletes some of that which nobody needs any more, by what it is."""
    return {
        "deliveries": lambda tx, limit: webhooks.purge(tx, now - _DELIVERIES_KEPT, limit),
        "events": lambda tx, limit: telemetry.forget(tx, now - _EVENTS_KEPT, limit),
        "messages": lambda tx, limit: vendure.purge(tx, now - message_rules.REMEMBERED, limit),
    }


@contextmanager
def working(
    settings: ServiceSettings, trainer: Trainer, *, concurrency: int, timings: Timings | None = None
) -> Iterator[Engine]:
    """Run jobs in threads while the block runs; a second one in a process is refused.

    Args:
        concurrency: so many trainings at once here.
    """
    engine = Engine(settings.database_url, concurrency=concurrency, timings=timings)
    registry = trainer.registry

    def tidy_up(_job: Job) -> None:
        tidy(registry)

    def forget_jobs(job: Job) -> None:
        now = datetime.now(UTC)
        engine.purge(before=now - _JOBS_KEPT)
        engine.purge(before=now - _TICKS_KEPT, kind=CRON)
        with registry.database.write() as tx:
            workers.forget(tx, before=now - _JOBS_KEPT)
        forget(registry.database, job, old_at(now))

    def index_products(typesense: TypesenseSettings, _job: Job) -> None:
        product_index.follow(registry.database, typesense)

    engine.schedule("tidy", _TIDY_AT, tidy_up)
    engine.schedule("forget-jobs", _FORGET_JOBS_AT, forget_jobs)
    if settings.typesense is not None:
        engine.schedule("product-index", product_index.EVERY_MINUTE, partial(index_products, settings.typesense))
    engine.start({KIND: trainer.run})
    try:
        with scheduling(registry.database, engine):
            yield engine
    finally:
        engine.stop()
