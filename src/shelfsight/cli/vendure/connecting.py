"""`shelfsight vendure connect`, `disconnect`, `connections` and `sync`: catalogues that come from Vendure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption

if TYPE_CHECKING:
    from shelfsight.partners.vendure.credentials import ApiKey, Login
    from shelfsight.settings import VendureSettings
    from shelfsight.vendure.connections import Made
    from shelfsight.vendure.documents import ConnectionDocument
    from shelfsight.vendure.sync import SyncResult
    from shelfsight.vendure.take_over import Refusal

Sells = Literal["products", "variants"]
ServerOption = Annotated[
    str, typer.Option("--server", metavar="URL", help="Where Vendure reaches this server, for what is printed.")
]


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    for command in (connect, disconnect, connections, sync):
        group.command()(command)


def connect(
    channel: ChannelArgument,
    vendure_channel: Annotated[str, typer.Option(help="Id or code of the channel in Vendure.")],
    api: Annotated[str, typer.Option(help="Address of Vendure's Admin API; else SHELFSIGHT_VENDURE_API.")] = "",
    username: Annotated[
        str,
        typer.Option(help="Of an administrator there that is Shelfsight's own; else SHELFSIGHT_VENDURE_USERNAME."),
    ] = "",
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Use the API key in SHELFSIGHT_VENDURE_API_KEY instead.")
    ] = False,
    sells: Annotated[
        Sells | None, typer.Option(help="What becomes a product here; at first products.", show_default=False)
    ] = None,
    deploy: Annotated[
        bool | None, typer.Option("--deploy/--no-deploy", help="Put models into Vendure after each training.")
    ] = None,
    orders: Annotated[
        bool | None, typer.Option("--orders/--no-orders", help="Let sales become orders in Vendure.")
    ] = None,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Let the plugin sign with another secret.")
    ] = False,
    server: ServerOption = "",
) -> None:
    """Take a channel's products over from Vendure from now on, and print what its plugin needs.

    Of a channel that is connected already, what is not named stays as it is.
    """
    from shelfsight.access.rules import Asker
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UsageError
    from shelfsight.settings import vendure_settings
    from shelfsight.vendure import connections as room
    from shelfsight.vendure.rules import Sells as SellsRule

    settings = vendure_settings()
    address = api or settings.api
    if not address:
        raise UsageError("which Vendure? name its Admin API with --api or SHELFSIGHT_VENDURE_API")
    wish = room.Wish(
        channel=channel,
        api_url=address,
        credentials=_credentials(settings, username, api_key=api_key),
        vendure_channel=vendure_channel,
        key_token=settings.channel_token or None,
        sells=SellsRule(sells) if sells else None,
        deploys=deploy,
        records_orders=orders,
        new_secret=new_secret,
    )
    with opened_service() as service:
        made = room.connect(service.database, wish, by=Asker(actor=service.caller.actor))
    _tell_made(made, server)


def disconnect(channel: ChannelArgument) -> None:
    """Take nothing over from Vendure any more; the channel's products stay."""
    from shelfsight.access.rules import Asker
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.vendure import connections as room

    with opened_service() as service:
        gone = room.disconnect(service.database, channel, by=Asker(actor=service.caller.actor))
    print_plain(f"{channel} is no longer connected with channel {gone.vendure_channel} of {gone.server.api_url}")


def connections(json: JsonOption = False) -> None:
    """List the channels that are connected with Vendure, and how it goes."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.vendure import mirror_store, order_store, product_store, store
    from shelfsight.vendure.documents import ConnectionDocument

    with opened_service() as service, service.database.read() as tx:
        products, errors, orders = product_store.counts(tx), mirror_store.errors(tx), order_store.counts(tx)
        found = [
            ConnectionDocument.of(
                one,
                products=products.get(one.channel, 0),
                mirror_error=errors.get(one.channel),
                orders=orders.get(one.channel, {}),
            )
            for one in store.connected(tx)
        ]
    if json:
        print_documents(found)
    else:
        columns = (
            "Channel",
            "Vendure",
            "Its channel",
            "Sells",
            "Deploys",
            "Orders",
            "Products",
            "Looked at",
            "Error",
        )
        print_table(columns, map(_row, found), right=("Products",))


def sync(
    channel: Annotated[str | None, typer.Argument(metavar="[CHANNEL]", help="By default all of them.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything anew, and try pictures again that were refused.")
    ] = False,
    allow_deletions: Annotated[
        bool, typer.Option("--allow-deletions", help="Delete also more than half of the products.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take over what has changed in Vendure, now and here; a running server does so by itself."""
    from shelfsight.cli.output import print_documents, progress_bars
    from shelfsight.cli.service import opened_service
    from shelfsight.vendure import store
    from shelfsight.vendure.documents import SyncDocument
    from shelfsight.vendure.sync import Order
    from shelfsight.vendure.sync import sync as run

    order = Order(full=full, allow_deletions=allow_deletions)
    done = []
    with opened_service() as service:
        with service.database.read() as tx:
            chosen = [channel] if channel is not None else [one.channel for one in store.connected(tx)]
        for one in chosen:
            with progress_bars() as bars:
                result = run(service.registry, one, order, bars)
            done.append(SyncDocument.of(one, result))
            if not json:
                _tell_synced(one, result)
    if json:
        print_documents(done)


def _credentials(settings: VendureSettings, username: str, *, api_key: bool) -> Login | ApiKey:
    from shelfsight.errors import UsageError
    from shelfsight.partners.vendure.credentials import ApiKey, Login

    if api_key:
        if not settings.api_key:
            raise UsageError("which API key? put it into the variable SHELFSIGHT_VENDURE_API_KEY")
        return ApiKey(settings.api_key)
    name = username or settings.username
    if not name:
        raise UsageError("who is Shelfsight in Vendure? give --username, or --api-key")
    return Login(name, settings.password or typer.prompt(f"Password of {name}", hide_input=True, err=True))


def _tell_made(made: Made, server: str) -> None:
    from shelfsight.cli.output import messages, print_plain

    one = made.connected
    messages.print(f"{one.channel} is connected with channel {one.vendure_channel} of {one.server.api_url}.")
    if one.server.user_id:
        told = "counts as Shelfsight's own, and is taken over up to ten minutes later"
        messages.print(f"What {made.user} changes there {told}: let nobody else use that name.", markup=False)
    print_plain(f"url\t{server.rstrip('/')}/api/v1/vendure/{one.server.id}")
    if made.secret is not None:
        print_plain(f"secret\t{made.secret}")
        messages.print("Put both into the options of Vendure's plugin. The secret is not shown again.")
    if not server:
        messages.print("Before the url belongs the address at which Vendure reaches Shelfsight; --server adds it.")


def _tell_synced(channel: str, result: SyncResult) -> None:
    from rich.markup import escape

    from shelfsight.cli.output import print_line

    for one in result.refused:
        print_line(f"[yellow]refused[/] {escape(_named(one))}: {escape(one.reason)}")
    for one in result.put_off:
        print_line(f"[yellow]later[/] {escape(_named(one))}: {escape(one.reason)}")
    names = ("added", "changed", "restored", "deleted", "pictures")
    counts = ", ".join(f"{name} {getattr(result, name)}" for name in names)
    print_line(f"{escape(channel)}: {counts}; {result.seen} in Vendure")


def _named(one: Refusal) -> str:
    return one.product_id if one.asset is None else f"{one.product_id}, asset {one.asset}"


def _row(one: ConnectionDocument) -> tuple[str, ...]:
    from shelfsight.cli.output import moment

    return (
        one.channel_id,
        one.api_url,
        one.vendure_channel_id,
        one.sells,
        "yes" if one.deploys else "no",
        _orders(one),
        str(one.products),
        moment(one.synced_at),
        "; ".join(dict.fromkeys(filter(None, (one.sync_error, one.mirror_error)))) or "–",
    )


def _orders(one: ConnectionDocument) -> str:
    if not one.records_orders:
        return "no"
    waiting = f", {one.orders_pending} wait" if one.orders_pending else ""
    return f"yes{waiting}" + (f", {one.orders_refused} refused" if one.orders_refused else "")
