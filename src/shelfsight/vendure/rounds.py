"""Work for many channels, a few at once, and never twice at once for one: a set sees to that here, a lease elsewhere.

The thread of a channel whose server is slow keeps nobody waiting but that channel.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING

import structlog

from shelfsight.beside import repeating, surviving
from shelfsight.database import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database

LOOKS_EVERY_S = 1.0
AT_ONCE = 8
_ENDS_WITHIN_S = 5.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done for channels.

    Attributes:
        name: what a log calls it.
        find: returns the channels that there is something to do for now, the most urgent first.
        do: does it for one channel; what is left is due again.
    """

    name: str
    database: Database
    find: Callable[[Connection, datetime], list[str]]
    do: Callable[[str], None]

    @property
    def failing(self) -> str:
        """What a log says when it could not be done."""
        return f"{self.name}_not_done"

    def due(self) -> list[str]:
        """Return the channels that there is something to do for now.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self.database.read() as tx:
            return self.find(tx, clock.now(tx))


@contextmanager
def working(work: Work, *, every_s: float = LOOKS_EVERY_S) -> Iterator[None]:
    """Do what is due, in threads, while the block runs."""
    rounds = _Rounds(work)
    try:
        with repeating(rounds.look, every_s=every_s, failing=work.failing, name=work.name):
            yield
    finally:
        rounds.finish()


class _Rounds:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._running: dict[str, Thread] = {}
        self._changing = Lock()

    def look(self) -> None:
        """Begin what is due, as far as there is room.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._changing:
            running = set(self._running)
        due = [channel for channel in self._work.due() if channel not in running]
        for channel in due[: AT_ONCE - len(running)]:
            # No pool: its threads would keep the process from ending until the slowest server has answered.
            thread = Thread(target=self._run, args=(channel,), name=f"{self._work.name} {channel}", daemon=True)
            with self._changing:
                self._running[channel] = thread
            try:
                thread.start()
            except RuntimeError as exc:  # the system has no more: the rest is for the next look
                with self._changing:
                    del self._running[channel]
                _log.warning(self._work.failing, channel=channel, reason=str(exc))
                return

    def finish(self) -> None:
        """Wait a moment for what is running; others go on with what is left."""
        with self._changing:
            threads = list(self._running.values())
        for thread in threads:
            thread.join(_ENDS_WITHIN_S / len(threads))

    def _run(self, channel: str) -> None:
        try:
            with surviving(self._work.failing, channel=channel):
                self._work.do(channel)
        finally:
            with self._changing:
                del self._running[channel]
