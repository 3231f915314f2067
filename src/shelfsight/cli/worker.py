"""`shelfsight worker`: does the jobs of a service, beside its servers or on another machine."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("worker")(worker)


def worker(
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="How many trainings to do at once.")] = 1,
) -> None:
    """Train the channels that are to be trained, until Ctrl-C or SIGTERM."""
    import structlog

    from shelfsight.cli.addresses import without_secrets
    from shelfsight.cli.logs import configure_logs
    from shelfsight.cli.output import print_facts
    from shelfsight.settings import service_settings
    from shelfsight.worker import run_worker

    configure_logs(access=False)
    log = structlog.get_logger("shelfsight")
    settings = service_settings()
    places = (("Database", settings.database_url), ("Storage", settings.storage_url))
    with _until_told() as stop:
        print_facts((name, without_secrets(url)) for name, url in places)
        log.info("worker_started", concurrency=concurrency)
        run_worker(settings, concurrency=concurrency, stop=stop)
        log.info("worker_stopped")


@contextmanager
def _until_told() -> Iterator[Event]:
    """Yield what Ctrl-C and SIGTERM set, for that is how a worker is meant to end."""
    from threading import Event

    stop = Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
