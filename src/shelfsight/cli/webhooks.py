"""`shelfsight webhooks`: events that are sent to other servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption

if TYPE_CHECKING:
    from shelfsight.access.rules import Asker
    from shelfsight.cli.service import Service
    from shelfsight.webhooks.rules import Delivery, Webhook

WebhookArgument = Annotated[str, typer.Argument(metavar="ID", help="As `webhooks list` shows it.")]
State = Literal["pending", "delivered", "failed"]

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="webhooks", help="Events that are sent to other servers.")


@group.command()
def add(
    channel: ChannelArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="https:// or http://, on the public internet.")],
    event: Annotated[list[str] | None, typer.Option(help="What to tell it; may come several times.")] = None,
    json: JsonOption = False,
) -> None:
    """Add a webhook and print its secret, this once."""
    from shelfsight.cli.output import messages, print_document, print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.settings import service_settings
    from shelfsight.webhooks import subscriptions
    from shelfsight.webhooks.rules import Event

    reach = subscriptions.reach_of(service_settings().webhook_networks)
    events = event or [Event.SALE_RECORDED]
    with opened_service() as service:
        added = subscriptions.add(service.database, channel, url, events, reach=reach, by=_asker(service))
    if json:
        from shelfsight.webhooks.documents import AddedWebhookDocument

        print_document(AddedWebhookDocument.with_secret(added.webhook, added.secret))
        return
    print_plain(added.secret)
    messages.print(f"Webhook {added.webhook.id}: keep its secret, it is not shown again.")


@group.command("list")
def list_webhooks(channel: ChannelArgument, json: JsonOption = False) -> None:
    """List the webhooks of a channel."""
    from shelfsight.catalog.store import channels
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.webhooks import store

    with opened_service() as service, service.database.read() as tx:
        channels.get(tx, channel)
        found = store.webhooks_of(tx, channel)
    if json:
        from shelfsight.webhooks.documents import WebhookDocument

        print_documents(map(WebhookDocument.of, found))
    else:
        print_table(("Id", "URL", "Events", "Added", "Disabled"), map(_row, found))


@group.command()
def remove(channel: ChannelArgument, webhook: WebhookArgument) -> None:
    """Remove a webhook; what is on its way to it is not sent any more."""
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.webhooks import subscriptions

    with opened_service() as service:
        subscriptions.remove(service.database, channel, webhook, by=_asker(service))
    print_plain(f"Removed {webhook}")


@group.command()
def deliveries(
    channel: ChannelArgument,
    webhook: WebhookArgument,
    state: Annotated[State | None, typer.Option(help="In this state only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 100,
    json: JsonOption = False,
) -> None:
    """List what was sent to a webhook, or is to be, the newest first."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.webhooks import store
    from shelfsight.webhooks.rules import DeliveryState

    chosen = None if state is None else DeliveryState(state)
    with opened_service() as service, service.database.read() as tx:
        store.get_webhook(tx, channel, webhook)
        found = store.page(tx, webhook, state=chosen, before=None, limit=limit)
    if json:
        from shelfsight.webhooks.documents import DeliveryDocument

        print_documents(map(DeliveryDocument.of, found))
    else:
        columns = ("Id", "Event", "State", "Attempts", "Made", "Next", "Last error")
        print_table(columns, map(_delivery_row, found), right=("Id", "Attempts"))


@group.command()
def retry(
    channel: ChannelArgument,
    webhook: WebhookArgument,
    delivery_ids: Annotated[
        list[int], typer.Argument(metavar="DELIVERY...", help="As `webhooks deliveries` shows them.")
    ],
) -> None:
    """Let a running server send events now, also those that have arrived."""
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.webhooks import subscriptions

    with opened_service() as service:
        for delivery_id in delivery_ids:
            subscriptions.retry(service.database, channel, webhook, delivery_id, by=_asker(service))
            print_plain(f"Delivery {delivery_id} is sent again")


@group.command("test")
def send_test(channel: ChannelArgument, webhook: WebhookArgument, json: JsonOption = False) -> None:
    """Send an event that says nothing, from here, and say what is answered; exits with 1 unless it arrives."""
    from shelfsight.cli.output import print_document, print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UnreachableError
    from shelfsight.settings import service_settings
    from shelfsight.webhooks import store, subscriptions
    from shelfsight.webhooks.rules import DeliveryState
    from shelfsight.webhooks.sender import Sender

    with opened_service() as service:
        made = subscriptions.send_test(service.database, channel, webhook, by=_asker(service))
        reach = subscriptions.reach_of(service_settings().webhook_networks)
        Sender(service.database, reach).send(made.id)
        with service.database.read() as tx:
            found = store.get_delivery(tx, webhook, made.id)
    if json:
        from shelfsight.webhooks.documents import DeliveryDocument

        print_document(DeliveryDocument.of(found))
    if found.error is not None:
        raise UnreachableError(f"the event did not arrive: {found.error}")
    if not json:
        arrived = f"Arrived: the server answers {found.status}"
        print_plain(arrived if found.state is DeliveryState.DELIVERED else "A running server is sending it")


def _row(webhook: Webhook) -> tuple[str, ...]:
    from shelfsight.cli.output import moment

    return (
        webhook.id,
        webhook.url,
        ", ".join(webhook.events),
        moment(webhook.created_at),
        "–" if webhook.disabled_at is None else f"{moment(webhook.disabled_at)}: {webhook.disabled_reason}",
    )


def _delivery_row(delivery: Delivery) -> tuple[str, ...]:
    from shelfsight.cli.output import moment

    return (
        str(delivery.id),
        delivery.event,
        delivery.state,
        str(delivery.attempts),
        moment(delivery.created_at),
        moment(delivery.next_at),
        delivery.error or "–",
    )


def _asker(service: Service) -> Asker:
    from shelfsight.access.rules import Asker

    return Asker(actor=service.caller.actor)
