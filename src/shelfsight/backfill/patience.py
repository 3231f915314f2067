"""Trying again what did not work because something does not answer, for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from shelfsight.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.backfill.stop import Stop

T = TypeVar("T")

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_SHORTEST_WAIT_S = 0.01


class Watch(Protocol):
    """Shows somebody how it goes. Called from several threads."""

    def begin(self, title: str, *, total: int, done: int) -> None:
        """Show that a phase begins, or goes on."""

    def advance(self, rows: int) -> None:
        """Show that so many rows more are done."""

    def tell(self, text: str) -> None:
        """Say what is out of the ordinary."""


class Patience:
    """How long to go on trying, from the first time that something does not answer; each time is told.

    Attributes:
        waits: so often something had to be tried again, up to now.
    """

    def __init__(self, stop: Stop, watch: Watch, *, seconds: float) -> None:
        """Try again for so many seconds, unless somebody asks for the end."""
        self._stop = stop
        self._watch = watch
        self._seconds = seconds
        self.waits = 0

    def __call__(self, action: Callable[[], T], *, unless: type[Exception] | tuple[()] = ()) -> T:
        """Return what the action does.

        Args:
            unless: an error that is raised at once.

        Raises:
            UnavailableError: something has not answered for longer than the patience.
            EndAskedError: somebody asked for the end while it waited.
        """
        next_s, ends_at = _FIRST_WAIT_S, 0.0
        while True:
            try:
                return action()
            except unless:
                raise
            except UnavailableError as exc:
                now = time.monotonic()
                ends_at = ends_at or now + self._seconds
                wait_s = min(next_s, ends_at - now)
                if wait_s < _SHORTEST_WAIT_S:
                    raise
                self._watch.tell(f"{exc}; trying again in {wait_s:.2g} s")
            self.waits += 1
            self._stop.sleep(wait_s)
            next_s = min(next_s * 2, _LONGEST_WAIT_S)
