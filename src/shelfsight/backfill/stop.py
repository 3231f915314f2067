"""Somebody asks for the end: the page at hand is finished, and nothing begins any more."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING

from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


_STDERR = 2
_SHOW_CURSOR = b"\x1b[?25h"
"""What undoes the progress bar's hiding it."""


class EndAskedError(ShelfsightError):
    """Somebody asked for the end while there was something to wait for."""

    def __init__(self, signum: int) -> None:
        """Say by which signal."""
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Stop:
    """Whether somebody has asked for the end, by a signal or otherwise."""

    def __init__(self) -> None:
        """Begin with nobody having asked."""
        self._asked = Event()
        self.signal: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether somebody has."""
        return self._asked.is_set()

    def ask(self, signum: int = signal.SIGTERM) -> None:
        """Ask for the end."""
        self.signal = self.signal or signum
        self._asked.set()

    def check(self) -> None:
        """Return unless somebody has asked.

        Raises:
            EndAskedError: somebody has.
        """
        if self._asked.is_set():
            raise EndAskedError(self.signal or signal.SIGTERM)

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds.

        Raises:
            EndAskedError: somebody asked for the end meanwhile, or before.
        """
        if self._asked.wait(seconds):
            self.check()

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM ask while the block runs; the second of them ends the process at once."""
        if current_thread() is not main_thread():  # of a test: only the main thread may have handlers
            yield
            return
        before = {number: signal.signal(number, self._told) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        if self.is_asked:  # `sys.exit` would wait for the page on its way, which may take minutes
            if os.isatty(_STDERR):
                os.write(_STDERR, _SHOW_CURSOR)
            os._exit(128 + signum)
        self.ask(signum)
