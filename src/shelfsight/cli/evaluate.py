"""`shelfsight evaluate`: how good is a bundle on these labelled pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import RuntimeOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.training.evaluate import Evaluation


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
    from shelfsight.bundle.recogniser import Runtime
    from shelfsight.bundle.verify import load_bundle
    from shelfsight.cli.output import print_json, progress_bars
    from shelfsight.training.evaluate import evaluate as run
    from shelfsight.training.trained_on import training_photos

    recogniser = load_bundle(bundle, Runtime(runtime))
    with progress_bars() as bars:
        result = run(recogniser, source, bars, training_photos=training_photos(bundle))
    if json:
        print_json(result.model_dump_json(by_alias=True))
    else:
        _show(result, f"{bundle}, {runtime}")


def _show(result: Evaluation, title: str) -> None:
    """Print the result for a person."""
    from rich.markup import escape
    from rich.table import Table

    from shelfsight.cli.output import console, pair_table, print_line, print_skipped

    table = Table(title=escape(title), show_header=False, title_style="bold")
    for name, value in _rows(result):
        table.add_row(name, value)
    console.print(table)
    if result.worst_pairs:
        console.print(pair_table("Worst pairs", result.worst_pairs))
    print_skipped(result.skipped)
    for note in result.notes:
        print_line(f"[yellow]![/] {escape(note)}")


def _rows(result: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield what was measured, and how much it is."""
    from shelfsight.cli.output import percent

    low, high = result.accuracy_interval
    yield "Pictures of known products", str(result.images)
    yield "Right", f"[bold]{percent(result.accuracy)}[/] ({percent(low)} to {percent(high)})"
    yield "Right one among the top 3", percent(result.top3)
    yield "Right among the surest 80 %", percent(result.accuracy_at_80_coverage)
    yield "Calibration error", percent(result.calibration_error)
    yield (
        f"Answered (threshold {result.threshold:.2f})",
        f"{percent(result.answered)}, of which {percent(result.accuracy_when_answered)} right",
    )
    if result.unknown_images:
        refused = f"{percent(result.unknown_refused)} of {result.unknown_images} pictures"
        yield "Unknown products refused", refused
