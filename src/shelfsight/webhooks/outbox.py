"""Events are written in the transaction of what happened, and sent afterwards: none is lost, none is made up."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from shelfsight.webhooks import store
from shelfsight.webhooks.rules import body_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.webhooks.rules import Event


def emit(
    tx: Connection, channel_id: str, event: Event, documents: Iterable[Mapping[str, Any]], *, at: datetime
) -> None:
    """Write that an event happened in a channel, once for each of `documents`, for every webhook it concerns.

    Args:
        documents: what is told, as JSON has it; asked for only if anybody is to be told.
        at: when it happened.
    """
    webhooks = store.subscribed(tx, channel_id, event)
    if webhooks:
        messages = ((new_message_id(), body_of(event, data, at)) for data in documents)
        store.insert_deliveries(tx, channel_id, webhooks, messages, event=event, at=at)


def new_message_id() -> str:
    """Return an id for what receivers call a message; without a point, which parts what is signed."""
    return f"msg_{secrets.token_hex(16)}"
