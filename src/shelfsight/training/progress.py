"""How long work tells of its progress, without knowing who listens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_MOST_EVERY_S = 0.2


class Progress(Protocol):
    """Hears of stages, one after the other, and of the steps within each."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins, of `total` steps where that is known."""

    def advance(self, steps: int = 1) -> None:
        """Some steps of the stage are done."""


class Silent:
    """Listens to nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far long work is: `done` of `total` in its present stage, None where nobody knows how much there is."""

    stage: str
    done: int
    total: int | None


class Counting:
    """Counts the steps and tells how far the work is: at every stage's begin and end, and now and then between."""

    def __init__(self, tell: Callable[[Step], None]) -> None:
        """Tell it to `tell`."""
        self._tell = tell
        self._stage = ""
        self._total: int | None = None
        self._done = 0
        self._told_at = 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin to count anew."""
        self._stage, self._total, self._done = name, total, 0
        self._say()

    def advance(self, steps: int = 1) -> None:
        """Count."""
        self._done += steps
        if self._done == self._total or time.monotonic() - self._told_at >= _AT_MOST_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._told_at = time.monotonic()
        self._tell(Step(stage=self._stage, done=self._done, total=self._total))
