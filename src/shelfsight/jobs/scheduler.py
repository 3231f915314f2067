"""Begin trainings that are due, and hand those that wait to the job queue: a look at the database each second.

Nothing is handed over in memory: a change, the training that it leads to, and the job that does it are each written
before the next is looked for. So nothing is lost when a process dies between two of them, and nothing is done twice,
however many workers look: a channel has one waiting training at most, and a training is one job.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from shelfsight.beside import repeating
from shelfsight.catalog.store import due
from shelfsight.errors import NotFoundError
from shelfsight.jobs import store
from shelfsight.jobs.job import JobState
from shelfsight.jobs.training import KIND
from shelfsight.jobs.trainings import Reason, TrainingState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shelfsight.database.engine import Database
    from shelfsight.jobs.job import JobRecord

LOOKS_EVERY_S = 1.0
BY_ITSELF = "system"
_AT_ONCE = 100
_LOST_EVERY = 10  # times that
_NOBODY_SAYS_WHY = "its job ended without a reason: train again"


class Queue(Protocol):
    """Where jobs wait; the same id twice is one job."""

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any]) -> str:
        """Put a job in, and return its id."""

    def ended(self, ids: Collection[str]) -> list[JobRecord]:
        """Return those of these jobs that have ended."""


class Scheduler:
    """Looks for what is due."""

    def __init__(self, database: Database, queue: Queue) -> None:
        """Look in `database`, and put jobs into `queue`."""
        self._database, self._queue = database, queue

    def look(self) -> int:
        """Look once; return how many trainings were handed to the queue.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._database.read() as tx:
            waiting = due.due_channels(tx, datetime.now(UTC), _AT_ONCE)
        for channel in waiting:
            self._request(channel)
        with self._database.read() as tx:
            trainings = store.not_enqueued(tx, _AT_ONCE)
        for training in trainings:
            payload = {"training": training.id}
            self._queue.enqueue(KIND, key=training.channel, job_id=str(training.id), payload=payload)
            with self._database.write() as tx:
                store.note_enqueued(tx, training.id, datetime.now(UTC))
        return len(trainings)

    def end_of_lost(self) -> list[int]:
        """End trainings whose job ended without saying so, as one does whose every worker died of it; return them.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._database.read() as tx:
            trainings = {f"{KIND}-{training}": training for training in store.unfinished(tx)}
        lost = []
        for job in self._queue.ended(trainings):
            state = TrainingState.CANCELLED if job.state is JobState.CANCELLED else TrainingState.FAILED
            training = trainings[job.id]
            with self._database.write() as tx:
                store.end(tx, training, state, error=job.reason or _NOBODY_SAYS_WHY, now=datetime.now(UTC))
            lost.append(training)
        return lost

    def _request(self, channel: str) -> None:
        now = datetime.now(UTC)
        try:
            with self._database.write() as tx:
                if channel in due.due_channels(tx, now, _AT_ONCE):  # no other worker was faster
                    store.request(tx, channel, reason=Reason.CHANGES, requested_by=BY_ITSELF, now=now)
        except NotFoundError:
            return  # deleted since


@contextmanager
def scheduling(database: Database, queue: Queue, *, every_s: float = LOOKS_EVERY_S) -> Iterator[None]:
    """Look in threads while the block runs."""
    scheduler = Scheduler(database, queue)
    looking = repeating(scheduler.look, every_s=every_s, failing="nothing_scheduled", name="schedule-trainings")
    ending = repeating(
        scheduler.end_of_lost, every_s=_LOST_EVERY * every_s, failing="lost_trainings_not_ended", name="end-trainings"
    )
    with looking, ending:
        yield
