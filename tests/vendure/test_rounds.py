"""Work for many channels: whatever goes wrong once does not end it."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

from shelfsight.errors import DatabaseError
from shelfsight.vendure.rounds import Work, working

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database


def test_a_look_that_fails_is_followed_by_the_next_one(sqlite: Database) -> None:
    failures: list[Exception] = [DatabaseError("away"), ZeroDivisionError("a bug")]
    is_done = Event()

    def find(_tx: Connection, _now: datetime) -> list[str]:
        if failures:
            raise failures.pop(0)
        return ["T_1"]

    work = Work(name="something", database=sqlite, find=find, do=lambda _: is_done.set())
    with working(work, every_s=0.01):
        assert is_done.wait(30)
