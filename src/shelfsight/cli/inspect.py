"""`shelfsight inspect`: what is in a bundle, and is it whole?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from shelfsight.bundle.documents import Manifest, Metadata


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("inspect")(inspect)


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    json: Annotated[bool, typer.Option("--json", help="Print manifest and metadata as JSON.")] = False,
) -> None:
    """Verify a bundle (every file, every model) and show what it holds; exits with 1 if it is damaged."""
    from shelfsight.bundle.verify import read_metadata, verify_bundle

    manifest, metadata = verify_bundle(bundle), read_metadata(bundle)
    if json:
        _print_as_json(manifest, metadata)
    else:
        _show(manifest, metadata)


def _print_as_json(manifest: Manifest, metadata: Metadata) -> None:
    from json import dumps

    from shelfsight.cli.output import print_json

    whole = {
        "manifest": manifest.model_dump(by_alias=True, mode="json"),
        "metadata": metadata.model_dump(by_alias=True, mode="json"),
    }
    print_json(dumps(whole, ensure_ascii=False))


def _show(manifest: Manifest, metadata: Metadata) -> None:
    """Print what a person wants to know of a bundle."""
    from shelfsight.cli.output import console, percent, print_line

    print_line(
        f"[bold]Channel {manifest.channel_id}, version {manifest.version}[/]: "
        f"{metadata.product_count} products, {metadata.image_count} photos, "
        f"{percent(metadata.accuracy)} right on held-out photos, threshold {metadata.threshold:.2f}"
    )
    if manifest.backbone is None:
        print_line(f"Trained {metadata.trained_at:%Y-%m-%d %H:%M} UTC elsewhere ({manifest.kind})")
    else:
        print_line(
            f"Trained {metadata.trained_at:%Y-%m-%d %H:%M} UTC in {metadata.training_duration:.1f} s by Shelfsight "
            f"{manifest.code_version} on {manifest.backbone.name} ({manifest.backbone.sha256[:12]})"
        )
    console.print(_file_table(manifest))
    print_line("[green]Every file is whole, every model loads, and they belong together.[/]")


def _file_table(manifest: Manifest) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("File", "Bytes", "SHA-256")
    table.columns[1].justify = "right"
    for file in manifest.files:
        table.add_row(escape(file.name), f"{file.size:,}", file.sha256[:16])
    for blob in manifest.blobs:
        table.add_row(f"blob: {blob.part}", f"{blob.size:,}", blob.sha256[:16])
    return table
