"""The queue as seen from outside: enqueue, look, cancel, purge. Runs nothing.

Of all modules only this one and `engine` import dbos. What they use of it beyond its documentation is pinned by
tests/jobs/test_engine.py.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbos import DBOSClient, DBOSPortableJSONSerializer, PortableWorkflowError
from sqlalchemy import Engine as Connections
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shelfsight.database.engine import first_line
from shelfsight.errors import DatabaseError, NotFoundError, UsageError
from shelfsight.jobs.job import JobRecord, JobState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dbos import WorkflowStatus
    from sqlalchemy import Connection

APPLICATION = "shelfsight"
RUNS = 3
"""So many workers may die of a job; then it has failed."""

CANCEL = "cancelled_by"
"""The attribute of a workflow that asks for its end."""

_STATES = {
    "DELAYED": JobState.QUEUED,
    "ENQUEUED": JobState.QUEUED,
    "PENDING": JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "ERROR": JobState.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}
_ENDED = [status for status, state in _STATES.items() if state.ended]
_WAIT_FOR_LOCK_S = 30
_CONNECT_WITHIN_S = 5
_IDLE_IN_TRANSACTION_S = 5
_BATCH = 500
_ASKED_AT_ONCE = 10_000  # ids in one statement; SQLite takes 32,766 values
_LOCK = 0x5E1F
"""Key of our advisory locks beside those of others, who have only one number."""

_alone: ContextVar[str | None] = ContextVar("_alone", default=None)
_ANY_WAITS = "SELECT 1 FROM {schema}workflow_status WHERE queue_name = :kind AND status = 'ENQUEUED' LIMIT 1"


def open_connections(database_url: str) -> Connections:
    """Return a pool of connections to where DBOS keeps its tables. Nothing is asked of it yet.

    On PostgreSQL that is a schema `dbos` of the same database; on SQLite a file beside ours, `shelfsight-jobs.db`
    for `shelfsight.db`, so that the many small writes of the queue wait for nobody.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        ours = Path(url.database or "")
        file = ours.with_name(f"{ours.stem}-jobs{ours.suffix}")
        file.parent.mkdir(parents=True, exist_ok=True)
        connections = create_engine(url.set(drivername="sqlite+pysqlite", database=str(file)), pool_size=20)
        event.listen(connections, "connect", _prepare_sqlite)
        event.listen(connections, "begin", _lock_sqlite)
        return connections
    connections = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_WITHIN_S, "application_name": "shelfsight-jobs"},
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=15,
    )
    event.listen(connections, "connect", _prepare_postgresql)
    event.listen(connections, "begin", _lock_postgresql)
    return connections


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Let the transactions of this thread, in the block, wait for the end of those of all others that say the same.

    DBOS takes a job in two statements: it looks for the first of each key that has none running, and takes it. In
    between another worker may take one that has just become the first of the key, and both would run.
    """
    token = _alone.set(what)
    try:
        yield
    finally:
        _alone.reset(token)


def _lock_sqlite(connection: Connection) -> None:
    if _alone.get() is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock_postgresql(connection: Connection) -> None:
    what = _alone.get()
    if what is not None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, _number(what)))


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big", signed=True)


def _prepare_sqlite(connection: sqlite3.Connection, _entry: object) -> None:
    connection.isolation_level = "IMMEDIATE"  # as DBOS does with connections of its own
    connection.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_LOCK_S * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    ends_at = time.monotonic() + _WAIT_FOR_LOCK_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # Two that open a new file at once: for this statement alone SQLite does not wait.
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.02)
        else:
            return


def _prepare_postgresql(connection: Any, _entry: object) -> None:
    """End a session that was stopped in a transaction: others wait for its locks. DBOS's last milliseconds."""
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_S}s'")
    connection.commit()


class EngineClient:
    """The job queue, for a process that puts jobs in or looks at them; safe to use from many threads."""

    def __init__(self, database_url: str) -> None:
        """Prepare to use the queue beside the database at `database_url`; connects when first used."""
        self.connections = open_connections(database_url)
        postgresql = self.connections.dialect.name == "postgresql"
        # Without a transaction, one round trip instead of three; on SQLite a SELECT begins none anyway.
        alone = {"isolation_level": "AUTOCOMMIT"} if postgresql else {}
        self._glances = self.connections.execution_options(**alone)
        self._any_waits = text(_ANY_WAITS.format(schema="dbos." if postgresql else ""))
        self._lock = threading.Lock()
        self._prepared = False
        self._dbos = DBOSClient(
            system_database_engine=self.connections,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def prepare(self) -> None:
        """Make DBOS's tables, or bring them up to date; every other call does so when it is the first.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._lock, _translated():
            if not self._prepared:
                self._dbos._sys_db.run_migrations()  # noqa: SLF001 (a client of DBOS has no public way)
                self._prepared = True

    def close(self) -> None:
        """Close every connection."""
        self._dbos.destroy()
        self.connections.dispose()

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any] | None = None) -> str:
        """Put a job into the queue of its kind; return its id, `kind-job_id`. The same id again changes nothing.

        Args:
            kind: what is to be done; workers know the kinds they were started with.
            key: jobs of a kind with the same key run one after the other, in the order in which they came; on SQLite
                DBOS keeps the time of that in whole seconds, and within one second the order is that of their ids.
            job_id: sets it apart from all other jobs of this kind.
            payload: what to do it with; JSON.

        Raises:
            DatabaseError: the database does not answer.
            UsageError: there is no key, no id, or a payload that is no JSON.
        """
        if not kind or not key.strip() or not job_id.strip():
            raise UsageError(f"a job needs a kind, a key and an id, got {kind!r}, {key!r} and {job_id!r}")
        workflow = f"{kind}-{job_id}"
        try:
            json.dumps(payload, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise UsageError(f"the payload of {workflow} is no JSON ({exc})") from exc
        with self._asked() as dbos:
            dbos.enqueue(
                {
                    "workflow_name": kind,
                    "queue_name": kind,
                    "workflow_id": workflow,
                    "queue_partition_key": key,  # without one it would wait for ever
                },
                payload or {},
            )
        return workflow

    def job(self, id: str) -> JobRecord | None:  # noqa: A002 (what it is called everywhere)
        """Return a job, None where there is none of this id.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._asked() as dbos:
            found = dbos.list_workflows(workflow_ids=[id])
        return _record(found[0]) if found else None

    def jobs(
        self, kind: str | None = None, *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[JobRecord]:
        """Return the latest jobs, the newest first.

        Args:
            kind: of this kind alone.
            states: in one of these states; in any, if there are none.
            limit: so many at most.

        Raises:
            DatabaseError: the database does not answer.
        """
        statuses = [status for status, state in _STATES.items() if state in states]
        with self._asked() as dbos:
            found = dbos.list_workflows(name=kind, status=statuses, limit=limit, sort_desc=True)
        return [_record(one) for one in found]

    def ended(self, ids: Collection[str]) -> list[JobRecord]:
        """Return those of these jobs that have ended.

        Raises:
            DatabaseError: the database does not answer.
        """
        asked, found = list(ids), []
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            with self._asked() as dbos:
                found += dbos.list_workflows(workflow_ids=asked[start : start + _ASKED_AT_ONCE], status=_ENDED)
        return [_record(one) for one in found]

    def cancel(self, id: str, *, actor: str) -> JobRecord:  # noqa: A002
        """Ask for the end of a job and return it: cancelled where it waited, else still running, until it notices.

        A job that has ended stays as it is.

        Raises:
            DatabaseError: the database does not answer.
            NotFoundError: there is no such job.
        """
        if self._existing(id).state.ended:
            return self._existing(id)
        with self._asked() as dbos:
            # First the flag: whoever takes the job from the queue after the look below sees it, and does nothing.
            # DBOS must not cancel what runs: the next job of the same key would begin beside it.
            dbos.update_workflow_attributes(id, {CANCEL: actor}, merge=True)
            if self._existing(id).state is JobState.QUEUED:
                dbos.cancel_workflow(id)
        return self._existing(id)

    def purge(self, *, before: datetime, kind: str | None = None) -> int:
        """Remove jobs that ended before, with all that was kept of their steps, in batches; return how many.

        Raises:
            DatabaseError: the database does not answer.
        """
        removed = 0
        while True:
            with self._asked() as dbos:
                found = dbos.list_workflows(
                    name=kind,
                    status=_ENDED,
                    completed_before=before.astimezone(UTC).isoformat(),
                    limit=_BATCH,
                    load_input=False,
                    load_output=False,
                )
                dbos.delete_workflows([one.workflow_id for one in found])
            removed += len(found)
            if len(found) < _BATCH:
                return removed

    def finish_cancelled(self, id: str) -> None:  # noqa: A002
        """Mark a job as cancelled that has noticed; for the worker that ran it."""
        with self._asked() as dbos:
            dbos.cancel_workflow(id)

    def give_back(self, id: str, kind: str) -> None:  # noqa: A002
        """Put a job that its worker left unfinished back into the queue, and forget how often it was begun."""
        with self._asked() as dbos:
            dbos.resume_workflow(id, queue_name=kind)

    def waits(self, kind: str) -> bool:
        """Return whether a job of a kind waits: the cheapest of questions, asked many times a second."""
        with _translated(), self._glances.connect() as connection:
            return connection.execute(self._any_waits, {"kind": kind}).first() is not None

    def running(self) -> dict[str, str]:
        """Return the workers of the jobs that run, alive or not."""
        with self._asked() as dbos:
            found = dbos.list_workflows(status="PENDING", load_input=False, load_output=False)
        return {one.workflow_id: one.executor_id or "" for one in found}

    def take_from(self, id: str, worker: str) -> bool:  # noqa: A002
        """Put a job of a dead worker back into the queue; return False where somebody else did, or it has ended."""
        with self._asked() as dbos:
            # What `DBOS._recover_pending_workflows` does, which would wait for ever while the database is away.
            return dbos._sys_db.reenqueue_for_recovery(id, [worker], "")  # noqa: SLF001

    def end_of_other_versions(self, version: str, *, alive: set[str]) -> list[str]:
        """Cancel jobs begun by another version of Shelfsight, whose steps this one does not know; return which.

        Those of workers that are alive are left to them.
        """
        with self._asked() as dbos:
            others = [
                one["version_name"] for one in dbos.list_application_versions() if one["version_name"] != version
            ]
            if not others:
                return []
            begun = dbos.list_workflows(
                app_version=others, status=["ENQUEUED", "PENDING"], load_input=False, load_output=False
            )
            left = [one.workflow_id for one in begun if one.executor_id not in alive]
            for one in left:
                dbos.update_workflow_attributes(one, {CANCEL: "upgrade"}, merge=True)
            if left:
                dbos.cancel_workflows(left)
        return left

    def _existing(self, id: str) -> JobRecord:  # noqa: A002
        found = self.job(id)
        if found is None:
            raise NotFoundError(f"there is no job {id!r}")
        return found

    @contextmanager
    def _asked(self) -> Iterator[DBOSClient]:
        if not self._prepared:
            self.prepare()
        with _translated():
            yield self._dbos


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the database into ours."""
    try:
        yield
    except DBAPIError as exc:
        raise DatabaseError(f"the job queue cannot be reached ({first_line(exc)}): try again") from exc
    except SQLAlchemyError as exc:
        raise DatabaseError(f"the job queue cannot be reached ({exc}): try again") from exc


def _record(found: WorkflowStatus) -> JobRecord:
    """Return a job, from what DBOS knows of it."""
    state = _STATES[found.status]
    reason, error = _outcome(found)
    arguments = found.input["args"] if isinstance(found.input, dict) else ()
    return JobRecord(
        id=found.workflow_id,
        kind=found.name,
        key=found.queue_partition_key or "",
        state=state,
        payload=arguments[0] if arguments else {},
        reason=reason,
        error=error,
        cancelled_by=(found.attributes or {}).get(CANCEL),
        worker=found.executor_id,
        runs=found.recovery_attempts or 0,
        queued_at=_instant(found.created_at or 0),
        started_at=None if found.dequeued_at is None else _instant(found.dequeued_at),
        ended_at=None if found.completed_at is None else _instant(found.completed_at),
    )


def _outcome(found: WorkflowStatus) -> tuple[str | None, str | None]:
    """Return why a job failed: a sentence and the code of the error."""
    if found.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return f"{RUNS} workers died while they ran it: look into their logs before you start it again", "worker_died"
    if not isinstance(found.error, PortableWorkflowError):
        return (str(found.error), "unknown") if found.error else (None, None)
    data = found.error.data if isinstance(found.error.data, dict) else {}
    return found.error.message, str(data.get("error", found.error.name))


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
