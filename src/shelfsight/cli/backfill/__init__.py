"""`shelfsight backfill`: migrations over rows that already exist, which can be stopped, moved and trusted."""

from __future__ import annotations

import typer

from shelfsight.cli.backfill import channel_id, control, inventory_fields

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="backfill", help="Migrations that can be stopped, moved and trusted.")
    for module in (inventory_fields, channel_id, control):
        module.register(group)
