"""Webhooks are added, removed, tried, and given another chance; each with an entry in the audit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shelfsight.access import audit
from shelfsight.catalog.reach import Reach, check_addresses, is_public
from shelfsight.catalog.store import changes
from shelfsight.database import clock
from shelfsight.errors import ConflictError, UnreachableError, UsageError
from shelfsight.webhooks import store
from shelfsight.webhooks.outbox import new_message_id
from shelfsight.webhooks.rules import (
    SECRET_BYTES,
    TEST,
    WEBHOOKS_MOST,
    Delivery,
    Webhook,
    body_of,
    check_events,
    secret_text,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from shelfsight.access.rules import Asker
    from shelfsight.catalog.reach import Address
    from shelfsight.database.engine import Database
    from shelfsight.settings import Network

ANSWERS_WITHIN_S = 15.0
_LOOKED_UP_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedWebhook:
    """A webhook, and what its receiver checks signatures with, which is never to be had again."""

    webhook: Webhook
    secret: str = field(repr=False)


def reach_of(networks: Sequence[Network]) -> Reach:
    """Return where webhooks may be sent: the public internet, and `networks` beside it."""
    return Reach(is_allowed=partial(_is_allowed, networks), ports=None, seconds=ANSWERS_WITHIN_S)


def add(
    database: Database, channel_id: str, url: str, events: Collection[str], *, reach: Reach, by: Asker
) -> AddedWebhook:
    """Add a webhook to a channel; its name is looked up, and its server asked nothing.

    Raises:
        UsageError: the URL or an event is none, or its server is not where webhooks may be sent.
        NotFoundError: there is no such channel.
        ConflictError: the channel has as many as it may have.
    """
    chosen = check_events(events)
    try:
        check_addresses(url, replace(reach, seconds=_LOOKED_UP_WITHIN_S))
    except UnreachableError as exc:
        raise UsageError(f"url cannot be used: {exc}") from exc
    secret = secret_text(secrets.token_bytes(SECRET_BYTES))
    with database.write(actor=by.actor) as tx:
        changes.lock(tx, channel_id)
        if len(store.webhooks_of(tx, channel_id)) >= WEBHOOKS_MOST:
            raise ConflictError(f"channel {channel_id} has {WEBHOOKS_MOST} webhooks, the most: remove one first")
        webhook = Webhook(
            id=secrets.token_hex(8),
            channel=channel_id,
            url=url,
            events=chosen,
            created_at=clock.now(tx),
            created_by=by.actor,
        )
        store.insert_webhook(tx, webhook, secret=secret)
        _audit(tx, "webhook_added", webhook, by)
    return AddedWebhook(webhook=webhook, secret=secret)


def remove(database: Database, channel_id: str, webhook_id: str, *, by: Asker) -> None:
    """Remove a webhook; what is on its way to it is not sent any more.

    Raises:
        NotFoundError: the channel has none of that id.
    """
    with database.write(actor=by.actor) as tx:
        webhook = store.get_webhook(tx, channel_id, webhook_id)
        store.delete_webhook(tx, webhook_id)
        _audit(tx, "webhook_removed", webhook, by)


def send_test(database: Database, channel_id: str, webhook_id: str, *, by: Asker) -> Delivery:
    """Write an event that says nothing, for one webhook; return its delivery, which is sent soon.

    Raises:
        NotFoundError: the channel has none of that id.
        ConflictError: it was disabled.
    """
    with database.write(actor=by.actor) as tx:
        webhook = _enabled(tx, channel_id, webhook_id)
        now = clock.now(tx)
        message = (new_message_id(), body_of(TEST, {"channelId": channel_id, "webhookId": webhook_id}, now))
        store.insert_deliveries(tx, channel_id, [webhook_id], [message], event=TEST, at=now)
        _audit(tx, "webhook_tested", webhook, by)
        return store.find_delivery(tx, webhook_id, message[0])


def retry(database: Database, channel_id: str, webhook_id: str, delivery_id: int, *, by: Asker) -> Delivery:
    """Let an event be sent now, with as many attempts as a new one has, also one that had arrived.

    Raises:
        NotFoundError: there is no such webhook or delivery.
        ConflictError: the webhook was disabled.
    """
    with database.write(actor=by.actor) as tx:
        webhook = _enabled(tx, channel_id, webhook_id)
        store.get_delivery(tx, webhook_id, delivery_id)
        store.send_again(tx, delivery_id, clock.now(tx))
        _audit(tx, "webhook_delivery_retried", webhook, by, delivery=delivery_id)
        return store.get_delivery(tx, webhook_id, delivery_id)


def _enabled(tx: Connection, channel_id: str, webhook_id: str) -> Webhook:
    webhook = store.get_webhook(tx, channel_id, webhook_id)
    if webhook.disabled_at is not None:
        since = webhook.disabled_at.isoformat(timespec="seconds")
        raise ConflictError(f"webhook {webhook_id} is disabled since {since}: remove it, and add it anew")
    return webhook


def _audit(tx: Connection, action: str, webhook: Webhook, by: Asker, **details: object) -> None:
    place = urlsplit(webhook.url)  # its path and query may hold a secret
    audit.record(
        tx,
        actor=by.actor,
        action=action,
        channel=webhook.channel,
        subject=webhook.id,
        address=by.address,
        details={"server": f"{place.scheme}://{place.netloc}", "events": list(webhook.events), **details},
    )


def _is_allowed(networks: Sequence[Network], address: Address) -> bool:
    return is_public(address) or any(address in network for network in networks)
