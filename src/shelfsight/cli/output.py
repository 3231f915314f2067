"""What a command prints: tables and progress for a person at a terminal, plain text or JSON for a pipe."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
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
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from pydantic import BaseModel

    from shelfsight.training.report import ConfusedPair, SkippedFile

_AT_TERMINAL = sys.stdout is not None and sys.stdout.isatty()  # None where the shell closed it
_WIDTH = None if _AT_TERMINAL else 200  # tables in a pipe are for programs: not folded at 80
_IN_ONE_CELL = str.maketrans("\t\r\n", "   ")

console = Console(highlight=False, emoji=False, width=_WIDTH)
"""Where results go: standard output."""

messages = Console(stderr=True, highlight=False, emoji=False)
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


def print_line(markup: str) -> None:
    """Print one line, as one line however long it is."""
    console.print(markup, soft_wrap=True)


def print_plain(text: str) -> None:
    """Print text as it is, for a program to read, and at once: the reader may be waiting."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Print rows under the names of their columns: a table at a terminal, lines with tabs in a pipe.

    Args:
        right: columns of numbers, which end at the same place.
    """
    if not sys.stdout.isatty():
        print_plain("\n".join("\t".join(cell.translate(_IN_ONE_CELL) for cell in row) for row in (columns, *rows)))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # nine columns fit into 80 letters
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print what there is to know of one thing: a table at a terminal, lines of name, tab and value in a pipe."""
    if not sys.stdout.isatty():
        print_plain("\n".join(f"{name}\t{value.translate(_IN_ONE_CELL)}" for name, value in facts))
        return
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    console.print(table)


def print_documents(documents: Iterable[BaseModel]) -> None:
    """Print documents as one JSON array, each as REST answers with it."""
    print_json("[" + ",\n".join(document.model_dump_json(by_alias=True) for document in documents) + "]")


def print_document(document: BaseModel) -> None:
    """Print a document as REST answers with it."""
    print_json(document.model_dump_json(by_alias=True))


def print_skipped(items: Sequence[SkippedFile]) -> None:
    """Print a line for each file that could not be used."""
    for item in items:
        print_line(f"[yellow]skipped[/] {escape(item.file)}: {escape(item.reason)}")


def print_json(text: str) -> None:
    """Print JSON as it is, whatever the terminal's width or colours.

    Where standard output cannot hold a character (or nothing can: half of a pair), all text is escaped to ASCII.
    """
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = "".join(letter if letter.isascii() else dumps(letter)[1:-1] for letter in text)
    print_plain(text)


def pair_table(title: str, pairs: Sequence[ConfusedPair]) -> Table:
    """Return a table of the products that were taken for others."""
    table = Table("Product", "taken for", "times", title=title, title_style="bold")
    table.columns[2].justify = "right"
    for pair in pairs:
        table.add_row(escape(pair.product), escape(pair.taken_for), str(pair.count))
    return table


def percent(share: float | None) -> str:
    """Return a share as people read it."""
    return "–" if share is None else f"{share:.1%}".replace("%", " %")


def moment(at: datetime | None) -> str:
    """Return a moment as people read it, in UTC."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"


def size(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:,.1f} kB"
