"""A thread beside a block: for looking again and again, for renewing, for listening; and what keeps one alive."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog

from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = structlog.get_logger()


@contextmanager
def beside(work: Callable[[Event], object], *, name: str) -> Iterator[None]:
    """Do `work` in a thread while the block runs.

    Args:
        work: gets an event that is set when the block has ended, and returns soon then; that is waited for.
    """
    is_over = Event()
    thread = Thread(target=work, args=(is_over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def repeating(look: Callable[[], object], *, every_s: float, failing: str, name: str) -> Iterator[None]:
    """Look now and every so many seconds, in a thread, while the block runs; a look that fails is not the last one.

    Args:
        failing: the event in the log when a look fails.
    """

    def run(is_over: Event) -> None:
        while not is_over.is_set():
            with surviving(failing):
                look()
            is_over.wait(every_s)

    with beside(run, name=name):
        yield


@contextmanager
def surviving(event: str, **facts: object) -> Iterator[None]:
    """Log whatever the block raises, and go on after it: for threads that nobody would start again.

    What is no error of ours is logged with its traceback.

    Args:
        event: what the log calls it.
        facts: what it says besides.
    """
    try:
        yield
    except ShelfsightError as exc:
        _log.warning(event, **facts, reason=str(exc))
    except Exception:  # noqa: BLE001 (nobody thought of it, and the next time may go well)
        _log.exception(event, **facts)
