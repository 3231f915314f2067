"""Work for many channels: whatever goes wrong once does not end it."""

from __future__ import annotations

from threading import Event

from shelfsight.errors import DatabaseError
from shelfsight.vendure.rounds import Work, working


def test_a_look_that_fails_is_followed_by_the_next_one() -> None:
    failures: list[Exception] = [DatabaseError("away"), ZeroDivisionError("a bug")]
    is_done = Event()

    def due() -> list[str]:
        if failures:
            raise failures.pop(0)
        return ["T_1"]

    with working(Work(name="something", due=due, do=lambda _: is_done.set()), every_s=0.01):
        assert is_done.wait(30)
