"""Workers in processes of their own, and a log of what they did and when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfsight.errors import JobCancelledError, PictureError, StorageError
from shelfsight.jobs.client import open_connections
from shelfsight.jobs.engine import Engine
from shelfsight.jobs.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess
    from multiprocessing.synchronize import Barrier

    from shelfsight.jobs.client import EngineClient
    from shelfsight.jobs.job import Job, JobRecord

FAST = Timings(poll_s=0.05, beat_s=0.2, dead_after_s=1.0, look_s=0.1, retry_s=0.05)
ROOT = Path(__file__).parents[2]
_FORK = multiprocessing.get_context("forkserver")  # imports once, before there are threads
_FORK.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a worker did: `begin`, `end`, `stop` of a step, or `up`, `tick`."""

    at: float
    pid: int
    what: str
    job: str = ""
    step: str = ""


@dataclass(frozen=True)
class Log:
    """A file to which workers append."""

    path: Path

    def add(self, what: str, job: str = "-", step: str = "-") -> None:
        """Add an event of this process."""
        line = f"{time.time():.4f} {os.getpid()} {what} {job} {step}\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def events(self, *what: str, job: str | None = None) -> list[Event]:
        """Return the events of some kinds, of all jobs or one."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        found = [Event(float(at), int(pid), *rest) for at, pid, *rest in map(str.split, lines)]
        return [one for one in found if one.what in what and job in {None, one.job}]


@dataclass
class Workshop:
    """Workers on one database."""

    url: str
    log: Log
    client: EngineClient
    processes: list[ForkServerProcess] = field(default_factory=list)

    @property
    def pids(self) -> set[int]:
        """The process ids of all workers, dead or alive."""
        return {one.pid for one in self.processes if one.pid is not None}

    def hire(self, number: int = 1, *, concurrency: int = 2, ticking: bool = False) -> list[int]:
        """Start workers and wait until they are up; return their process ids."""
        arguments = (self.url, self.log, concurrency, ticking)
        new = [_FORK.Process(target=_work_until_told, args=arguments) for _ in range(number)]
        for one in new:
            one.start()
        self.processes += new
        pids = [one.pid or 0 for one in new]
        until(lambda: set(pids) <= {event.pid for event in self.log.events("up")}, within_s=30)
        return pids

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a worker."""
        os.kill(pid, number)
        if number is signal.SIGKILL:
            next(one for one in self.processes if one.pid == pid).join(10)

    def enqueue(self, job: str, *, key: str | None = None, **payload: Any) -> str:
        """Enqueue a job of kind `work`; its key is its id by default."""
        return self.client.enqueue("work", key=key or job, job_id=job, payload=payload)

    def ended(self, *ids: str, within_s: float = 20) -> list[JobRecord]:
        """Wait for the end of jobs, and return them."""
        waiting = set(ids)

        def none_is_left() -> bool:
            waiting.difference_update({one for one in waiting if self._ended(one)})
            return not waiting

        until(none_is_left, within_s=within_s, every_s=0.1)
        found = [self.client.job(one) for one in ids]
        return [one for one in found if one is not None]

    def began(self, job: str, step: str, within_s: float = 10) -> int:
        """Wait until a step has begun; return the id of the process that does it."""
        until(lambda: step in {event.step for event in self.log.events("begin", job=job)}, within_s=within_s)
        return [event.pid for event in self.log.events("begin", job=job) if event.step == step][-1]

    def close(self) -> None:
        """End all workers."""
        for one in self.processes:
            one.kill()
            one.join(10)
        self.client.close()

    def _ended(self, id: str) -> bool:  # noqa: A002
        found = self.client.job(id)
        return found is not None and found.state.ended


def until(holds: Callable[[], bool], *, within_s: float, every_s: float = 0.03) -> None:
    """Wait until it holds, or fail."""
    ends_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_at, "not in time"
        time.sleep(every_s)


def work(log: Log, job: Job) -> None:
    """Do the steps that the payload names; each takes so many seconds, or ends as it says."""
    try:
        for name, does in job.payload.get("steps", {"only": 0}).items():
            job.step(name, lambda name=name, does=does: _step(log, job, name, does))  # type: ignore[misc]
    except JobCancelledError:
        job.step("note", lambda: log.add("note", job.id), always=True)
        raise


def _step(log: Log, job: Job, name: str, does: float | str) -> str:
    log.add("begin", job.id, name)
    match does:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit("a library's idea")
        case "refuse":
            raise PictureError("it is no picture")
        case "unavailable":
            raise StorageError("no network")
        case "recover":
            if len([one for one in log.events("begin", job=job.id) if one.step == name]) < 3:
                raise StorageError("no network")
        case float() | int():
            ends_at = time.monotonic() + does
            while (left := ends_at - time.monotonic()) > 0:
                if job.should_stop():
                    log.add("stop", job.id, name)
                    return "stopped"
                time.sleep(min(left, 0.02))
    log.add("end", job.id, name)
    return name


def open_queues_at_once(folder: Path, number: int) -> list[int | None]:
    """Let four processes open the same new queues, each at the same moment; return their exit codes."""
    together = _FORK.Barrier(4)
    processes = [_FORK.Process(target=_open_queues, args=(folder, number, together)) for _ in range(4)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    return [one.exitcode for one in processes]


def _open_queues(folder: Path, number: int, together: Barrier) -> None:
    for n in range(number):
        connections = open_connections(f"sqlite:///{folder / f'{n}.db'}")
        together.wait(30)
        connections.connect().close()
        connections.dispose()


def _work_until_told(url: str, log: Log, concurrency: int, ticking: bool) -> None:
    """Be a worker."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    engine = Engine(url, concurrency=concurrency, timings=FAST)
    if ticking:
        engine.schedule("second", "* * * * * *", lambda job: log.add("tick", job.payload["at"]))
    engine.start({"work": lambda job: work(log, job)})
    log.add("up", engine.executor_id)
    told.wait()
    began = time.monotonic()
    engine.stop(within_s=3)
    log.add("down", f"{time.monotonic() - began:.2f}")
