"""`shelfsight vendure orders`: sales on their way to Vendure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption

if TYPE_CHECKING:
    from shelfsight.vendure.order_store import OrderRow


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command()(orders)


def orders(
    channel: ChannelArgument,
    every: Annotated[bool, typer.Option("--all", help="List those that are placed, too.")] = False,
    retry: Annotated[
        list[str] | None, typer.Option(metavar="SALE", help="Try this sale again, now; may be given several times.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the sales that wait to become orders in Vendure, or were refused there, with the reason."""
    from shelfsight.cli.output import print_documents, print_table, progress_bars
    from shelfsight.cli.service import opened_service
    from shelfsight.database import clock
    from shelfsight.vendure import order_store, store
    from shelfsight.vendure.documents import OrderDocument
    from shelfsight.vendure.order_rules import OrderState
    from shelfsight.vendure.orders import place_due

    states = [state for state in OrderState if every or state is not OrderState.PLACED]
    with opened_service() as service:
        if retry:
            with service.database.write() as tx:
                store.get(tx, channel)
                for sale in retry:
                    order_store.retry(tx, channel, sale, clock.now(tx))
            with progress_bars() as bars:
                place_due(service.database, channel, bars)
        with service.database.read() as tx:
            store.get(tx, channel)
            found = order_store.listed(tx, channel, states)
    if json:
        print_documents(map(OrderDocument.of, found))
    else:
        print_table(("Sale", "State", "Order", "Attempts", "Next", "Why"), map(_row, found), right=("Attempts",))


def _row(one: OrderRow) -> tuple[str, ...]:
    from shelfsight.cli.output import moment

    reason = one.error or one.note or "–"
    return (one.sale_id, one.state.value, one.order_code or "–", str(one.attempts), moment(one.next_at), reason)
