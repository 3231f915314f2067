"""Routes of webhooks: added, listed, removed, tried; what was sent to them, and what was not."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from shelfsight.api.documents import Page
from shelfsight.api.guards import WriterCaller, asker_of
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.services import ServicesOf
from shelfsight.catalog.store import channels
from shelfsight.webhooks import store, subscriptions
from shelfsight.webhooks.documents import (
    AddedWebhookDocument,
    DeliveryDocument,
    NewWebhookDocument,
    WebhookDocument,
)
from shelfsight.webhooks.rules import DeliveryState

router = APIRouter(prefix="/api/v1/channels/{channel_id}/webhooks", tags=["webhooks"])

DeliveryId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("", status_code=201)
def add_webhook(
    channel_id: str,
    document: NewWebhookDocument,
    caller: WriterCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
) -> AddedWebhookDocument:
    """Add a webhook. The answer is the only one that shows its secret."""
    reach = subscriptions.reach_of(services.webhook_networks)
    added = subscriptions.add(
        services.database, channel_id, document.url, document.events, reach=reach, by=asker_of(caller, request)
    )
    response.headers["location"] = f"/api/v1/channels/{channel_id}/webhooks/{added.webhook.id}"
    response.headers["cache-control"] = "no-store"
    return AddedWebhookDocument.with_secret(added.webhook, added.secret)


@router.get("")
def list_webhooks(channel_id: str, _caller: WriterCaller, services: ServicesOf) -> list[WebhookDocument]:
    """List the webhooks of a channel, in the order in which they were added: twenty at most."""
    with services.database.read() as tx:
        channels.get(tx, channel_id)
        return [WebhookDocument.of(one) for one in store.webhooks_of(tx, channel_id)]


@router.get("/{webhook_id}")
def show_webhook(channel_id: str, webhook_id: str, _caller: WriterCaller, services: ServicesOf) -> WebhookDocument:
    """Show a webhook."""
    with services.database.read() as tx:
        return WebhookDocument.of(store.get_webhook(tx, channel_id, webhook_id))


@router.delete("/{webhook_id}", status_code=204)
def remove_webhook(
    channel_id: str, webhook_id: str, caller: WriterCaller, services: ServicesOf, request: Request
) -> None:
    """Remove a webhook; what is on its way to it is not sent any more."""
    subscriptions.remove(services.database, channel_id, webhook_id, by=asker_of(caller, request))


@router.post("/{webhook_id}/test", status_code=202)
def send_test_event(
    channel_id: str, webhook_id: str, caller: WriterCaller, services: ServicesOf, request: Request
) -> DeliveryDocument:
    """Send an event `webhook.test` to a webhook; its delivery, which is answered with, says what came of it."""
    by = asker_of(caller, request)
    return DeliveryDocument.of(subscriptions.send_test(services.database, channel_id, webhook_id, by=by))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(  # noqa: PLR0913, PLR0917 (FastAPI's way of asking for each)
    channel_id: str,
    webhook_id: str,
    _caller: WriterCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    state: Annotated[DeliveryState | None, Query(description="In this state only")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[DeliveryDocument]:
    """List what was sent to a webhook, or is to be, the newest first; those that ended stay for 30 days."""
    before = decode_cursor(cursor, int)
    with services.database.read() as tx:
        store.get_webhook(tx, channel_id, webhook_id)
        found = store.page(tx, webhook_id, state=state, before=before, limit=limit + 1)
    shown = [DeliveryDocument.of(one) for one in found[:limit]]
    return page_of(request, response, shown, shown[-1].id if len(found) > limit else None)


@router.post("/{webhook_id}/deliveries/{delivery_id}/retry", status_code=202)
def retry_delivery(
    channel_id: str,
    webhook_id: str,
    delivery_id: DeliveryId,
    caller: WriterCaller,
    services: ServicesOf,
    request: Request,
) -> DeliveryDocument:
    """Send an event now, under the same id, with as many attempts as a new one has; also one that has arrived."""
    by = asker_of(caller, request)
    return DeliveryDocument.of(subscriptions.retry(services.database, channel_id, webhook_id, delivery_id, by=by))
