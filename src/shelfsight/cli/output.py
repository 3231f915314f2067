"""What a command prints: tables and progress for a person at a terminal, plain text or JSON for a pipe."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIPE_WIDTH = None if sys.stdout.isatty() else 200  # lines in a pipe are for programs: not folded at 80

console = Console(highlight=False, width=_PIPE_WIDTH)
"""Where results go: standard output."""

messages = Console(stderr=True, highlight=False)
"""Where progress and errors go: standard error."""


class Bars:
    """One progress bar for each stage of the work."""

    def __init__(self, progress: Progress) -> None:
        """Draw on `progress`, which is running."""
        self._progress = progress
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        """Complete the bar of the stage before and begin the next."""
        self.finish()
        self._task = self._progress.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def finish(self) -> None:
        """Complete the last bar, also one whose length was not known."""
        if self._task is not None:
            done = self._progress.tasks[self._task].completed
            total = self._progress.tasks[self._task].total
            self._progress.update(self._task, total=total or 1, completed=done if total else 1)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Yield progress bars on standard error; on no terminal they stay silent."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as progress:
        bars = Bars(progress)
        yield bars
        bars.finish()


def print_json(text: str) -> None:
    """Print JSON as it is, whatever the terminal's width or colours."""
    sys.stdout.write(text + "\n")


def percent(share: float | None) -> str:
    """Return a share as people read it."""
    return "–" if share is None else f"{share:.1%}".replace("%", " %")
