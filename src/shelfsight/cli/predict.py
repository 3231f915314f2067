"""`shelfsight predict`: what is on these pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shelfsight.cli.runtime import RuntimeOption


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("predict")(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures to recognise.", metavar="IMAGE...")],
    runtime: RuntimeOption = "onnx",
    top: Annotated[int, typer.Option(min=1, help="How many products to name.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per picture.")] = False,
) -> None:
    """Recognise the product on each picture; exits with 1 if a picture cannot be used."""
    from dataclasses import asdict
    from json import dumps

    from rich.markup import escape

    from shelfsight.bundle.recogniser import Runtime, recognise_files
    from shelfsight.bundle.rules import rank
    from shelfsight.bundle.verify import load_bundle
    from shelfsight.cli.output import console, percent, print_json

    recogniser = load_bundle(bundle, Runtime(runtime))
    failed = False
    for path, probabilities, reason in recognise_files(recogniser, images):
        if probabilities is None:
            failed = True
            if json:
                print_json(dumps({"image": str(path), "error": reason}, ensure_ascii=False))
            else:
                console.print(f"{escape(str(path))}: [red]{escape(reason or '')}[/]")
            continue
        found = rank(probabilities.tolist(), recogniser.labels, top=top, threshold=recogniser.threshold)
        if json:
            print_json(dumps({"image": str(path), **asdict(found)}, ensure_ascii=False))
            continue
        answers = ", ".join(f"{escape(p.product)} {percent(p.confidence)}" for p in found.predictions)
        console.print(
            f"{escape(str(path))}: {answers if found.known else f'not known (perhaps {answers})'}",
            soft_wrap=True,
        )
    if failed:
        raise typer.Exit(1)
