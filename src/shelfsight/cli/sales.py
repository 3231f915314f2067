"""`shelfsight sales`: what tills have sold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from shelfsight.cli.service import Service
    from shelfsight.till.rules import Period, Sale, Summary

SinceOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="WHEN", help="Received then or later: 2026-11-20, or with a time, 2026-11-20T08:00."
    ),
]
UntilOption = Annotated[str | None, typer.Option("--to", metavar="WHEN", help="Received before that.")]
DeviceOption = Annotated[str | None, typer.Option(help="Of this device only.")]

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="sales", help="What tills have sold.")


@group.command("list")
def list_sales(
    channel: ChannelArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    device: DeviceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 100,
    json: JsonOption = False,
) -> None:
    """List the sales of a channel, the last one first."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.till import store

    with opened_service() as service:
        period = _period(service, channel, since, until, device)
        with service.database.read() as tx:
            found = store.page(tx, channel, period, limit=limit)
    if json:
        from shelfsight.till.documents import SaleDocument

        print_documents(map(SaleDocument.of, found))
    else:
        print_table(
            ("Number", "Received", "Device", "Lines", "Total", "Id"), map(_row, found), right=("Number", "Lines")
        )


@group.command("export")
def export_sales(
    channel: ChannelArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    device: DeviceOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each sale instead.")] = False,
) -> None:
    """Print the sales of a channel as CSV, the first one first."""
    import sys

    from shelfsight.cli.service import opened_service
    from shelfsight.till import sales
    from shelfsight.till.documents import SaleDocument
    from shelfsight.till.export import csv_chunks

    with opened_service() as service:
        wanted = _period(service, channel, since, until, device)
        found = sales.each(service.database, channel, sales.closed(service.database, channel, wanted))
        lines = (f"{SaleDocument.of(sale).model_dump_json(by_alias=True)}\n".encode() for sale in found)
        for chunk in lines if json else csv_chunks(found):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@group.command()
def summary(
    channel: ChannelArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Say what was sold of each product."""
    from shelfsight.cli.output import print_document
    from shelfsight.cli.service import opened_service
    from shelfsight.till import sales

    with opened_service() as service:
        wanted = _period(service, channel, since, until, device)
        period = sales.closed(service.database, channel, wanted)
        found = sales.summarised(service.database, channel, period)
    if json:
        from shelfsight.till.documents import SummaryDocument

        print_document(SummaryDocument.of(found, period))
    else:
        _show(found)


def _period(service: Service, channel: str, since: str | None, until: str | None, device: str | None) -> Period:
    """Return the period that the options name, in the time zone of the channel unless they name one.

    Raises:
        NotFoundError: there is no such channel.
        UsageError: an option names no moment.
    """
    from shelfsight.catalog.store import channels
    from shelfsight.till.rules import period_of

    with service.database.read() as tx:
        zone = channels.get(tx, channel).settings.time_zone
    return period_of(_moment("--from", since, zone), _moment("--to", until, zone), device)


def _moment(option: str, text: str | None, zone: str) -> datetime | None:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from shelfsight.errors import UsageError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))
    except (KeyError, OSError, ValueError):  # the first two: somebody wrote no time zone in SQL
        raise UsageError(
            f"{option} is {text[:40]!r}, in {zone}: write 2026-11-20, or with a time, 2026-11-20T08:00"
        ) from None


def _row(sale: Sale) -> tuple[str, ...]:
    from shelfsight.cli.output import moment
    from shelfsight.till.rules import totals

    return (
        str(sale.number),
        moment(sale.received_at),
        sale.device or "–",
        str(len(sale.lines)),
        _money(totals(sale.lines)),
        sale.id,
    )


def _show(found: Summary) -> None:
    from shelfsight.catalog.text import plain
    from shelfsight.cli.output import print_table

    rows = [
        (one.product_id, one.name, plain(one.quantity), str(one.sales), _money(one.amounts)) for one in found.products
    ]
    everything = ("In all", "", "", str(found.sales), _money(found.amounts))
    print_table(
        ("Product", "Name", "Quantity", "Sales", "Total"), [*rows, everything], right=("Quantity", "Sales", "Total")
    )


def _money(amounts: Mapping[str, Decimal]) -> str:
    from shelfsight.catalog.text import price_text

    return ", ".join(f"{price_text(amount)} {currency}" for currency, amount in amounts.items()) or "–"
