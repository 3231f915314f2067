"""A run in a process of its own, which a signal meets just before one of the things that it does to either side."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from pymongo.collection import Collection
from sqlalchemy import event

from shelfsight.backfill.checkpoints.mongodb import MongoCheckpoints
from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.inventory_fields.store.connection import Connected
from shelfsight.backfill.rules import Pace
from shelfsight.backfill.stop import Stop
from shelfsight.errors import ShelfsightError
from shelfsight.partners.mongo import Mongo
from tests.backfill.inventory.shop import Shop, run
from tests.backfill.typesense_server import TypesenseServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.backfill.checkpoints import Checkpoints
    from shelfsight.settings import PostgresSettings

processes = multiprocessing.get_context("forkserver")
"""Children of a clean process that has imported everything: fast to start, and without the threads of the tests."""
processes.set_forkserver_preload([__name__])


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, and where its checkpoint is: `sqlite:///…`, or `mongodb://…` and the name of a collection."""

    settings: PostgresSettings
    typesense_url: str
    store: str
    page: int = 3
    collection: str = "checkpoints"

    def open_store(self) -> Checkpoints:
        """Return the store of checkpoints."""
        if self.store.startswith("mongodb"):
            return MongoCheckpoints(Mongo(self.store), database=self.settings.database, collection=self.collection)
        return SqlCheckpoints(self.store)


class Steps:
    """Counts what is done to either side and to the checkpoint, and sends itself a signal before one of them."""

    def __init__(self, at: int | None, signum: int) -> None:
        self.done = 0
        self._at, self._signum = at, signum

    def count(self) -> None:
        if self.done == self._at:
            os.kill(os.getpid(), self._signum)
        self.done += 1


def run_child(job: Job, at: int | None = None, signum: int = signal.SIGKILL) -> tuple[str, int]:
    """Run it in a process; return "killed", an error's text, or how it ended, and how many steps it took."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_child, args=(job, at, signum, theirs))
    process.start()
    theirs.close()
    process.join(60)
    if process.exitcode is None:
        process.kill()
        return "hangs", 0
    answer: tuple[str, int] = ours.recv() if process.exitcode == 0 else ("killed", 0)
    return answer


def _child(job: Job, at: int | None, signum: int, answer: Any) -> None:
    steps = Steps(at, signum)
    store = job.open_store()
    _count(steps, store)
    stop = Stop()
    shop = Shop(settings=job.settings, typesense=TypesenseServer(url=job.typesense_url))
    try:
        with stop.by_signals():
            report = run(shop, store, stop=stop, pace=Pace(size=job.page), page_size=2)
    except ShelfsightError as exc:
        answer.send((str(exc), steps.done))
    else:
        answer.send((f"{report.outcome} {report.exit_code}", steps.done))


def _count(steps: Steps, store: Checkpoints) -> None:
    for name in ("all", "change"):
        setattr(Connected, name, _counted(getattr(Connected, name), steps))
    httpx2.Client.send = _counted(httpx2.Client.send, steps)  # type: ignore[method-assign]
    if isinstance(store, SqlCheckpoints):
        event.listen(store._database.engine, "commit", lambda _: steps.count())
    else:
        for name in ("find_one_and_update", "update_one", "bulk_write"):
            setattr(Collection, name, _counted(getattr(Collection, name), steps))


def _counted(function: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.count()
        return function(*args, **kwargs)

    return counted
