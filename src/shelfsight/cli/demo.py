"""`shelfsight demo`: train on a small shop and open a till that sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

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
    import webbrowser

    import uvicorn

    from shelfsight.cli.output import console, progress_bars
    from shelfsight.cli.train import show_report
    from shelfsight.settings import cache_dir, examples_dir
    from shelfsight.training.train import TrainingOptions, train
    from shelfsight.web.demo import build_demo

    channel = "demo" if source else "corner-shop"
    photos = source or examples_dir() / "corner-shop"
    tries = [] if source else sorted((examples_dir() / "try").iterdir())
    listener = _listen(port)
    bundle = cache_dir() / "demo" / "bundle"
    with progress_bars() as bars:
        options = TrainingOptions(channel=channel)
        report = train(photos, bundle, cache_dir=cache_dir(), options=options, progress=bars)
    show_report(report, bundle)
    products = _products(report, photos, {} if source else _catalogue(examples_dir() / "corner-shop.csv"))
    names = {product.id for product in products}
    samples = sorted(tries, key=lambda photo: photo.stem not in names)  # what the shop sells first
    app = build_demo(bundle=bundle, channel=channel, products=products, samples=samples)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/till/{channel}"
    console.print(f"\n[bold green]The till is open at {url}[/]   (Ctrl-C closes it)")
    if browser:
        webbrowser.open(url)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    """Return a socket on 127.0.0.1; taken before the training, so that a busy port is said at once."""
    import socket

    from shelfsight.errors import UsageError

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # the browser may ask before the server runs: it waits instead of being refused
    except OSError as exc:
        raise UsageError(f"port {port} cannot be used ({exc.strerror}): choose another with --port, or 0") from exc
    return listener


def _catalogue(table: Path) -> dict[str, dict[str, str]]:
    import csv

    with table.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def _products(report: Report, photos: Path, catalogue: Mapping[str, Mapping[str, str]]) -> list[DemoProduct]:
    """Return the products in the order of the labels, each with its first photo as its picture."""
    from shelfsight.web.demo import DemoProduct

    base = photos if photos.is_dir() else photos.parent
    pictures = {image.product: base / image.file for image in reversed(report.images)}
    rows = {quality.product: catalogue.get(quality.product, {}) for quality in report.products}
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
