"""Ticks of the clock become jobs, the latest alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from shelfsight.errors import ConflictError, DatabaseError, UsageError
from shelfsight.jobs import crons as crons_module
from shelfsight.jobs.crons import Cron, Crons


@dataclass
class Queue:
    """Notes what is put in."""

    ids: list[str] = field(default_factory=list)
    away: bool = False

    def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any] | None = None) -> str:
        """Note the job, or fail."""
        if self.away:
            raise DatabaseError("away")
        assert kind == "cron"
        assert job_id.startswith(f"{key}-")
        assert payload is not None
        assert f"{datetime.fromisoformat(payload['at']):%Y%m%dT%H%M%SZ}" in job_id
        self.ids.append(job_id)
        return job_id


def at(text: str) -> datetime:
    """Return a time of the 20th of November 2026, a Friday."""
    return datetime.fromisoformat(f"2026-11-20T{text}").replace(tzinfo=UTC)


def test_each_tick_is_enqueued_once_and_of_those_missed_the_latest() -> None:
    queue = Queue()
    crons = Crons(queue)
    crons.add(Cron(name="minute", cron="* * * * *", run=lambda _: None))
    crons.add(Cron(name="week", cron="0 3 * * 1", run=lambda _: None))
    for now in ("10:00:30", "10:00:59", "10:01:00.001", "10:05:00.5"):
        crons.enqueue_due(at(now))
    assert queue.ids == [
        "minute-20261120T100000Z",
        "week-20261116T030000Z",
        "minute-20261120T100100Z",
        "minute-20261120T100500Z",
    ]


def test_a_tick_that_could_not_be_enqueued_is_enqueued_later() -> None:
    queue = Queue(away=True)
    crons = Crons(queue)
    crons.add(Cron(name="minute", cron="* * * * *", run=lambda _: None))
    with pytest.raises(DatabaseError):
        crons.enqueue_due(at("10:00:01"))
    queue.away = False
    crons.enqueue_due(at("10:00:02"))
    assert queue.ids == ["minute-20261120T100000Z"]


def test_nothing_ends_the_ticking_but_the_end_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crons_module, "_AGAIN_AFTER_S", 0.01)
    failures = [ConflictError("refused"), DatabaseError("away"), ZeroDivisionError("a bug")]
    is_enqueued = threading.Event()

    class Shaken(Queue):
        def enqueue(self, kind: str, *, key: str, job_id: str, payload: dict[str, Any] | None = None) -> str:
            if failures:
                raise failures.pop(0)
            is_enqueued.set()
            return super().enqueue(kind, key=key, job_id=job_id, payload=payload)

    crons = Crons(Shaken())
    crons.add(Cron(name="week", cron="0 3 * * 1", run=lambda _: None))
    crons.start()
    try:
        assert is_enqueued.wait(30)
    finally:
        crons.stop()


@pytest.mark.parametrize("cron", ["", "tomorrow", "* * *", "61 * * * *"])
def test_what_is_no_cron_is_refused(cron: str) -> None:
    with pytest.raises(UsageError, match="is no cron"):
        Cron(name="week", cron=cron, run=lambda _: None)
