"""SQL of webhooks: where events go, and those that are on their way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, exists, func, insert, literal, select, update

from shelfsight.database.batches import delete_older
from shelfsight.database.tables import webhook_deliveries as deliveries
from shelfsight.database.tables import webhooks
from shelfsight.errors import NotFoundError
from shelfsight.webhooks.rules import Delivery, DeliveryState, Webhook

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Connection, Row

    from shelfsight.webhooks.rules import Attempt, Verdict

_LOOKED_AT = 1000
"""Due deliveries that are looked at to find some of different webhooks."""
_PENDING, _DELIVERED, _FAILED = (state.value for state in DeliveryState)
_ERROR_MOST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """By what a sender proves that a delivery is its own, and for how long it is."""

    claim: str
    lasts: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many deliveries a sender has room for.

    Attributes:
        most: in all.
        of_webhook: at most so many to one webhook, with those that are on their way.
        of_channel: at most so many of one channel, as well.
        taken_by_webhook: how many are on their way to a webhook; `taken_by_channel` of a channel.
    """

    most: int
    of_webhook: int
    of_channel: int
    taken_by_webhook: Mapping[str, int] = field(default_factory=dict)
    taken_by_channel: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that a sender has taken: nobody else sends it until its time is over.

    Attributes:
        number: of the attempt, since the delivery was made or asked for anew.
        claim: proves that it is still the sender's.
        is_disabled: its webhook was disabled in the meantime.
    """

    id: int
    channel: str
    webhook: str
    url: str = field(repr=False)  # its path may hold a secret
    secret: str = field(repr=False)
    message_id: str
    event: str
    body: str = field(repr=False)
    number: int
    claim: str
    is_disabled: bool


def insert_webhook(tx: Connection, webhook: Webhook, *, secret: str) -> None:
    """Add a webhook."""
    tx.execute(
        insert(webhooks).values(
            id=webhook.id,
            channel_id=webhook.channel,
            url=webhook.url,
            events=list(webhook.events),
            secret=secret,
            created_at=webhook.created_at,
            created_by=webhook.created_by,
        )
    )


def get_webhook(tx: Connection, channel_id: str, webhook_id: str) -> Webhook:
    """Return a webhook.

    Raises:
        NotFoundError: the channel has none of that id.
    """
    found = select(webhooks).where(webhooks.c.channel_id == channel_id, webhooks.c.id == webhook_id)
    row = tx.execute(found).one_or_none()
    if row is None:
        raise NotFoundError(f"webhook {webhook_id!r} is not in channel {channel_id!r}")
    return _webhook(row)


def webhooks_of(tx: Connection, channel_id: str) -> list[Webhook]:
    """Return the webhooks of a channel, in the order in which they were added."""
    found = select(webhooks).where(webhooks.c.channel_id == channel_id)
    return [_webhook(row) for row in tx.execute(found.order_by(webhooks.c.created_at, webhooks.c.id))]


def delete_webhook(tx: Connection, webhook_id: str) -> None:
    """Remove a webhook with everything that was to be sent to it."""
    hold_webhook(tx, webhook_id)
    tx.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
    tx.execute(delete(webhooks).where(webhooks.c.id == webhook_id))


def hold_webhook(tx: Connection, webhook_id: str) -> None:
    """Wait for whoever is writing a delivery to a webhook; nobody writes one from here on, until the end."""
    tx.execute(select(webhooks.c.id).where(webhooks.c.id == webhook_id).with_for_update())


def subscribed(tx: Connection, channel_id: str, event: str) -> list[str]:
    """Return the ids of a channel's webhooks that hear of an event; none of them goes before the transaction ends."""
    found = select(webhooks.c.id, webhooks.c.events).where(
        webhooks.c.channel_id == channel_id, webhooks.c.disabled_at.is_(None)
    )
    kept = found.order_by(webhooks.c.id).with_for_update(read=True, key_share=True)
    return [row.id for row in tx.execute(kept) if event in row.events]


def insert_deliveries(
    tx: Connection,
    channel_id: str,
    webhook_ids: Collection[str],
    messages: Iterable[tuple[str, str]],
    *,
    event: str,
    at: datetime,
) -> None:
    """Write messages, each an id and a body, that are to be sent to each of the webhooks at once."""
    rows = [
        {
            "channel_id": channel_id,
            "webhook_id": webhook_id,
            "message_id": message_id,
            "event": event,
            "body": body,
            "state": _PENDING,
            "attempts": 0,
            "attempts_before": 0,
            "next_at": at,
            "created_at": at,
        }
        for message_id, body in messages
        for webhook_id in webhook_ids
    ]
    if rows:
        tx.execute(insert(deliveries), rows)


def get_delivery(tx: Connection, webhook_id: str, delivery_id: int) -> Delivery:
    """Return a delivery to a webhook.

    Raises:
        NotFoundError: there is none of that id.
    """
    found = select(deliveries).where(deliveries.c.webhook_id == webhook_id, deliveries.c.id == delivery_id)
    row = tx.execute(found).one_or_none()
    if row is None:
        raise NotFoundError(f"delivery {delivery_id} is not one to webhook {webhook_id}")
    return _delivery(row)


def find_delivery(tx: Connection, webhook_id: str, message_id: str) -> Delivery:
    """Return the delivery of a message that was just written for a webhook."""
    found = select(deliveries).where(deliveries.c.webhook_id == webhook_id, deliveries.c.message_id == message_id)
    return _delivery(tx.execute(found).one())


def page(
    tx: Connection, webhook_id: str, *, state: DeliveryState | None, before: int | None, limit: int
) -> list[Delivery]:
    """Return deliveries to a webhook, the newest first: those with a lower id than `before`, at most `limit`."""
    found = select(deliveries).where(deliveries.c.webhook_id == webhook_id)
    if state is not None:
        found = found.where(deliveries.c.state == state.value)
    if before is not None:
        found = found.where(deliveries.c.id < before)
    return [_delivery(row) for row in tx.execute(found.order_by(deliveries.c.id.desc()).limit(limit))]


def is_any_due(tx: Connection, now: datetime) -> bool:
    """Return whether anything is to be sent; one look into an index."""
    return bool(tx.scalar(select(exists().where(deliveries.c.state == _PENDING, deliveries.c.next_at <= now))))


def claim(tx: Connection, hold: Hold, room: Room, now: datetime) -> list[Claimed]:
    """Take deliveries that are due, so that no other sender does before the hold is over."""
    due = (
        select(deliveries.c.id, deliveries.c.webhook_id, deliveries.c.channel_id, deliveries.c.next_at)
        .where(
            _is_due(now),
            _left(deliveries.c.webhook_id, room.of_webhook, room.taken_by_webhook) > 0,
            _left(deliveries.c.channel_id, room.of_channel, room.taken_by_channel) > 0,
        )
        .order_by(deliveries.c.next_at)
        .limit(_LOOKED_AT)
        .subquery()
    )
    place = func.row_number().over(partition_by=due.c.webhook_id, order_by=(due.c.next_at, due.c.id))
    ranked = select(due.c.id, due.c.webhook_id, due.c.channel_id, place.label("place")).subquery()
    of_channel = func.row_number().over(partition_by=ranked.c.channel_id, order_by=(ranked.c.place, ranked.c.id))
    fits_webhook = ranked.c.place <= _left(ranked.c.webhook_id, room.of_webhook, room.taken_by_webhook)
    fair = select(ranked.c.id, ranked.c.channel_id, of_channel.label("place")).where(fits_webhook).subquery()
    fits_channel = fair.c.place <= _left(fair.c.channel_id, room.of_channel, room.taken_by_channel)
    chosen = select(fair.c.id).where(fits_channel).order_by(fair.c.place, fair.c.id)
    return _take(tx, list(tx.scalars(chosen.limit(room.most))), hold, now)


def claim_one(tx: Connection, delivery_id: int, hold: Hold, now: datetime) -> Claimed | None:
    """Take a delivery that is due; return None where somebody else has it, or had."""
    taken = _take(tx, [delivery_id], hold, now)
    return taken[0] if taken else None


def note_attempt(tx: Connection, claimed: Claimed, attempt: Attempt, verdict: Verdict, now: datetime) -> bool:
    """Write what came of an attempt; return False where the delivery is no longer the sender's."""
    mine = (deliveries.c.id == claimed.id, deliveries.c.state == _PENDING, deliveries.c.claim == claimed.claim)
    values = {
        "state": verdict.state.value,
        "next_at": None if verdict.delay is None else now + verdict.delay,
        "claim": None,
        "attempted_at": now,
        "ended_at": now if verdict.delay is None else None,
        "status": attempt.status,
        "error": None if verdict.error is None else verdict.error[:_ERROR_MOST],
    }
    return tx.execute(update(deliveries).where(*mine).values(values)).rowcount == 1


def disable(tx: Connection, webhook_id: str, reason: str, now: datetime) -> None:
    """Send a webhook nothing any more; what is on its way to it has failed."""
    off = update(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.disabled_at.is_(None))
    tx.execute(off.values(disabled_at=now, disabled_reason=reason[:_ERROR_MOST]))
    waiting = update(deliveries).where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == _PENDING)
    tx.execute(
        waiting.values(state=_FAILED, next_at=None, claim=None, ended_at=now, error="the webhook was disabled")
    )


def send_again(tx: Connection, delivery_id: int, now: datetime) -> None:
    """Let a delivery be sent now, with as many attempts as a new one has; one that is being sent stays so."""
    again = update(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.claim.is_(None))
    tx.execute(again.values(state=_PENDING, next_at=now, ended_at=None, attempts_before=deliveries.c.attempts))


def purge(tx: Connection, before: datetime, limit: int) -> int:
    """Delete deliveries that ended before then, at most `limit`; return how many."""
    return delete_older(tx, deliveries.c.ended_at, before, limit)


def _take(tx: Connection, ids: Collection[int], hold: Hold, now: datetime) -> list[Claimed]:
    # On PostgreSQL, rows that another sender is about to take are passed over; those it took are due no more.
    free = select(deliveries.c.id).where(deliveries.c.id.in_(list(ids)), _is_due(now))
    mine = list(tx.scalars(free.with_for_update(skip_locked=True)))
    if not mine:
        return []
    taken = {"next_at": now + hold.lasts, "claim": hold.claim, "attempts": deliveries.c.attempts + 1}
    tx.execute(update(deliveries).where(deliveries.c.id.in_(mine)).values(taken))
    of_webhooks = select(deliveries, webhooks.c.url, webhooks.c.secret, webhooks.c.disabled_at).join(
        webhooks, webhooks.c.id == deliveries.c.webhook_id
    )
    rows = tx.execute(of_webhooks.where(deliveries.c.id.in_(mine)).order_by(deliveries.c.id))
    return [_claimed(row) for row in rows]


def _left(of: ColumnElement[str], most: int, taken: Mapping[str, int]) -> ColumnElement[int]:
    """Return how many more there may be of a webhook or channel."""
    if not taken:
        return literal(most)
    return case({name: most - count for name, count in taken.items()}, value=of, else_=most)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return (deliveries.c.state == _PENDING) & (deliveries.c.next_at <= now)


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        id=row.id,
        channel=row.channel_id,
        webhook=row.webhook_id,
        url=row.url,
        secret=row.secret,
        message_id=row.message_id,
        event=row.event,
        body=row.body,
        number=row.attempts - row.attempts_before,
        claim=row.claim,
        is_disabled=row.disabled_at is not None,
    )


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        channel=row.channel_id,
        url=row.url,
        events=tuple(row.events),
        created_at=row.created_at,
        created_by=row.created_by,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        webhook=row.webhook_id,
        message_id=row.message_id,
        event=row.event,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        created_at=row.created_at,
        next_at=row.next_at,
        attempted_at=row.attempted_at,
        ended_at=row.ended_at,
        status=row.status,
        error=row.error,
    )
