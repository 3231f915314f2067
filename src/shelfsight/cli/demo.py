"""`shelfsight demo`: train on a small shop and open a till that sees it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from starlette.applications import Starlette

    from shelfsight.training.report import Report
    from shelfsight.web.demo import DemoProduct


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("demo")(demo)


def demo(
    source: Annotated[
        Path | None,
        typer.Argument(help="Photos of your own, as for training.", show_default="the example shop"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Train on the example shop (or your photos) and open a till that recognises its products."""
    from shelfsight.cli.listening import listen
    from shelfsight.cli.train import run_training, show_report
    from shelfsight.training.train import TrainingOptions
    from shelfsight.web.demo import build_demo
    from shelfsight.workspace import workspace

    listener = listen("127.0.0.1", port)  # before the training, so that a busy port is said at once
    shop = _own_shop(source) if source else _example_shop()
    with workspace("demo") as folder:  # its own: two demos do not meet
        bundle = folder / "bundle"
        report = run_training(shop.photos, bundle, TrainingOptions(channel=shop.channel))
        show_report(report, bundle)
        products = _products(report, shop)
        sold = {product.id for product in products}
        samples = sorted(shop.samples, key=lambda photo: photo.stem not in sold)  # what the shop sells first
        app = build_demo(bundle=bundle, channel=shop.channel, products=products, samples=samples)
        _serve(app, listener, f"/till/{shop.channel}", browser=browser)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shop:
    """What a demo is made of.

    Attributes:
        catalogue: product id to name, price and currency; may lack products.
        samples: photos to try.
    """

    channel: str
    photos: Path
    catalogue: Mapping[str, Mapping[str, str]]
    samples: tuple[Path, ...]


def _own_shop(photos: Path) -> _Shop:
    return _Shop(channel="demo", photos=photos, catalogue={}, samples=())


def _example_shop() -> _Shop:
    import csv

    from shelfsight.settings import examples_dir

    examples = examples_dir()
    with (examples / "corner-shop.csv").open(newline="", encoding="utf-8") as file:
        catalogue = {row["id"]: row for row in csv.DictReader(file)}
    return _Shop(
        channel="corner-shop",
        photos=examples / "corner-shop",
        catalogue=catalogue,
        samples=tuple(sorted((examples / "try").iterdir())),
    )


def _products(report: Report, shop: _Shop) -> list[DemoProduct]:
    """Return the products in the order of the labels, each with its first photo as its picture."""
    from shelfsight.training.source import base_folder
    from shelfsight.web.demo import DemoProduct

    base = base_folder(shop.photos)
    pictures = {image.product: base / image.file for image in reversed(report.images)}
    rows = {quality.product: shop.catalogue.get(quality.product, {}) for quality in report.products}
    return [
        DemoProduct(
            id=product,
            name=row.get("name", product),
            price=row.get("price"),
            currency=row.get("currency"),
            picture=pictures[product],
        )
        for product, row in rows.items()
    ]


def _serve(app: Starlette, listener: socket.socket, path: str, *, browser: bool) -> None:
    """Say where the till is and serve it until Ctrl-C, which is how a demo is meant to end."""
    import webbrowser

    import uvicorn

    from shelfsight.cli.listening import address_of
    from shelfsight.cli.output import print_line

    url = f"{address_of(listener)}{path}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with suppress(KeyboardInterrupt):  # uvicorn shuts down, then raises the signal again
        print_line(f"\n[bold green]The till is open at {url}[/]   (Ctrl-C closes it)")
        if browser:
            webbrowser.open(url)
        server.run(sockets=[listener])
