"""How a backfill is shown: a bar with rate and time left at a terminal, a line now and then in a log; and its end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from shelfsight.backfill.rules import spoken, titled
from shelfsight.cli.output import messages, print_facts, print_json
from shelfsight.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Task

    from shelfsight.backfill.report import Report
    from shelfsight.backfill.work import Findings, Plan

_LINE_EVERY_S = 30.0
_REMEMBERS_S = 120.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f}/s")


class Shown:
    """Shows how it goes on standard error."""

    def __init__(self, progress: Progress) -> None:
        """Draw on `progress`, which is running; where that is no terminal, print lines."""
        self._progress = progress
        self._is_terminal = messages.is_terminal
        self._task: TaskID | None = None
        self._title = ""
        self._total = self._done = self._began_with = 0
        self._began_at = self._line_at = 0.0

    def begin(self, title: str, *, total: int, done: int) -> None:
        """Show that a phase begins, or goes on."""
        if self._task is not None:
            self._progress.stop_task(self._task)
        self._task = self._progress.add_task(title, total=max(total, done), completed=done)
        self._title, self._total, self._done, self._began_with = title, max(total, done), done, done
        self._began_at = time.monotonic()
        self._line_at = self._began_at + _LINE_EVERY_S
        if not self._is_terminal:
            self.tell(f"{title}: {done:,} of {self._total:,} done")

    def advance(self, rows: int) -> None:
        """Show that so many rows more are done."""
        self._done += rows
        if self._task is not None:
            self._progress.advance(self._task, rows)
        now = time.monotonic()
        if not self._is_terminal and now >= self._line_at:
            self._line_at = now + _LINE_EVERY_S
            rate = (self._done - self._began_with) / (now - self._began_at)
            left = spoken((self._total - self._done) / rate) if rate else "?"
            self.tell(f"{self._title}: {self._done:,} of {self._total:,}, {rate:,.0f}/s, {left} left")

    def tell(self, text: str) -> None:
        """Say what is out of the ordinary."""
        _say(text)


@contextmanager
def progress() -> Iterator[Shown]:
    """Yield how a backfill is shown."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(
        *columns, console=messages, disable=not messages.is_terminal, speed_estimate_period=_REMEMBERS_S
    ) as shown:
        yield Shown(shown)


@contextmanager
def says_how_to_go_on(backfill: str) -> Iterator[None]:
    """Say so where something does not answer any more."""
    try:
        yield
    except UnavailableError:
        _say(f"Whatever was done is saved. To go on when it answers again: shelfsight backfill {backfill}")
        raise


def print_plan(plan: Plan, *, json: bool) -> None:
    """Print what a backfill would do."""
    if json:
        print_json(dumps({"plan": dict(plan.facts), "warnings": list(plan.warnings)}, indent=2, ensure_ascii=False))
        return
    print_facts(plan.facts)
    _warn(plan.warnings)


def print_findings(findings: Findings, *, json: bool) -> None:
    """Print what is still to be done."""
    if json:
        document = {"counts": dict(findings.counts), "open": dict(findings.open)}
        print_json(dumps(document, indent=2, ensure_ascii=False))
        return
    print_facts([(titled(name), f"{count:,}") for name, count in (*findings.counts.items(), *findings.open.items())])


def print_report(report: Report, *, json: bool) -> None:
    """Print how a backfill ended, and exit as it says."""
    if json:
        print_json(dumps(report.document(), indent=2, ensure_ascii=False))
    else:
        print_facts(report.facts())
    _warn(report.warnings)
    command = f"shelfsight backfill {report.backfill}"
    if report.outcome == "stopped":
        _say(f"To go on, here or on another machine with the same checkpoint store: {command}")
    elif report.refused:
        _say(f"{len(report.refused):,} were refused; when that is mended: {command} --retry-quarantined")
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _say(text: str) -> None:
    messages.print(escape(text), soft_wrap=True)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        messages.print(f"[yellow]Note[/]: {escape(warning)}", soft_wrap=True)
