"""Who is silent is dead; who finds itself dead goes on under another name; who slept judges nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database.tables import workers as table
from shelfsight.jobs import heartbeat, workers
from shelfsight.jobs.heartbeat import Heart, new_worker_id
from shelfsight.jobs.timings import Timings

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

TIMINGS = Timings(beat_s=5, dead_after_s=20)


@dataclass
class Clock:
    """Stands in for `time`."""

    now: float = 1_000

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now


@dataclass
class One:
    """A worker whose heart beats when it is told to."""

    heart: Heart
    renamed: list[str] = field(default_factory=list)
    buried: int = 0

    def beat(self) -> None:
        """Beat once."""
        self.heart.beat(bury=self._bury, renamed=self.renamed.append)

    def _bury(self) -> None:
        self.buried += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all hearts."""
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


def worker(database: Database, name: str) -> One:
    """Return a worker that has begun."""
    heart = Heart(database, concurrency=2, timings=TIMINGS, worker=name)
    heart._register()
    return One(heart)


def silent_for(database: Database, name: str, seconds: float) -> None:
    """Let a worker have been seen last so long ago."""
    with database.write() as tx:
        seen_at = datetime.now(UTC) - timedelta(seconds=seconds)
        tx.execute(update(table).where(table.c.id == name).values(seen_at=seen_at))


def states(database: Database) -> dict[str, bool]:
    """Return which workers there are, and whether they are alive."""
    with database.read() as tx:
        return {one.id: one.stopped_at is None for one in workers.all_workers(tx)}


def test_who_is_silent_for_too_long_is_dead(database: Database, clock: Clock) -> None:
    anna, _, _ = (worker(database, name) for name in ("anna", "bela", "cleo"))
    silent_for(database, "bela", 19)
    silent_for(database, "cleo", 21)
    anna.beat()
    assert states(database) == {"anna": True, "bela": True, "cleo": False}
    assert anna.buried == 1
    assert anna.heart.alive() == {"anna", "bela"}


def test_who_was_declared_dead_goes_on_under_a_new_name(database: Database, clock: Clock) -> None:
    anna, bela = worker(database, "anna"), worker(database, "bela")
    silent_for(database, "bela", 21)
    anna.beat()
    bela.beat()
    (name,) = bela.renamed
    assert bela.heart.worker == name
    assert name not in {"anna", "bela"}
    assert states(database) == {"anna": True, "bela": False, name: True}
    bela.beat()
    assert bela.renamed == [name]


def test_who_slept_gives_the_others_time_to_wake(database: Database, clock: Clock) -> None:
    anna, bela = worker(database, "anna"), worker(database, "bela")
    clock.now += 3_600
    for name in ("anna", "bela"):
        silent_for(database, name, 3_600)
    anna.beat()
    assert states(database) == {"anna": True, "bela": True}
    bela.beat()
    assert bela.renamed == []
    silent_for(database, "bela", 21)
    clock.now += 5
    anna.beat()
    assert states(database) == {"anna": True, "bela": True}
    for _ in range(3):
        clock.now += 5
        anna.beat()
    assert states(database) == {"anna": True, "bela": False}


def test_who_ends_is_not_alive_and_does_not_come_back(database: Database, clock: Clock) -> None:
    anna = worker(database, "anna")
    anna.heart.stop()
    assert states(database) == {"anna": False}
    with database.write() as tx:
        assert not workers.beat(tx, "anna")
        assert workers.forget(tx, before=datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert states(database) == {}


def test_a_worker_is_told_apart_from_every_other() -> None:
    ids = {new_worker_id() for _ in range(100)}
    assert len(ids) == 100
    assert "local" not in ids


@pytest.mark.parametrize(("beat_s", "dead_after_s"), [(5, 9), (0, 20), (5, 0)])
def test_timings_with_which_the_living_would_be_buried_are_refused(beat_s: float, dead_after_s: float) -> None:
    with pytest.raises(ValueError, match="dead_after_s"):
        Timings(beat_s=beat_s, dead_after_s=dead_after_s)


def test_a_dead_workers_jobs_are_taken_over_within_half_a_minute() -> None:
    timings = Timings()
    assert timings.dead_after_s + timings.beat_s + timings.poll_s < 30
