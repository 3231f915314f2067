"""`shelfsight products`: what a channel sells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption, ProductArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.catalog.rules import Product, ProductState, ProductValues
    from shelfsight.database.engine import Database

_PAGE = 1000

NameOption = Annotated[str | None, typer.Option(help="Name.")]
SkuOption = Annotated[str | None, typer.Option(help="SKU; empty = none.")]
BarcodeOption = Annotated[list[str] | None, typer.Option(help="Barcode; may come several times; empty = none.")]
PriceOption = Annotated[str | None, typer.Option(help="Price, such as 1.50; empty = none.")]
CurrencyOption = Annotated[str | None, typer.Option(help="ISO 4217, such as EUR; empty = none.")]

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="products", help="What a channel sells.")


@group.command("list")
def list_products(
    channel: ChannelArgument,
    search: Annotated[str, typer.Option(help="Part of a name, SKU or barcode.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones instead.")] = False,
    json: JsonOption = False,
) -> None:
    """List the products of a channel."""
    from shelfsight.catalog.rules import ProductState
    from shelfsight.catalog.store import channels
    from shelfsight.cli.output import print_documents
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        with service.database.read() as tx:
            channels.get(tx, channel)
        state = ProductState.DELETED if deleted else ProductState.ACTIVE
        found = list(_all(service.database, channel, state, search))
    if json:
        from shelfsight.catalog.documents import ProductDocument

        print_documents(map(ProductDocument.of, found))
    else:
        _show(found)


@group.command()
def add(
    channel: ChannelArgument,
    name: Annotated[str, typer.Option(help="Name.")],
    product_id: Annotated[str | None, typer.Option("--id", help="Id; by default a new one.")] = None,
    sku: SkuOption = None,
    barcode: BarcodeOption = None,
    price: PriceOption = None,
    currency: CurrencyOption = None,
) -> None:
    """Add a product and print its id."""
    from secrets import token_hex

    from shelfsight.catalog.rules import ProductDetails
    from shelfsight.catalog.store import products
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    values: dict[str, Any] = {**_values(name, sku, barcode, price, currency)}
    details = ProductDetails(**values)
    with opened_service() as service, service.database.write(actor=service.caller.actor) as tx:
        chosen = token_hex(8) if product_id is None else product_id
        product = products.add(tx, channel, chosen, details, service.stamp())
    print_plain(product.id)


@group.command("set")
def set_values(
    channel: ChannelArgument,
    product: ProductArgument,
    name: NameOption = None,
    sku: SkuOption = None,
    barcode: BarcodeOption = None,
    price: PriceOption = None,
    currency: CurrencyOption = None,
    json: JsonOption = False,
) -> None:
    """Change what the options name of a product, and show it."""
    from shelfsight.catalog.store import products
    from shelfsight.cli.output import print_document
    from shelfsight.cli.service import opened_service

    values = _values(name, sku, barcode, price, currency)
    with opened_service() as service, service.database.write(actor=service.caller.actor) as tx:
        changed = products.change(tx, channel, product, values, stamp=service.stamp())
    if json:
        from shelfsight.catalog.documents import ProductDocument

        print_document(ProductDocument.of(changed))
    else:
        _show([changed])


@group.command()
def remove(
    channel: ChannelArgument,
    product_ids: Annotated[list[str], typer.Argument(metavar="PRODUCT...", help="Ids of the products.")],
) -> None:
    """Mark products as deleted; they can be restored, with their pictures."""
    from shelfsight.catalog.store import products
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        for product_id in product_ids:
            with service.database.write(actor=service.caller.actor) as tx:
                products.delete(tx, channel, product_id, stamp=service.stamp())
            print_plain(f"Removed {product_id}")


@group.command()
def restore(
    channel: ChannelArgument,
    product_ids: Annotated[list[str], typer.Argument(metavar="PRODUCT...", help="Ids of the products.")],
) -> None:
    """Take the deletion of products back."""
    from shelfsight.catalog.store import products
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        for product_id in product_ids:
            with service.database.write(actor=service.caller.actor) as tx:
                products.restore(tx, channel, product_id, stamp=service.stamp())
            print_plain(f"Restored {product_id}")


@group.command("import")
def import_products(
    channel: ChannelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="CSV with id,name,sku,barcodes,price,currency.")],
) -> None:
    """Let products be as a CSV file says: added, changed, or restored."""
    from rich.markup import escape

    from shelfsight.cli.output import print_line, progress_bars
    from shelfsight.cli.product_files import import_rows, read_rows
    from shelfsight.cli.service import opened_service

    found = read_rows(file)
    with opened_service() as service, progress_bars() as bars:
        bars.stage("Products", len(found.rows))
        imported = import_rows(service, channel, found, bars)
    for row in imported.refused:
        print_line(f"[yellow]refused[/] line {row.line}: {escape(row.reason)}")
    counts = [(what, imported.counts[what]) for what in ("added", "changed", "restored", "unchanged")]
    told = ", ".join(f"{what} {count}" for what, count in (*counts, ("refused", len(imported.refused))))
    print_line(told.capitalize())
    if imported.refused and not imported.counts:
        raise typer.Exit(1)


@group.command("export")
def export_products(channel: ChannelArgument) -> None:
    """Print the active products as CSV, as `import` reads it."""
    import sys

    from shelfsight.catalog.rules import ProductState
    from shelfsight.catalog.store import channels
    from shelfsight.cli.product_files import write_rows
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        with service.database.read() as tx:
            channels.get(tx, channel)
        write_rows(_all(service.database, channel, ProductState.ACTIVE, ""), sys.stdout)
    sys.stdout.flush()


def _all(database: Database, channel: str, state: ProductState, search: str) -> Iterator[Product]:
    from shelfsight.catalog.store import products

    after = None
    with database.read() as tx:
        while found := products.page(tx, channel, state=state, text=search, after=after, limit=_PAGE):
            yield from found
            after = found[-1].id


def _values(
    name: str | None, sku: str | None, barcodes: list[str] | None, price: str | None, currency: str | None
) -> ProductValues:
    """Return what the options name; an empty one takes a value away."""
    from shelfsight.cli.product_files import parse_price

    values: ProductValues = {}
    if name is not None:
        values["name"] = name
    if sku is not None:
        values["sku"] = sku or None
    if barcodes is not None:
        values["barcodes"] = tuple(filter(None, barcodes))
    if price is not None:
        values["price"] = parse_price(price)
    if currency is not None:
        values["currency"] = currency or None
    return values


def _show(products: list[Product]) -> None:
    from shelfsight.cli.output import print_table

    print_table(
        ("Id", "Name", "SKU", "Barcodes", "Price", "Currency"),
        (
            (
                product.id,
                product.name,
                product.sku or "",
                ", ".join(product.barcodes),
                "" if product.price is None else f"{product.price:f}",
                product.currency or "",
            )
            for product in products
        ),
        right=("Price",),
    )
