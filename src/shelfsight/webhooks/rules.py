"""What is sent to whom, how it is signed, and when to try again; after Standard Webhooks 1.0.0. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WEBHOOKS_MOST = 20
"""Most webhooks of a channel."""

SECRET_BYTES = 32
_SECRET_PREFIX = "whsec_"  # noqa: S105 (what a secret begins with)
_GONE = 410
_RETRY_AFTER_MOST = timedelta(hours=24)
_JITTER = 0.2
_DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Before each attempt but the first: three days in all, as the specification proposes."""

ATTEMPTS_MOST = len(_DELAYS) + 1
"""Of what happened; a test is made once, for whoever looks at what came of it."""


class Event(StrEnum):
    """What a webhook can be told of."""

    SALE_RECORDED = "sale.recorded"


TEST = "webhook.test"
"""The event that somebody asks for, to see whether it arrives; every webhook gets it."""


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where events of a channel are sent; what they are signed with is not part of it.

    Attributes:
        disabled_at: since when nothing is sent any more, because its server said so.
    """

    id: str
    channel: str
    url: str
    events: tuple[str, ...]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None = None
    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to a webhook.

    Attributes:
        message_id: the header `webhook-id`: the same for every webhook and at every attempt.
        next_at: of the next attempt, while it is pending.
        status: what was answered last, None = nothing.
        error: why the last attempt did not succeed.
    """

    id: int
    webhook: str
    message_id: str
    event: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    attempted_at: datetime | None
    ended_at: datetime | None
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of an attempt; `status` None: no answer, for `error`."""

    status: int | None = None
    retry_after_s: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a delivery after an attempt.

    Attributes:
        delay: until the next attempt, of one that is pending.
        disables: whether its webhook is to be sent nothing any more.
    """

    state: DeliveryState
    error: str | None = None
    delay: timedelta | None = None
    disables: bool = False


def check_events(events: Iterable[str]) -> tuple[str, ...]:
    """Return the events of a new webhook, each once.

    Raises:
        UsageError: there are none, or one is none.
    """
    chosen = sorted(set(events))
    known = [str(one) for one in Event]
    if not chosen:
        raise UsageError(f"a webhook needs an event: {', '.join(known)}")
    for event in chosen:
        if event not in known:
            raise UsageError(f"{event[:80]!r} is no event: use {', '.join(known)}")
    return tuple(chosen)


def secret_text(secret: bytes) -> str:
    """Return a secret as people copy it."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def body_of(event: str, data: Mapping[str, Any], at: datetime) -> str:
    """Return what is sent of an event that happened at that time."""
    timestamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    body = {"type": event, "timestamp": timestamp, "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def headers_of(secret: str, message_id: str, body: bytes, at: datetime) -> list[tuple[bytes, bytes]]:
    """Return the headers of an attempt at that time, with the signature."""
    timestamp = int(at.timestamp())
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", b"shelfsight-webhooks"),
        (b"accept-encoding", b"identity"),
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", str(timestamp).encode()),
        (b"webhook-signature", b"v1," + base64.b64encode(signed)),
    ]


def attempts_left(event: str, number: int) -> int:
    """Return how many attempts of an event may follow the one with that number."""
    return 0 if event == TEST else max(0, ATTEMPTS_MOST - number)


def verdict(attempt: Attempt, *, number: int, left: int, chance: float) -> Verdict:
    """Return what becomes of a delivery.

    Args:
        number: of the attempt, from 1 on, since the delivery was made or asked for anew.
        left: how many may follow it.
        chance: 0..1, which spreads attempts, so that a server that comes back is not met by all at once.
    """
    if attempt.status is not None and 200 <= attempt.status < 300:
        return Verdict(state=DeliveryState.DELIVERED)
    reason = attempt.error if attempt.status is None else f"the server answers {attempt.status}"
    if attempt.status == _GONE:
        return Verdict(state=DeliveryState.FAILED, error=f"{reason}: it wants no more", disables=True)
    if left == 0:
        return Verdict(state=DeliveryState.FAILED, error=reason)
    delay = _DELAYS[number - 1] * (1 + _JITTER * chance)
    asked = min(timedelta(seconds=attempt.retry_after_s or 0), _RETRY_AFTER_MOST)
    return Verdict(state=DeliveryState.PENDING, error=reason, delay=max(delay, asked))
