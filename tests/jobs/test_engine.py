"""What we rely on DBOS for, and what we do where it does not help: with real processes, on both databases.

Whoever takes a newer DBOS runs this first: some of it is not documented there.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from dbos._dbos import _get_dbos_instance
from sqlalchemy import event, make_url, text

from shelfsight.database.engine import open_database
from shelfsight.errors import DatabaseError, NotFoundError, UsageError
from shelfsight.jobs import client
from shelfsight.jobs.client import EngineClient, open_connections
from shelfsight.jobs.engine import VERSION, Engine
from shelfsight.jobs.job import JobState
from tests.jobs.workshop import FAST, ROOT, open_queues_at_once, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.jobs.job import Job
    from tests.jobs.workshop import Log, Workshop


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A worker in this process, which looks into its queue now and then; stopped at the end."""
    made = Engine(url, concurrency=2, timings=replace(FAST, poll_s=1000))
    made.start({"work": lambda _: None})
    yield made
    made.stop()


def steps(log: Log, what: str, job: str) -> list[str]:
    """Return the steps of a job that began or ended, in the order of time."""
    return [event.step for event in log.events(what, job=job)]


def spans(log: Log, job: str) -> list[tuple[float, float]]:
    """Return from when to when steps of a job were done."""
    begun = [event.at for event in log.events("begin", job=job)]
    ended = [event.at for event in log.events("end", "stop", job=job)]
    return list(zip(begun, ended, strict=True))


def most_at_once(found: list[tuple[float, float]]) -> int:
    """Return how many of the spans had a moment in common."""
    changes = sorted([(start, 1) for start, _ in found] + [(end, -1) for _, end in found])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def test_the_job_of_a_killed_worker_goes_on_elsewhere_from_the_step_that_it_was_in(workshop: Workshop) -> None:
    workshop.hire(2)
    job = workshop.enqueue("1", steps={"embed": 0, "fit": 0.5, "publish": 0})
    killed = workshop.began(job, "fit")
    workshop.signal(killed, signal.SIGKILL)
    (record,) = workshop.ended(job)
    assert (record.state, record.runs) == (JobState.DONE, 2)
    assert steps(workshop.log, "begin", job) == ["embed", "fit", "fit", "publish"]
    assert steps(workshop.log, "end", job) == ["embed", "fit", "publish"]


def test_a_worker_that_slept_does_no_further_step_of_a_job_that_was_taken_over(workshop: Workshop) -> None:
    workshop.hire(2)
    job = workshop.enqueue("1", steps={"fit": 2, "publish": 0.1, "tell": 0.1})
    sleeper = workshop.began(job, "fit")
    workshop.signal(sleeper, signal.SIGSTOP)
    until(lambda: steps(workshop.log, "begin", job) == ["fit", "fit"], within_s=10)
    workshop.signal(sleeper, signal.SIGCONT)
    until(lambda: bool(workshop.log.events("stop", job=job)), within_s=2)
    (record,) = workshop.ended(job)
    assert record.state is JobState.DONE
    mine = [(event.what, event.step) for event in workshop.log.events("begin", "end", "stop") if event.pid == sleeper]
    assert mine == [("begin", "fit"), ("stop", "fit")]
    assert steps(workshop.log, "end", job) == ["fit", "publish", "tell"]
    for pid in workshop.pids - {sleeper}:
        workshop.signal(pid, signal.SIGKILL)
    later = workshop.enqueue("2")
    (record_of_later,) = workshop.ended(later)
    assert (record_of_later.state, record_of_later.worker == record.worker) == (JobState.DONE, False)
    assert [event.pid for event in workshop.log.events("end", job=later)] == [sleeper]  # under a new id


def test_sixty_jobs_run_once_each_and_one_after_the_other_for_a_key(workshop: Workshop) -> None:
    workshop.hire(3, concurrency=3)
    # DBOS takes the first of a key by time and id; while one worker takes it, a new one may become the first.
    ids = [workshop.enqueue(f"{99 - n}", key=f"channel-{n % 10}", steps={"fit": 0.03}) for n in range(60)]
    records = workshop.ended(*ids, within_s=30)
    assert Counter(record.state for record in records) == {JobState.DONE: 60}
    assert Counter(event.job for event in workshop.log.events("begin")) == dict.fromkeys(ids, 1)
    for n in range(10):
        assert most_at_once([span for one in ids[n::10] for span in spans(workshop.log, one)]) == 1
    assert most_at_once([span for one in ids for span in spans(workshop.log, one)]) > 1


def test_two_workers_never_take_two_jobs_of_a_key_when_one_is_put_in_before_the_first(
    engine: Engine, url: str
) -> None:
    status = f"{'dbos.' if url.startswith('postgresql') else ''}workflow_status"
    other: list[Thread] = []

    def take() -> list[str]:
        system = _get_dbos_instance()._sys_db
        return system.start_queued_partitioned_workflows(engine._queues[0], engine.executor_id, VERSION, 2)

    def put_in_before_and_take() -> None:
        engine.enqueue("work", key="a", job_id="0")
        with engine.connections.begin() as tx:
            tx.execute(text(f"UPDATE {status} SET created_at = 1 WHERE workflow_uuid = 'work-0'"))
        take()

    def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE") and not other:  # it has looked, and will take
            other.append(Thread(target=put_in_before_and_take))
            other[0].start()
            other[0].join(1.5)

    first = engine.enqueue("work", key="a", job_id="1")
    event.listen(engine.connections, "before_cursor_execute", interrupt)
    assert take() == [first]
    other[0].join()
    assert [record.id for record in engine.jobs("work", states={JobState.RUNNING})] == [first]
    assert len(engine.jobs("work", states={JobState.QUEUED})) == 1


def test_those_of_many_jobs_that_have_ended_are_found_however_many_there_are(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ASKED_AT_ONCE", 2)
    ids = [engine.enqueue("work", key=f"{number}", job_id=f"{number}") for number in range(5)]
    for job in (ids[0], ids[3]):
        engine.cancel(job, actor="anna")
    ended = engine.ended([*ids, "work-nobody"])
    assert [(job.id, job.state) for job in ended] == [(job, JobState.CANCELLED) for job in (ids[0], ids[3])]
    assert engine.ended([]) == []


def test_each_worker_keeps_to_its_own_concurrency(workshop: Workshop) -> None:
    one, three = workshop.hire(1, concurrency=1)[0], workshop.hire(1, concurrency=3)[0]
    ids = [workshop.enqueue(f"{n}", steps={"fit": 0.4}) for n in range(8)]
    workshop.ended(*ids)
    for pid, most in ((one, 1), (three, 3)):
        begun = [event.job for event in workshop.log.events("begin") if event.pid == pid]
        assert most_at_once([span for job in begun for span in spans(workshop.log, job)]) == most


def test_the_same_id_twice_is_one_job(workshop: Workshop) -> None:
    first = workshop.enqueue("1", key="a", steps={"fit": 0})
    assert workshop.enqueue("1", key="a", steps={"other": 0}) == first
    workshop.hire()
    workshop.ended(first)
    assert workshop.enqueue("1", key="a", steps={"fit": 0}) == first
    workshop.ended(workshop.enqueue("2", key="a", steps={"fit": 0}))
    assert steps(workshop.log, "begin", first) == ["fit"]
    assert len(workshop.client.jobs("work")) == 2


@pytest.fixture
def outage(url: str) -> Iterator[None]:
    """The database goes away and comes back: PostgreSQL ends every session, SQLite is locked for three seconds."""
    if url.startswith("postgresql"):
        server = open_database(url.replace(make_url(url).database or "", "postgres"))
        with server.write() as tx:
            name = {"name": make_url(url).database}
            tx.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), name)
        server.close()
        yield
        return
    ours = Path(make_url(url).database or "")
    held = [sqlite3.connect(file, isolation_level=None) for file in (ours, ours.with_name("shelfsight-jobs.db"))]
    for connection in held:
        connection.execute("BEGIN IMMEDIATE")
    time.sleep(3)
    for connection in held:
        connection.close()
    yield


def test_jobs_end_although_the_database_was_away(workshop: Workshop, request: pytest.FixtureRequest) -> None:
    workshop.hire(2)
    ids = [workshop.enqueue(f"{n}", key=f"{n % 3}", steps={"embed": 0.2, "fit": 0.2}) for n in range(9)]
    workshop.began(ids[0], "embed")
    request.getfixturevalue("outage")
    records = workshop.ended(*ids, within_s=30)
    assert Counter(record.state for record in records) == {JobState.DONE: 9}
    ended = Counter((event.job, event.step) for event in workshop.log.events("end"))
    assert set(ended.values()) == {1}
    assert len(ended) == 18


def test_what_may_pass_is_tried_three_times_and_what_cannot_is_not(workshop: Workshop) -> None:
    workshop.hire()
    tries = {"refuse": 1, "exit": 1, "unavailable": 3, "recover": 3}
    ids = {does: workshop.enqueue(does, steps={"fit": does, "publish": 0}) for does in tries}
    found = dict(zip(ids, workshop.ended(*ids.values()), strict=True))
    for does, times in tries.items():
        assert steps(workshop.log, "begin", ids[does]).count("fit") == times
    assert (found["refuse"].state, found["refuse"].error) == (JobState.FAILED, "picture")
    assert found["refuse"].reason == "it is no picture"
    assert (found["exit"].state, found["exit"].error) == (JobState.FAILED, "SystemExit")
    assert (found["unavailable"].state, found["unavailable"].error) == (JobState.FAILED, "storage")
    assert found["recover"].state is JobState.DONE


def test_a_job_that_kills_its_workers_has_failed_after_three(workshop: Workshop) -> None:
    workshop.hire(4, concurrency=1)
    job = workshop.enqueue("poison", key="a", steps={"embed": 0, "fit": "die"})
    (record,) = workshop.ended(job, within_s=30)
    assert (record.state, record.error) == (JobState.FAILED, "worker_died")
    assert record.reason is not None
    assert record.reason.startswith("3 workers died while they ran it")
    assert steps(workshop.log, "begin", job) == ["embed", "fit", "fit", "fit"]
    (after,) = workshop.ended(workshop.enqueue("next", key="a"))
    assert after.state is JobState.DONE


def test_cancelling_what_runs_lets_the_next_of_its_key_begin_only_when_it_has_ended(workshop: Workshop) -> None:
    workshop.hire(2)
    running = workshop.enqueue("1", key="a", steps={"fit": 30})
    workshop.began(running, "fit")
    queued, last = (workshop.enqueue(n, key="a", steps={"fit": 0}) for n in ("2", "3"))
    assert workshop.client.cancel(queued, actor="anna").state is JobState.CANCELLED
    asked_at = time.time()
    assert workshop.client.cancel(running, actor="anna").state in {JobState.RUNNING, JobState.CANCELLED}
    first, second, third = workshop.ended(running, queued, last)
    assert [first.state, second.state, third.state] == [JobState.CANCELLED, JobState.CANCELLED, JobState.DONE]
    assert (first.cancelled_by, third.cancelled_by) == ("anna", None)
    (stopped,) = workshop.log.events("stop", job=running)
    assert stopped.at - asked_at < 2
    assert len(workshop.log.events("note", job=running)) == 1  # the step that is done all the same
    assert min(event.at for event in workshop.log.events("begin", job=last)) > stopped.at
    assert workshop.log.events("begin", job=queued) == []
    assert workshop.client.cancel(last, actor="anna") == third
    with pytest.raises(NotFoundError):
        workshop.client.cancel("work-unknown", actor="anna")


def test_a_tick_of_the_clock_is_one_job_over_all_workers(workshop: Workshop) -> None:
    workshop.hire(2, ticking=True)
    until(lambda: len(workshop.log.events("tick")) >= 3, within_s=10)
    ticks = [datetime.fromisoformat(event.job) for event in workshop.log.events("tick")]
    assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(seconds=1)}


def test_a_worker_that_is_told_to_end_gives_its_jobs_back_at_once(workshop: Workshop) -> None:
    workshop.hire(2)
    job = workshop.enqueue("1", steps={"embed": 0, "fit": 0.7, "publish": 0})
    first = workshop.began(job, "fit")
    workshop.signal(first, signal.SIGTERM)
    (record,) = workshop.ended(job, within_s=4)
    assert (record.state, record.runs) == (JobState.DONE, 1)
    assert steps(workshop.log, "begin", job) == ["embed", "fit", "fit", "publish"]
    assert len({event.pid for event in workshop.log.events("begin", job=job)}) == 2
    (other,) = workshop.pids - {first}
    workshop.signal(other, signal.SIGTERM)  # it is idle
    for one in workshop.processes:
        one.join(10)
    assert [one.exitcode for one in workshop.processes] == [0, 0]
    assert max(float(event.job) for event in workshop.log.events("down")) < 5


def test_ended_jobs_are_purged_with_all_that_was_kept_of_them(workshop: Workshop, url: str) -> None:
    workshop.hire()
    old = [workshop.enqueue(f"{n}", steps={"embed": 0, "fit": 0}) for n in range(3)]
    old.append(workshop.enqueue("failed", steps={"fit": "refuse"}))
    workshop.ended(*old)
    running = workshop.enqueue("long", steps={"fit": 20})
    workshop.began(running, "fit")
    now = datetime.now(UTC)
    assert workshop.client.purge(before=now - timedelta(minutes=1), kind="work") == 0
    assert workshop.client.purge(before=now + timedelta(minutes=1), kind="other") == 0
    assert workshop.client.purge(before=now + timedelta(minutes=1), kind="work") == 4
    assert [record.id for record in workshop.client.jobs("work")] == [running]
    schema = "dbos." if url.startswith("postgresql") else ""
    connections = open_connections(url)
    with connections.connect() as connection:
        for table in ("operation_outputs", "workflow_input", "workflow_output", "workflow_status"):
            rows = connection.execute(text(f"SELECT workflow_uuid FROM {schema}{table}")).scalars()
            assert {row for row in rows if row.startswith("work-")} <= {running}, table
    connections.dispose()


def test_new_jobs_run_after_a_roll_back_and_those_of_another_version_end(workshop: Workshop) -> None:
    workshop.client.prepare()
    dbos = workshop.client._dbos
    dbos._sys_db.create_application_version(VERSION)
    dbos._sys_db.create_application_version("jobs-from-the-future")
    dbos._sys_db.update_application_version_timestamp(VERSION, 1)
    dbos.enqueue(
        {
            "workflow_name": "work",
            "queue_name": "work",
            "workflow_id": "work-begun",
            "queue_partition_key": "a",
            "app_version": "jobs-from-the-future",
        },
        {},
    )
    workshop.hire()
    (begun,) = workshop.ended("work-begun")
    assert (begun.state, begun.cancelled_by) == (JobState.CANCELLED, "upgrade")
    (new,) = workshop.ended(workshop.enqueue("new", key="a"))
    assert new.state is JobState.DONE


def test_a_process_has_one_engine_and_the_next_when_it_was_stopped(url: str) -> None:
    done = Flag()

    def work(job: Job) -> None:
        assert job.step("only", lambda: {"key": job.key, **job.payload}) == {"key": "a", "n": 1}
        done.set()

    for n in range(2):
        engine = Engine(url, concurrency=1, timings=FAST)
        engine.start({"work": work})
        other = Engine(url, concurrency=1, timings=FAST)
        with pytest.raises(UsageError, match="a job engine already runs in this process"):
            other.start({"work": work})
        other.close()
        engine.enqueue("work", key="a", job_id=f"{n}", payload={"n": 1})
        assert done.wait(10)
        assert engine.is_current(engine.executor_id)
        began = time.monotonic()
        engine.stop()
        assert time.monotonic() - began < 5
        engine.stop()
        done.clear()
    client = EngineClient(url)
    assert [record.state for record in client.jobs("work")] == [JobState.DONE, JobState.DONE]
    client.close()


def test_a_job_that_a_worker_took_and_lost_sight_of_goes_back_into_the_queue(engine: Engine, url: str) -> None:
    job = engine.enqueue("other", key="a", job_id="1")  # a kind that it does not know
    table = f"{'dbos.' if url.startswith('postgresql') else ''}workflow_status"
    with engine.connections.begin() as tx:
        taken = f"UPDATE {table} SET status = 'PENDING', executor_id = :worker WHERE workflow_uuid = :job"
        tx.execute(text(taken), {"worker": engine.executor_id, "job": job})
    assert engine.jobs(states={JobState.QUEUED}) == []
    until(lambda: len(engine.jobs("other", states={JobState.QUEUED})) == 1, within_s=5)


@pytest.mark.parametrize(
    ("kind", "key", "job_id", "payload"),
    [
        ("work", "", "1", {}),
        ("work", " ", "1", {}),
        ("work", "a", "", {}),
        ("", "a", "1", {}),
        ("work", "a", "1", {"at": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("work", "a", "1", {"share": float("nan")}),
    ],
)
def test_what_would_wait_for_ever_is_refused(kind: str, key: str, job_id: str, payload: dict[str, object]) -> None:
    client = EngineClient("sqlite:////tmp/never-opened.db")
    with pytest.raises(UsageError):
        client.enqueue(kind, key=key, job_id=job_id, payload=payload)


def test_a_database_that_does_not_answer_is_said_at_once() -> None:
    client = EngineClient("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseError, match="the job queue cannot be reached"):
        client.enqueue("work", key="a", job_id="1")
    client.close()


def test_dbos_says_nothing_by_itself_and_is_on_no_network(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.jobs.engine import Engine

migrate.prepare(open_database(sys.argv[1]))
engine = Engine(sys.argv[1], concurrency=1)
engine.start({"work": print})
ours = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
network = [line.split()[9] for name in ("tcp", "tcp6") for line in open(f"/proc/self/net/{name}").readlines()[1:]]
engine.stop()
sys.exit(any(f"socket:[{socket}]" in ours for socket in network))
"""
    url = f"sqlite:///{tmp_path / 'quiet.db'}"
    done = subprocess.run([sys.executable, "-c", script, url], cwd=ROOT, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_many_may_open_a_new_queue_at_once(tmp_path: Path) -> None:
    assert open_queues_at_once(tmp_path, 200) == [0, 0, 0, 0]
