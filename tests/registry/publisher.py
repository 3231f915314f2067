"""A publisher in a process of its own, which is killed just before one of the things that it does to the disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from sqlalchemy import event

from shelfsight.database.engine import open_database
from shelfsight.errors import ShelfsightError
from shelfsight.registry import publish as publish_module
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.registry.versions import roll_back
from shelfsight.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ON_DISK = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "shutil.rmtree"}
_IN_OBJECTS = ("put", "copy", "delete")

processes = multiprocessing.get_context("forkserver")
"""Children of a clean process that has imported everything: fast to start, and without the threads of the tests."""
processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Job:
    """What to do, where."""

    database: str
    storage: str
    options: Mapping[str, str]
    bundle: Path | None = None  # None cleans up
    version: str | None = None
    back_to: str | None = None


class Steps:
    """Counts what is done to storage and database, and kills the process before step number `kill_at`."""

    def __init__(self, kill_at: int | None) -> None:
        self.done = 0
        self._kill_at = kill_at

    def count(self) -> None:
        if self.done == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.done += 1


def run(job: Job, kill_at: int | None = None) -> int | str:
    """Do the job in a process; return how many steps it took, what error ended it, or "killed"."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_child, args=(job, kill_at, theirs))
    process.start()
    theirs.close()
    process.join()
    return ours.recv() if process.exitcode == 0 else "killed"


def run_asleep(job: Job, asleep: Event, wake: Event) -> Any:
    """Begin the job in a process that falls asleep just before it records the version; return how to hear its end."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_sleeper, args=(job, theirs, asleep, wake))
    process.start()
    return ours


def _child(job: Job, kill_at: int | None, answer: Any) -> None:
    registry = _open(job)
    steps = Steps(kill_at)
    _count_writes(registry, job, steps)
    try:
        _do(registry, job)
    except ShelfsightError as exc:
        answer.send(str(exc))
    else:
        answer.send(steps.done)


def _sleeper(job: Job, answer: Any, asleep: Event, wake: Event) -> None:
    registry = _open(job)
    record = publish_module._Publish._record

    def late(self: Any, version: Any) -> None:
        asleep.set()
        wake.wait(60)
        record(self, version)

    publish_module._Publish._record = late  # type: ignore[method-assign]
    try:
        _do(registry, job)
    except ShelfsightError as exc:
        answer.send(str(exc))
    else:
        answer.send("published")


def _open(job: Job) -> Registry:
    # What a check of a bundle is worth is tested elsewhere; here it would only take time.
    publish_module.check_in_child = lambda *_args, **_kwargs: None  # type: ignore[assignment, attr-defined]
    return Registry(database=open_database(job.database), storage=open_storage(job.storage, options=job.options))


def _do(registry: Registry, job: Job) -> None:
    if job.back_to is not None:
        roll_back(registry, "T_1", job.back_to)
    elif job.bundle is None:
        clean_up(registry)
    else:
        publish(registry, Order(folder=job.bundle, channel="T_1", version=job.version))


def _count_writes(registry: Registry, job: Job, steps: Steps) -> None:
    event.listen(registry.database.engine, "commit", lambda _connection: steps.count())
    if job.options:
        for name in _IN_OBJECTS:
            setattr(obstore, name, _counted(getattr(obstore, name), steps))
        return

    def hook(name: str, args: tuple[Any, ...]) -> None:
        opened = name == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (name in _ON_DISK or opened) and str(args[0]).startswith(job.storage):
            steps.count()

    sys.addaudithook(hook)


def _counted(function: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.count()
        return function(*args, **kwargs)

    return counted
