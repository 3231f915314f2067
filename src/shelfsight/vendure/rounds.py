"""Work for many channels, a few at once, and never twice at once for one: a set sees to that here, a lease elsewhere.

The thread of a channel whose server is slow keeps nobody waiting but that channel.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING

import structlog

from shelfsight.beside import beside
from shelfsight.database import clock
from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from threading import Event

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

    def run(stop: Event) -> None:
        while not stop.wait(every_s):
            rounds.look()

    try:
        with beside(run, name=work.name):
            yield
    finally:
        rounds.finish()


class _Rounds:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._running: dict[str, Thread] = {}
        self._changing = Lock()

    def look(self) -> None:
        """Begin what is due, as far as there is room."""
        with self._changing:
            running = set(self._running)
        try:
            due = [channel for channel in self._work.due() if channel not in running]
        except ShelfsightError as exc:
            _log.warning(f"{self._work.name}_not_done", reason=str(exc))
            return
        except Exception:  # noqa: BLE001 (the next look may go well)
            _log.exception(f"{self._work.name}_not_done")
            return
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
                _log.warning(f"{self._work.name}_not_done", channel=channel, reason=str(exc))
                return

    def finish(self) -> None:
        """Wait a moment for what is running; others go on with what is left."""
        with self._changing:
            threads = list(self._running.values())
        for thread in threads:
            thread.join(_ENDS_WITHIN_S / len(threads))

    def _run(self, channel: str) -> None:
        try:
            self._work.do(channel)
        except ShelfsightError as exc:
            _log.warning(f"{self._work.name}_not_done", channel=channel, reason=str(exc))
        except Exception:  # noqa: BLE001 (else nobody would know)
            _log.exception(f"{self._work.name}_not_done", channel=channel)
        finally:
            with self._changing:
                del self._running[channel]
