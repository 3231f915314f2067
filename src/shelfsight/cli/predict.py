"""`shelfsight predict`: what is on these pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import RuntimeOption

if TYPE_CHECKING:
    from shelfsight.bundle.rules import Recognition


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("predict")(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    images: Annotated[
        list[Path], typer.Argument(help="Pictures to recognise, or folders of them.", metavar="IMAGE...")
    ],
    runtime: RuntimeOption = "onnx",
    top: Annotated[int, typer.Option(min=1, help="How many products to name.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per picture.")] = False,
) -> None:
    """Recognise the product on each picture; exits with 1 if a picture cannot be used."""
    from shelfsight.bundle.recogniser import Runtime, recognise_files
    from shelfsight.bundle.rules import rank
    from shelfsight.bundle.verify import load_bundle
    from shelfsight.training.source import photos_in

    recogniser = load_bundle(bundle, Runtime(runtime))
    paths = [path for image in images for path in (photos_in(image) if image.is_dir() else [image])]
    say = _say_as_json if json else _say
    failed = False
    for path, probabilities, reason in recognise_files(recogniser, paths):
        if probabilities is None:
            failed = True
            say(path, reason or "")
        else:
            say(path, rank(probabilities.tolist(), recogniser.labels, top=top, threshold=recogniser.threshold))
    if failed:
        raise typer.Exit(1)


def _say_as_json(path: Path, answer: Recognition | str) -> None:
    """Print the answer to a picture, or the reason why there is none, as a line of JSON."""
    from dataclasses import asdict
    from json import dumps

    from shelfsight.cli.output import print_json

    facts = {"error": answer} if isinstance(answer, str) else asdict(answer)
    print_json(dumps({"image": str(path), **facts}, ensure_ascii=False))


def _say(path: Path, answer: Recognition | str) -> None:
    """Print the answer to a picture, or the reason why there is none, as a person reads it."""
    from rich.markup import escape

    from shelfsight.cli.output import percent, print_line

    if isinstance(answer, str):
        print_line(f"{escape(str(path))}: [red]{escape(answer)}[/]")
        return
    products = ", ".join(f"{escape(p.product)} {percent(p.confidence)}" for p in answer.predictions)
    print_line(f"{escape(str(path))}: {products if answer.known else f'not known (perhaps {products})'}")
