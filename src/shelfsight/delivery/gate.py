"""Who may have the files of private channels."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.access.rules import NOBODY, Right, may
from shelfsight.delivery.rules import bearer_tokens
from shelfsight.errors import AccessError, AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.delivery.lookups import Lookups
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.store import ServedChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Who may not have a file, and why; `actor` as the audit shows it."""

    actor: str
    error: AuthenticationError | AccessError


async def refusal(lookups: Lookups, channels: Sequence[ServedChannel], asked: Asked) -> Refused | None:
    """Return why who asks may see none of these private channels, None for who may see one.

    A request can bring several tokens (Supabase's clients send two): the best counts.
    """
    tokens = bearer_tokens(asked.headers.get(b"authorization"), asked.headers.get(b"apikey"), asked.query)
    if any(_is_key_of(channel, token) for channel in channels for token in tokens):
        return None
    stranger: str | None = None
    for token in tokens:
        caller = await lookups.caller(token)
        if caller is None:
            continue
        if any(may(caller, Right.DEVICE, channel.id) for channel in channels):
            return None
        stranger = caller.actor
    if stranger is not None:
        return Refused(actor=stranger, error=AccessError("this token is not for this channel"))
    missing = AuthenticationError(
        "this channel is private: send a token that may read it, as Authorization: Bearer, apikey or ?token="
    )
    return Refused(actor=NOBODY.actor, error=missing)


def _is_key_of(channel: ServedChannel, token: str) -> bool:
    return bool(channel.token) and hmac.compare_digest(channel.token.encode(), token.encode())
