"""A worker shows that it is alive, notices when it was declared dead, and declares others dead.

A worker that was stopped for a while (a suspended laptop, SIGSTOP, a long swap) may find itself declared dead: its
jobs run elsewhere. It never comes back under its old id; it goes on under a new one, as if it had just begun.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import threading
import time
from typing import TYPE_CHECKING

import structlog

from shelfsight.beside import surviving
from shelfsight.errors import DatabaseError
from shelfsight.jobs import workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database
    from shelfsight.jobs.timings import Timings

log = structlog.get_logger(__name__)


def new_worker_id() -> str:
    """Return an id that no other worker ever has: the host, the process, and chance."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())[:40] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Heart:
    """The heartbeat of this process, in a thread and on connections of its own."""

    def __init__(self, database: Database, *, concurrency: int, timings: Timings, worker: str | None = None) -> None:
        """Prepare a heart; `start` makes it beat.

        Args:
            database: used by the heart alone, so that no busy pool keeps it from beating.
            concurrency: how many jobs of a kind this worker runs at once.
            timings: how often, and for how long a worker may be silent.
            worker: the first id; a new one by default.
        """
        self._database = database
        self._concurrency = concurrency
        self._timings = timings
        self._worker = worker or new_worker_id()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._beaten_at = time.monotonic()
        self._patient_until = 0.0

    @property
    def worker(self) -> str:
        """The id under which this process works now."""
        return self._worker

    def start(self, *, bury: Callable[[], None], renamed: Callable[[str], None]) -> None:
        """Register the worker and begin to beat.

        Args:
            bury: hands the jobs of dead workers to others. Called after every beat; one worker that does it is
                enough, and several at once do no harm.
            renamed: called with the new id when this worker had been declared dead, before it takes any job.

        Raises:
            DatabaseError: the database does not answer.
        """
        self._register()
        self._beaten_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(bury, renamed), name="jobs-heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and note that this worker has ended: others take its jobs at once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        try:
            with self._database.write() as tx:
                workers.stop(tx, self._worker)
        except DatabaseError as exc:
            log.warning("worker_end_not_noted", worker=self._worker, reason=str(exc))  # its silence will tell

    def beat(self, *, bury: Callable[[], None], renamed: Callable[[str], None]) -> None:
        """Beat once, and look after the others.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._database.write() as tx:
            known = workers.beat(tx, self._worker)
        if not known:
            self._rename(renamed)
        now = time.monotonic()
        if now - self._beaten_at > self._timings.dead_after_s / 2:
            # This process slept, or the database was away: then the others could not beat either, and come next.
            self._patient_until = now + self._timings.dead_after_s
        self._beaten_at = now
        if now >= self._patient_until:
            with self._database.write() as tx:
                dead = workers.declare_dead(tx, silent_s=self._timings.dead_after_s)
            for worker in dead:
                log.warning("worker_declared_dead", worker=worker)
        bury()

    def alive(self) -> set[str]:
        """Return the ids of the workers that are alive.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._database.read() as tx:
            return workers.alive(tx)

    def _run(self, bury: Callable[[], None], renamed: Callable[[str], None]) -> None:
        while True:
            with surviving("heartbeat_missed", worker=self._worker):
                self.beat(bury=bury, renamed=renamed)
            if self._stopping.wait(self._timings.beat_s):
                return

    def _register(self) -> None:
        with self._database.write() as tx:
            workers.register(
                tx, id=self._worker, host=platform.node(), pid=os.getpid(), concurrency=self._concurrency
            )

    def _rename(self, renamed: Callable[[str], None]) -> None:
        before, self._worker = self._worker, new_worker_id()
        self._register()
        renamed(self._worker)
        log.warning("worker_was_declared_dead", worker=before, now=self._worker)
