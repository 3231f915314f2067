"""Workers in processes of their own that train with a short stand-in, and a log of when they did."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from shelfsight.database.engine import open_database
from shelfsight.jobs import training as training_module
from shelfsight.jobs.timings import Timings
from shelfsight.jobs.training import Trainer
from shelfsight.registry import latest
from shelfsight.registry import publish as publish_module
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage
from shelfsight.training.gate import GateVerdict
from shelfsight.training.process import Order, Outcome
from shelfsight.training.progress import Step
from shelfsight.worker import working

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess

    from shelfsight.settings import ServiceSettings

QUICK = Timings(poll_s=0.05, beat_s=0.5, dead_after_s=4.0, look_s=0.1, retry_s=0.05)
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Factory:
    """Where workers work, and how.

    Attributes:
        lasts_s: how long the stand-in trains.
    """

    settings: ServiceSettings
    bundle: Path
    log: Path
    lasts_s: float = 0.05
    timings: Timings = QUICK
    processes: list[ForkServerProcess] = field(default_factory=list)

    def hire(self, number: int = 1, *, kill_at: str | None = None, concurrency: int = 2) -> None:
        """Start workers.

        Args:
            kill_at: where each kills itself in its first training: `learning`, `publishing` or `published`.
        """
        plan = (replace(self, processes=[]), kill_at, concurrency)  # processes cannot be handed on
        for _ in range(number):
            worker = _FORK.Process(target=_work, args=plan)
            worker.start()
            self.processes.append(worker)

    def close(self) -> None:
        """End all workers on the spot."""
        for worker in self.processes:
            worker.kill()
            worker.join(10)

    def trained(self) -> list[tuple[float, float, str]]:
        """Return begin, end and channel of every stand-in training that came to its end."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(one["begin"], one["end"], one["channel"]) for one in map(json.loads, lines)]


def _work(factory: Factory, kill_at: str | None, concurrency: int) -> None:
    # What a bundle is worth, and whether it is better, is tested elsewhere; here it would only take time.
    publish_module.check_in_child = lambda *_args, **_more: None  # type: ignore[attr-defined, assignment]
    training_module.judge = lambda *_reports: GateVerdict(agrees=True, reason="")  # type: ignore[attr-defined]
    database = open_database(factory.settings.database_url)
    registry = Registry(database=database, storage=open_storage(factory.settings.storage_url))
    if kill_at == "publishing":
        publish_module._Publish._record = _die  # type: ignore[method-assign, assignment]
    if kill_at == "published":
        latest.point = _die  # type: ignore[assignment]

    def train(order: Order, tell: Callable[[Step], None], should_stop: Callable[[], bool]) -> Outcome:
        begin = time.time()
        tell(Step(stage="Learning", done=0, total=1))
        if kill_at == "learning":
            _die()
        while time.time() - begin < factory.lasts_s:
            if should_stop():
                return Outcome.CANCELLED
            time.sleep(0.01)
        shutil.copytree(factory.bundle, order.out)
        line = json.dumps({"begin": begin, "end": time.time(), "channel": order.channel})
        with factory.log.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())
        return Outcome.TRAINED

    trainer = Trainer(registry=registry, storage_url=factory.settings.storage_url, train=train)
    with (
        suppress(KeyboardInterrupt),
        working(factory.settings, trainer, concurrency=concurrency, timings=factory.timings),
    ):
        Event().wait()


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
