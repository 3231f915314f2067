"""What is done by the clock: each tick is a job, enqueued once over all workers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from croniter import croniter  # type: ignore[import-untyped]

from shelfsight.beside import surviving
from shelfsight.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.jobs.job import Job

CRON = "cron"
"""The kind of the jobs that are ticks."""

_CLOCK_MAY_JUMP_S = 30
_AGAIN_AFTER_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Something to be done by the clock, in UTC: `cron` has five fields, or six with seconds last."""

    name: str
    cron: str
    run: Callable[[Job], None]

    def __post_init__(self) -> None:
        """Refuse what is no cron."""
        if not croniter.is_valid(self.cron):
            raise UsageError(f"{self.cron!r} of {self.name!r} is no cron: wanted five fields such as '0 3 * * 1'")

    def latest(self, now: datetime) -> datetime:
        """Return the last tick before `now`."""
        tick: datetime = croniter(self.cron, now).get_prev(datetime)
        return tick

    def next(self, now: datetime) -> datetime:
        """Return the first tick after `now`."""
        tick: datetime = croniter(self.cron, now).get_next(datetime)
        return tick


class Queue(Protocol):
    """Where ticks are put."""

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any] | None = None) -> str:
        """Put a job into the queue; the same id again changes nothing."""


class Crons:
    """The crons of a worker, in a thread of their own."""

    def __init__(self, queue: Queue) -> None:
        """Put ticks into `queue`."""
        self._queue = queue
        self._crons: dict[str, Cron] = {}
        self._enqueued: dict[str, datetime] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._crons)

    def add(self, cron: Cron) -> None:
        """Add one, before `start`."""
        self._crons[cron.name] = cron

    def start(self) -> None:
        """Begin to look at the clock."""
        if self._crons:
            self._thread = threading.Thread(target=self._watch, name="jobs-crons", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Enqueue nothing more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def run(self, job: Job) -> None:
        """Do one tick.

        Raises:
            NotFoundError: this worker knows no such cron.
        """
        cron = self._crons.get(job.key)
        if cron is None:
            raise NotFoundError(f"there is no cron {job.key!r} in this version of Shelfsight")
        cron.run(job)

    def enqueue_due(self, now: datetime) -> None:
        """Enqueue the latest tick of each cron that was not enqueued here yet; earlier ones are not made up for.

        Raises:
            DatabaseError: the database does not answer.
        """
        for cron in self._crons.values():
            tick = cron.latest(now)
            if self._enqueued.get(cron.name) != tick:
                at = tick.astimezone(UTC)
                job_id = f"{cron.name}-{at:%Y%m%dT%H%M%SZ}"
                self._queue.enqueue(CRON, key=cron.name, job_id=job_id, payload={"at": at.isoformat()})
                self._enqueued[cron.name] = tick

    def _watch(self) -> None:
        while not self._stopping.wait(self._look()):
            pass

    def _look(self) -> float:
        """Enqueue what is due; return how long to wait until the next look."""
        with surviving("ticks_not_enqueued"):
            self.enqueue_due(datetime.now(UTC))
            now = datetime.now(UTC)
            first = min(cron.next(now) for cron in self._crons.values())
            return min((first - now).total_seconds() + 0.001, _CLOCK_MAY_JUMP_S)
        return _AGAIN_AFTER_S
