"""`shelfsight vendure`: shops that run Vendure."""

from __future__ import annotations

import typer

from shelfsight.cli.vendure import connecting, deploying, ordering

group = typer.Typer(no_args_is_help=True)
for module in (deploying, connecting, ordering):
    module.register(group)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="vendure", help="Shops that run Vendure.")
