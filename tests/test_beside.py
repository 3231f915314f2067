"""A thread that looks again and again: whatever a look raises, the next one comes, and the log says why."""

from __future__ import annotations

import threading
from threading import Event

from structlog.testing import capture_logs

from shelfsight.beside import repeating, surviving
from shelfsight.errors import ConflictError, UnavailableError

WAIT_S = 30


def test_a_look_that_fails_is_followed_by_the_next_one_whatever_it_raised() -> None:
    failures = [UnavailableError("away"), ConflictError("refused"), ZeroDivisionError("a bug")]
    is_done = Event()

    def look() -> None:
        if failures:
            raise failures.pop(0)
        is_done.set()

    with capture_logs() as log, repeating(look, every_s=0.01, failing="nothing_done", name="looker"):
        assert is_done.wait(WAIT_S)
    assert [(line["event"], line.get("reason")) for line in log] == [
        ("nothing_done", "away"),
        ("nothing_done", "refused"),
        ("nothing_done", None),
    ]
    assert "looker" not in {thread.name for thread in threading.enumerate()}


def test_what_nobody_thought_of_is_logged_with_its_traceback_and_what_we_raise_without() -> None:
    with capture_logs() as log:
        with surviving("not_done", channel="T_1"):
            raise ConflictError("it is there")
        with surviving("not_done", channel="T_2"):
            raise KeyError("product")
        with surviving("not_done", channel="T_3"):
            pass
    assert log == [
        {"event": "not_done", "log_level": "warning", "channel": "T_1", "reason": "it is there"},
        {"event": "not_done", "log_level": "error", "channel": "T_2", "exc_info": True},
    ]


def test_the_end_of_the_block_does_not_wait_for_the_next_look() -> None:
    looks = []
    has_looked = Event()

    def look() -> None:
        looks.append(1)
        has_looked.set()

    with repeating(look, every_s=10 * WAIT_S, failing="nothing_done", name="looker"):
        assert has_looked.wait(WAIT_S)
    assert looks == [1]
