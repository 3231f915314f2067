"""`shelfsight search`: the products that Typesense knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

group = typer.Typer(help="Product search on Typesense.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="search")


@group.command()
def rebuild() -> None:
    """Write all products into Typesense anew; the database answers searches meanwhile."""
    from shelfsight.cli.output import print_line, progress_bars
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UsageError
    from shelfsight.jobs import product_index
    from shelfsight.settings import service_settings

    typesense = service_settings().typesense
    if typesense is None:
        raise UsageError(
            "products are searched in the database: set SHELFSIGHT_TYPESENSE_URL and SHELFSIGHT_TYPESENSE_API_KEY"
        )
    with opened_service() as service, progress_bars() as bars:
        total = _count(service.database)
        bars.stage("Products", total)
        product_index.rebuild(service.database, typesense, bars.advance)
    print_line(f"{total} products are in collection {typesense.collection}")


def _count(database: Database) -> int:
    from shelfsight.catalog.rules import ProductState
    from shelfsight.catalog.store import products
    from shelfsight.registry.store import channel_ids

    with database.read() as tx:
        return sum(products.count(tx, channel, state=ProductState.ALL) for channel in channel_ids(tx))
