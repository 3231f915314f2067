"""`shelfsight inspect`: what is in a bundle, and is it whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("inspect")(inspect)


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    json: Annotated[bool, typer.Option("--json", help="Print manifest and metadata as JSON.")] = False,
) -> None:
    """Verify a bundle (every file, every model) and show what it holds; exits with 1 if it is damaged."""
    from json import dumps

    from rich.markup import escape
    from rich.table import Table

    from shelfsight.bundle.verify import read_metadata, verify_bundle
    from shelfsight.cli.output import console, percent, print_json

    manifest, metadata = verify_bundle(bundle), read_metadata(bundle)
    if json:
        whole = {
            "manifest": manifest.model_dump(by_alias=True, mode="json"),
            "metadata": metadata.model_dump(by_alias=True, mode="json"),
        }
        print_json(dumps(whole, ensure_ascii=False))
        return
    console.print(
        f"[bold]Channel {escape(manifest.channel_id)}, version {manifest.version}[/]: "
        f"{metadata.product_count} products, {metadata.image_count} photos, "
        f"{percent(metadata.accuracy)} right on held-out photos, threshold {metadata.threshold:.2f}"
    )
    console.print(
        f"Trained {metadata.trained_at:%Y-%m-%d %H:%M} UTC in {metadata.training_duration:.1f} s by Shelfsight "
        f"{manifest.code_version} on {manifest.backbone.name} ({manifest.backbone.sha256[:12]})"
    )
    files = Table("File", "Bytes", "SHA-256", title_style="bold")
    files.columns[1].justify = "right"
    for file in manifest.files:
        files.add_row(escape(file.name), f"{file.size:,}", file.sha256[:16])
    for blob in manifest.blobs:
        files.add_row(f"blob: {blob.part}", f"{blob.size:,}", blob.sha256[:16])
    console.print(files)
    console.print("[green]Every file is whole, every model loads, and they belong together.[/]")
