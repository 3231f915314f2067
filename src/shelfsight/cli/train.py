"""`shelfsight train`: photos in, a bundle out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shelfsight.training.report import Report


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
    from shelfsight.cli.output import print_json, progress_bars
    from shelfsight.settings import cache_dir
    from shelfsight.training.rules import HeadKind
    from shelfsight.training.train import TrainingOptions
    from shelfsight.training.train import train as run

    options = TrainingOptions(
        channel=channel,
        version=version,
        head=None if head is HeadChoice.AUTO else HeadKind(head.value),
        seed=seed,
    )
    with progress_bars() as bars:
        report = run(source, out, cache_dir=cache_dir(), options=options, progress=bars)
    if json:
        print_json(report.model_dump_json(by_alias=True, exclude_none=True, exclude={"images"}))
    else:
        show_report(report, out)


def show_report(report: Report, out: Path) -> None:
    """Print what a person wants to know of a training."""
    from rich.markup import escape
    from rich.table import Table

    from shelfsight.cli.output import console, percent

    table = Table(
        title=f"Channel {report.channel_id}, version {report.version}", show_header=False, title_style="bold"
    )
    table.add_row("Products, photos", f"{report.product_count}, {report.image_count}")
    table.add_row("Head", f"{report.head} on {report.backbone}")
    if report.held_out:
        low, high = report.held_out.accuracy_interval
        table.add_row(
            f"Held-out {report.held_out.basis}",
            f"[bold]{percent(report.held_out.accuracy)} right[/] ({percent(low)} to {percent(high)})",
        )
        table.add_row("Right one among the top 3", percent(report.held_out.top3))
    table.add_row(
        "Threshold",
        f"{report.threshold.value:.2f}: answers {percent(report.threshold.answered)}, of which "
        f"{percent(report.threshold.accuracy_when_answered)} right; refuses "
        f"{percent(report.threshold.unknown_refused)} of unknown products",
    )
    table.add_row("Time", f"{report.training_duration:.1f} s")
    console.print(table)
    if report.confusions:
        pairs = Table(title="Most confused", title_style="bold")
        pairs.add_column("Product")
        pairs.add_column("taken for")
        pairs.add_column("times", justify="right")
        for pair in report.confusions[:5]:
            pairs.add_row(escape(pair.product), escape(pair.taken_for), str(pair.count))
        console.print(pairs)
    for note in report.notes:
        console.print(f"[yellow]![/] {escape(note)}")
    for item in report.skipped[:10]:
        console.print(f"[yellow]skipped[/] {escape(item.file)}: {escape(item.reason)}")
    if len(report.skipped) > 10:
        console.print(f"… and {len(report.skipped) - 10} more: see report.json")
    console.print(f"Bundle: {escape(str(out))}   Look at: {escape(str(out / 'report.html'))}")
