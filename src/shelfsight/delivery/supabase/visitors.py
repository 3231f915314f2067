"""Who asks, and of which channel: the keys of the Supabase clients, and the tokens of signed URLs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.access.rules import NOBODY, Right, may, split_token
from shelfsight.access.url_tokens import check_not_expired, is_url_token
from shelfsight.catalog.rules import DEFAULT_CHANNEL
from shelfsight.delivery.gate import too_often
from shelfsight.delivery.rules import bearer_tokens, channel_named_by
from shelfsight.delivery.supabase.rules import PRIVATE
from shelfsight.errors import AccessError, AuthenticationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.access.limits import RequestLimits
    from shelfsight.access.rules import Caller
    from shelfsight.access.url_tokens import SignedGrant
    from shelfsight.delivery.lookups import Lookups
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.store import ServedChannel
    from shelfsight.delivery.supabase.request import WireRequest


ITEMS_A_REQUEST = 20
"""Objects of one call that count as one request more: each of them is looked for by itself."""


class ThrottledError(Exception):
    """Somebody asks too often; `wait_s` is in how many seconds they may again."""

    def __init__(self, actor: str, wait_s: int) -> None:
        """Say who."""
        self.refused = too_often(actor, wait_s)
        super().__init__(str(self.refused.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks: those whose keys came along, and the channel that these name, `default` without any."""

    channel: ServedChannel
    callers: tuple[Caller, ...]

    @property
    def actor(self) -> str:
        """Who it is, as audits show it."""
        return self.callers[0].actor if self.callers else NOBODY.actor

    def may(self, right: Right, channel: str) -> bool:
        """Return whether one of the keys has this right."""
        return any(may(caller, right, channel) for caller in self.callers)

    def sees(self, channels: Sequence[ServedChannel]) -> bool:
        """Return whether one of the channels is open to these keys, or to everybody."""
        return any(not one.private or self.may(Right.DEVICE, one.id) for one in channels)

    def check_sees_channel(self) -> None:
        """Check that the channel is open to these keys, or to everybody.

        Raises:
            AccessError: it is not.
        """
        if not self.sees([self.channel]):
            raise AccessError(PRIVATE)

    def check_writes(self) -> None:
        """Check that these keys may change the channel.

        Raises:
            AccessError: they may not.
        """
        if not self.may(Right.WRITE, self.channel.id):
            raise AccessError(
                f"new row violates row-level security policy: writing to channel {self.channel.id} needs a token of "
                f"scope channel:{self.channel.id}:write, not its public key"
            )


class Visitors:
    """Tells who asks, as often as anybody may ask."""

    def __init__(self, lookups: Lookups, rate: RequestLimits) -> None:
        """Look keys up in `lookups`, and count them in `rate`."""
        self._lookups = lookups
        self._rate = rate

    async def visitor(self, request: WireRequest) -> Visitor:
        """Return who asks. What is no key of ours, such as that of a project at Supabase, is nobody's.

        Raises:
            AuthenticationError: one of our tokens came, and is worth nothing.
            ThrottledError: they ask too often.
        """
        asked = request.asked
        tokens = bearer_tokens(asked.headers.get(b"authorization"), asked.headers.get(b"apikey"), b"")
        found = [await self._caller(token, asked) for token in tokens if not is_url_token(token)]
        callers = tuple(caller for caller in found if caller is not None)
        named = next((name for name in map(channel_named_by, callers) if name is not None), DEFAULT_CHANNEL)
        channel = await self._lookups.channel(named)
        if channel is None:
            raise NotFoundError(f"there is no channel {named}")
        visitor = Visitor(channel=channel, callers=callers)
        request.actor = visitor.actor
        return visitor

    async def signed(self, token: str, request: WireRequest) -> SignedGrant:
        """Return what the token of a signed URL grants.

        Raises:
            AuthenticationError: it is none of ours, was changed, or has expired.
            ThrottledError: they ask too often.
        """
        try:
            signed = await self._lookups.grant(token)
        except AuthenticationError:  # who has a URL goes on, whatever strangers behind the same address try meanwhile
            self._count_unknown(request.asked)
            raise
        check_not_expired(signed, now=datetime.now(UTC))
        request.actor = signed.actor
        self._count(token.rpartition(".")[2], signed.actor)
        return signed

    def count_work(self, asked: Asked, items: int) -> None:
        """Count a request that is as much work as several: for each `ITEMS_A_REQUEST` of its items, once more.

        Raises:
            ThrottledError: they ask too often.
        """
        for _ in range(items // ITEMS_A_REQUEST):
            wait_s = self._rate.wait_s(asked.address)
            if wait_s is not None:
                raise ThrottledError(NOBODY.actor, wait_s)

    async def _caller(self, token: str, asked: Asked) -> Caller | None:
        is_guess = not self._lookups.is_known(token)
        if is_guess:
            self._count_unknown(asked)
        caller = await self._lookups.caller(token)
        if caller is None:
            if split_token(token) is not None:
                raise AuthenticationError("the token is unknown, or has expired, or was revoked: ask for another")
            return None
        if is_guess:
            self._rate.token_was_right(asked.address)
        if not caller.actor.startswith("channel:"):  # whose key lies open: it is not counted by itself
            self._count(caller.actor, caller.actor)
        return caller

    def _count_unknown(self, asked: Asked) -> None:
        wait_s = self._rate.unknown_wait_s(asked.address)
        if wait_s is not None:
            raise ThrottledError(NOBODY.actor, wait_s)

    def _count(self, token: str, actor: str) -> None:
        wait_s = self._rate.token_wait_s(token)
        if wait_s is not None:
            raise ThrottledError(actor, wait_s)
