"""`shelfsight train`: photos in, a bundle out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.training.report import Report
    from shelfsight.training.train import TrainingOptions

STOPPED = "Stopped. Nothing was replaced, and photos already looked at are remembered."

_MOST_PAIRS = 5
_MOST_SKIPPED = 10


class HeadChoice(StrEnum):
    """How the head is fitted, as the command line names it."""

    AUTO = "auto"
    MEAN = "mean"
    RIDGE = "ridge"
    LDA = "lda"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("train")(train)


def train(
    source: Annotated[Path, typer.Argument(help="Folder with one sub-folder per product, or CSV image,product.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the bundle; an older one is replaced.")],
    channel: Annotated[str, typer.Option(help="Id of the channel, the shop.")] = "default",
    version: Annotated[str, typer.Option(help="Version of the model, such as 1.4.2.")] = "1.0.0",
    head: Annotated[
        HeadChoice, typer.Option(help="How to fit; auto goes by the number of photos.")
    ] = HeadChoice.AUTO,
    seed: Annotated[int, typer.Option(min=0, help="Decides which photos are held out.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the quality report as JSON.")] = False,
) -> None:
    """Train a recogniser from product photos and write it as a bundle for browsers, phones and servers."""
    from shelfsight.cli.output import print_json
    from shelfsight.training.rules import HeadKind
    from shelfsight.training.train import TrainingOptions

    options = TrainingOptions(
        channel=channel,
        version=version,
        head=None if head is HeadChoice.AUTO else HeadKind(head.value),
        seed=seed,
    )
    report = run_training(source, out, options)
    if json:
        print_json(report.model_dump_json(by_alias=True, exclude_none=True, exclude={"images"}))
    else:
        show_report(report, out)


def run_training(source: Path, out: Path, options: TrainingOptions) -> Report:
    """Return the report of a training that shows its progress.

    Raises:
        typer.Exit: Ctrl-C; what there is to say has been said.
    """
    from shelfsight.cli.output import messages, progress_bars
    from shelfsight.settings import cache_dir
    from shelfsight.training.train import train as run

    try:
        with progress_bars() as bars:
            return run(source, out, cache_dir=cache_dir(), options=options, progress=bars)
    except KeyboardInterrupt:
        messages.print(STOPPED, soft_wrap=True)
        raise typer.Exit(130) from None


def show_report(report: Report, out: Path) -> None:
    """Print what a person wants to know of a training."""
    from rich.markup import escape
    from rich.table import Table

    from shelfsight.cli.output import console, pair_table, print_line, print_skipped

    table = Table(
        title=f"Channel {report.channel_id}, version {report.version}", show_header=False, title_style="bold"
    )
    for name, value in _rows(report):
        table.add_row(name, value)
    console.print(table)
    if report.confusions:
        console.print(pair_table("Most confused", report.confusions[:_MOST_PAIRS]))
    for note in report.notes:
        print_line(f"[yellow]![/] {escape(note)}")
    print_skipped(report.skipped[:_MOST_SKIPPED])
    if len(report.skipped) > _MOST_SKIPPED:
        print_line(f"… and {len(report.skipped) - _MOST_SKIPPED} more: see report.json")
    print_line(f"Bundle: {escape(str(out))}   Look at: {escape(str(out / 'report.html'))}")


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what there is to know, and what it is."""
    from shelfsight.cli.output import percent

    yield "Products, photos", f"{report.product_count}, {report.image_count}"
    yield "Head", f"{report.head} on {report.backbone}"
    if report.held_out:
        low, high = report.held_out.accuracy_interval
        right = f"[bold]{percent(report.held_out.accuracy)} right[/] ({percent(low)} to {percent(high)})"
        yield f"Held-out {report.held_out.basis}", right
        yield "Right one among the top 3", percent(report.held_out.top3)
    answered = (
        f"answers {percent(report.threshold.answered)}, of which "
        f"{percent(report.threshold.accuracy_when_answered)} right"
    )
    refused = f"refuses {percent(report.threshold.unknown_refused)} of unknown products"
    yield "Threshold", f"{report.threshold.value:.2f}: {answered}; {refused}"
    yield "Time", f"{report.training_duration:.1f} s"
