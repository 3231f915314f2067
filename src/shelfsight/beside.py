"""A thread beside a block: for looking again and again, for renewing, for listening."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
