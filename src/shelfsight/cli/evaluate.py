"""`shelfsight evaluate`: how good is a bundle on these labelled pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfsight.cli.runtime import RuntimeOption


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    source: Annotated[Path, typer.Argument(help="Labelled pictures, a folder or CSV as for training.")],
    runtime: RuntimeOption = "onnx",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure accuracy, coverage and calibration on pictures that the recogniser was not trained on."""
    from rich.markup import escape
    from rich.table import Table

    from shelfsight.bundle.recogniser import Runtime
    from shelfsight.bundle.verify import load_bundle
    from shelfsight.cli.output import console, percent, print_json, progress_bars
    from shelfsight.training.evaluate import evaluate as run

    recogniser = load_bundle(bundle, Runtime(runtime))
    with progress_bars() as bars:
        result = run(recogniser, source, bars)
    if json:
        print_json(result.model_dump_json(by_alias=True))
        return
    low, high = result.accuracy_interval
    table = Table(title=f"{escape(str(bundle))}, {runtime}", show_header=False, title_style="bold")
    table.add_row("Pictures of known products", str(result.pictures))
    table.add_row("Right", f"[bold]{percent(result.accuracy)}[/] ({percent(low)} to {percent(high)})")
    table.add_row("Right one among the top 3", percent(result.top3))
    table.add_row("Right among the surest 80 %", percent(result.accuracy_at_80_coverage))
    table.add_row("Calibration error", percent(result.calibration_error))
    table.add_row(
        f"Answered (threshold {result.threshold:.2f})",
        f"{percent(result.answered)}, of which {percent(result.accuracy_when_answered)} right",
    )
    if result.unknown_pictures:
        table.add_row(
            "Unknown products refused",
            f"{percent(result.unknown_refused)} of {result.unknown_pictures} pictures",
        )
    console.print(table)
    if result.worst_pairs:
        pairs = Table("Product", "taken for", "times", title="Worst pairs", title_style="bold")
        for pair in result.worst_pairs:
            pairs.add_row(escape(pair.product), escape(pair.taken_for), str(pair.count))
        console.print(pairs)
    for item in result.skipped:
        console.print(f"[yellow]skipped[/] {escape(item.file)}: {escape(item.reason)}")
