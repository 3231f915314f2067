"""Runs jobs: DBOS, and what it leaves to others.

DBOS keeps the queue and the results of steps. Left to us:
- which workers are alive, and taking over from the dead: DBOS recovers only the jobs of an id that comes back;
- cancelling without letting the next job of the same key begin beside the step that still runs;
- never taking two jobs of a key at once, though one is put in before the first meanwhile;
- how many jobs a worker runs at once: DBOS keeps that in the database, and the last worker to start sets it for all;
- crons: DBOS's are up to six seconds late, and cannot take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog
from dbos import DBOS, DBOSPortableJSONSerializer, PortableWorkflowError, error
from dbos._dbos import _get_dbos_instance, _get_or_create_dbos_registry
from dbos._utils import GlobalParams

from shelfsight.database.engine import open_database
from shelfsight.errors import DatabaseError, JobCancelledError, JobFailedError, UsageError
from shelfsight.jobs.client import APPLICATION, RUNS, EngineClient, one_at_a_time
from shelfsight.jobs.crons import CRON, Cron, Crons
from shelfsight.jobs.heartbeat import Heart
from shelfsight.jobs.job import Abandoned, Job, JobRecord, JobState, Standing, failed
from shelfsight.jobs.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbos import Queue
    from dbos._sys_db import SystemDatabase

log = structlog.get_logger(__name__)

VERSION = "jobs-1"
"""Of the steps: change it when those of a kind change their order, so that unfinished jobs cannot go on with them."""

Answer = TypeVar("Answer")

_at_work = threading.Lock()
_AGAIN_AFTER_S = 1
_OURS_TO_LOG = ("Exception encountered in background workflow", "Step being automatically retried")


class Engine(EngineClient):
    """A worker: runs jobs of the kinds it was started with, beside all that a client can do."""

    def __init__(
        self,
        database_url: str,
        *,
        concurrency: int,
        executor_id: str | None = None,
        timings: Timings | None = None,
    ) -> None:
        """Prepare a worker; connects when it is started.

        Args:
            database_url: as `open_database` has it; its tables must be there.
            concurrency: how many jobs of each kind run at once here.
            executor_id: the worker's id; never that of another one. A new one by default.
            timings: for tests.
        """
        super().__init__(database_url)
        self._timings = timings or Timings()
        self._concurrency = concurrency
        self._database = open_database(database_url)
        self._heart = Heart(self._database, concurrency=concurrency, timings=self._timings, worker=executor_id)
        self._crons = Crons(self)
        self._queues: list[Queue] = []
        self._stopping = threading.Event()
        self._running: set[str] = set()
        self._unseen: dict[str, float] = {}
        self._launched = False

    @property
    def executor_id(self) -> str:
        """The id under which this worker runs jobs now."""
        return self._heart.worker

    @property
    def is_stopping(self) -> bool:
        """Whether this worker takes no more jobs."""
        return self._stopping.is_set()

    def schedule(self, name: str, cron: str, function: Callable[[Job], None]) -> None:
        """Run a function at each tick of a cron (UTC), once over all workers; the ticks of one cron take turns.

        A tick that was missed because no worker ran is made up for, the latest one alone. Call it before `start`.

        Args:
            name: sets it apart from the others.
            cron: five fields, such as `0 3 * * 1`, or six with seconds last.
            function: does it. `payload["at"]` is the tick, ISO 8601.

        Raises:
            UsageError: `cron` is none.
        """
        self._crons.add(Cron(name=name, cron=cron, run=function))

    def start(self, handlers: Mapping[str, Callable[[Job], None]]) -> None:
        """Begin to run jobs.

        Args:
            handlers: what does the jobs of each kind. It returns when a job is done; what it raises is why it failed,
                or `JobCancelledError`, which it may catch to note it, and must raise again.

        Raises:
            DatabaseError: the database does not answer.
            UsageError: another engine runs in this process, or a kind is called `cron`.
        """
        if CRON in handlers:
            raise UsageError(f"a kind of jobs cannot be called {CRON!r}: use `schedule`")
        if not _at_work.acquire(blocking=False):
            raise UsageError("a job engine already runs in this process, and DBOS allows for one: stop it first")
        self._launched = True
        try:
            self._launch({**handlers, CRON: self._crons.run} if self._crons else handlers)
        except BaseException:
            self._shut_down()
            raise

    def stop(self, within_s: float = 10) -> None:
        """Take no more jobs, end the running ones at their next step, and give them back; return when that is done.

        Args:
            within_s: how long to wait for steps that are being done. Others take such jobs over afterwards.
        """
        self._stopping.set()
        self._crons.stop()
        for queue in self._queues:
            queue._worker_concurrency = 0  # noqa: SLF001 (no public way; read at each look into the queue)
        ends_at = time.monotonic() + within_s
        while self._running and time.monotonic() < ends_at:
            time.sleep(0.02)
        if self._running:
            log.warning("jobs_left_unfinished", jobs=sorted(self._running))
        self._shut_down()

    def is_current(self, executor_id: str) -> bool:
        """Return whether a worker is alive, as far as the database knows.

        Raises:
            DatabaseError: the database does not answer.
        """
        return executor_id in self._heart.alive()

    def _launch(self, handlers: Mapping[str, Callable[[Job], None]]) -> None:
        self.prepare()
        _quieten()
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self.connections,
                "serializer": DBOSPortableJSONSerializer(),
                "executor_id": self.executor_id,
                "application_version": VERSION,
                "use_listen_notify": False,  # of no use to us, and costs a connection and a hundred wake-ups a second
                "log_level": "WARNING",
            }
        )
        for kind, handler in handlers.items():
            self._register(kind, handler)
        self._heart.start(bury=self._bury, renamed=_rename)
        DBOS.launch()
        self._adapt(_get_dbos_instance()._sys_db)  # noqa: SLF001
        if DBOS.get_latest_application_version()["version_name"] != VERSION:
            DBOS.set_latest_application_version(VERSION)  # after a roll-back too: only the latest takes new jobs
        self._crons.start()

    def _adapt(self, system: SystemDatabase) -> None:
        """Change how DBOS takes jobs from the queue; see `_worth_a_look` and `one_at_a_time`."""
        take = system.start_queued_partitioned_workflows

        def take_alone(queue: Queue, *args: Any, **kwargs: Any) -> list[str]:
            with one_at_a_time(queue.name):
                return take(queue, *args, **kwargs)

        system.start_queued_partitioned_workflows = take_alone  # type: ignore[method-assign]
        system.dequeue_scopes = self._worth_a_look  # type: ignore[method-assign]

    def _worth_a_look(self, queue_name: str) -> list[str | None]:
        """Return where DBOS should look for jobs of a kind: nowhere when none waits.

        Its own look costs 2 ms of CPU, most of it for putting SQL together; with ours, 0.05 ms, it can look often.
        """
        return [None] if self.waits(queue_name) else []

    def _register(self, kind: str, handler: Callable[[Job], None]) -> None:
        def work(payload: dict[str, Any]) -> None:  # noqa: ARG001 (in the record)
            self._run(cast("str", DBOS.workflow_id), handler)

        DBOS.workflow(name=kind, max_recovery_attempts=RUNS - 1)(work)
        registry = _get_or_create_dbos_registry()
        # A queue of this process alone: those that DBOS keeps in its database have one concurrency for all workers.
        queue = registry._register_internal_queue(  # noqa: SLF001
            kind,
            partition_concurrency=1,
            worker_concurrency=self._concurrency,
            polling_interval_sec=self._timings.poll_s,
        )
        self._queues.append(queue)

    def _run(self, id: str, handler: Callable[[Job], None]) -> None:  # noqa: A002
        """Do a job; DBOS notes what it raises."""
        self._running.add(id)
        try:
            record = self._patiently(lambda: self.job(id))
            if record is None or record.worker != self.executor_id:
                raise Abandoned  # declared dead between taking it and here
            self._handle(record, handler)
        except JobCancelledError:
            # Nothing of it runs any more. Before, DBOS would have let the next job of its key begin.
            self._patiently(lambda: self.finish_cancelled(id))
            raise Abandoned from None
        finally:
            self._running.discard(id)

    def _handle(self, record: JobRecord, handler: Callable[[Job], None]) -> None:
        run = _Run(self, record, self._timings)
        try:
            handler(Job(record, run))
        except (Abandoned, JobCancelledError):
            raise
        except BaseException as exc:  # SystemExit too: without an outcome the job would seem to run for ever
            if run.standing() is Standing.LOST:
                raise Abandoned from exc
            failure = failed(exc, step="")
            log.warning("job_failed", job=record.id, step=failure.step, error=failure.error, reason=str(failure))
            raise failure from exc

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Return what the database answers, whenever that is."""
        while True:
            try:
                return ask()
            except DatabaseError as exc:
                log.warning("job_waits_for_database", reason=str(exc))
                if self._stopping.wait(_AGAIN_AFTER_S):
                    raise Abandoned from exc

    def _bury(self) -> None:
        """Put the jobs of dead workers back into the queue."""
        running = self.running()
        alive = self._heart.alive()  # read after the jobs: who begins in between is not taken for dead
        strays = self._strays({job for job, worker in running.items() if worker == self.executor_id})
        for job, worker in running.items():
            if (worker not in alive or job in strays) and self.take_from(job, worker):
                log.warning("job_taken_over", job=job, worker=worker)
        for job in self.end_of_other_versions(VERSION, alive=alive):
            log.warning("job_of_another_version_cancelled", job=job)

    def _strays(self, mine: set[str]) -> set[str]:
        """Return those of this worker's jobs that it took from the queue and lost sight of, for some while now."""
        now = time.monotonic()
        self._unseen = {job: self._unseen.get(job, now) for job in mine - self._running}
        return {job for job, since in self._unseen.items() if now - since > self._timings.dead_after_s}

    def _shut_down(self) -> None:
        """Leave nothing behind but the steps that are still being done."""
        if not self._launched:
            self.close()
            return
        self._launched = False
        DBOS.destroy(destroy_registry=True)
        try:
            for job, worker in self.running().items():
                if worker == self.executor_id and job not in self._running and (found := self.job(job)):
                    self.give_back(job, found.kind)
        except DatabaseError as exc:
            log.warning("jobs_not_given_back", reason=str(exc))  # others take them over
        self._heart.stop()
        self.close()
        _at_work.release()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
        super().close()


class _Run:
    """This worker's hold on a job."""

    def __init__(self, engine: Engine, record: JobRecord, timings: Timings) -> None:
        self._engine = engine
        self._id = record.id
        self._worker = record.worker
        self._look_s = timings.look_s
        self.retry_s = timings.retry_s
        self._known = Standing.OURS
        self._known_at = 0.0

    def durable(self, name: str, function: Callable[[], Any]) -> Any:
        try:
            return DBOS.run_step({"name": name}, function)
        except (error.DBOSWorkflowConflictIDError, error.DBOSWorkflowCancelledError):
            raise Abandoned from None  # somebody else has it: DBOS would wait for what they make of it
        except PortableWorkflowError as exc:
            raise _as_it_was(exc) from None

    def standing(self) -> Standing:
        return self._engine._patiently(self._look)  # noqa: SLF001 (of this module)

    def glance(self) -> Standing:
        if self._gone():
            return Standing.LOST
        if time.monotonic() - self._known_at > self._look_s:
            try:
                return self._look()
            except DatabaseError:
                return self._known
        return self._known

    def wait(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while self.glance() is Standing.OURS and (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def _gone(self) -> bool:
        return self._engine.is_stopping or self._engine.executor_id != self._worker

    def _look(self) -> Standing:
        if self._gone():
            return Standing.LOST
        found = self._engine.job(self._id)
        self._known_at = time.monotonic()
        if found is None or found.state is not JobState.RUNNING or found.worker != self._worker:
            self._known = Standing.LOST
        elif found.cancelled_by is not None:
            self._known = Standing.CANCELLED
        else:
            self._known = Standing.OURS
        return self._known


def _as_it_was(found: PortableWorkflowError) -> Exception:
    """Return the error of a step that was done by an earlier run."""
    if found.name == JobCancelledError.__name__:
        return JobCancelledError(found.message)
    data = found.data if isinstance(found.data, dict) else {}
    return JobFailedError(found.message, step=str(data.get("step")), error=str(data.get("error", found.name)))


def _rename(worker: str) -> None:
    """Take jobs under another id from now on."""
    GlobalParams.executor_id = worker  # read at each look into the queue; there is no public way


def _quieten() -> None:
    """Let DBOS's log go where ours goes, not to handlers of its own; what becomes of a job, we log ourselves."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # else DBOS adds one that writes to the console
        logger.addFilter(lambda record: not record.getMessage().startswith(_OURS_TO_LOG))
