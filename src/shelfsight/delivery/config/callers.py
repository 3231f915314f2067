"""Who the tokens of requests stand for: those that are known at once, others as the database says, not too often."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.access.rules import split_token
from shelfsight.delivery.config.keep import PATIENCE_S
from shelfsight.delivery.memory import Flights, Memory
from shelfsight.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.access.limits import RequestLimits
    from shelfsight.access.rules import Caller
    from shelfsight.delivery.config.keep import Keeper
    from shelfsight.delivery.lookups import Authenticator

KNOWN_FOR_S = 1.0
"""How long a token is believed without asking: until one that was revoked is refused."""

WRONG_FOR_S = 5.0
"""How long a wrong one is refused without asking: an app may send the same one with every request."""

_MOST_KNOWN = 50_000
_MOST_WRONG = 5_000


@dataclass(frozen=True, slots=True)
class TooOften:
    """Why nobody was asked: too many tokens that are not known came from there. Better come again later."""

    wait_s: int


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    checked_at: float


class Callers:
    """Remembers who tokens stand for. One for each event loop.

    A token that was right before goes on being believed when the database is away, and is looked up whatever else
    comes from the same address; one that never was is looked up 60 times a minute and address at most.
    """

    def __init__(
        self,
        *,
        authenticate: Authenticator,
        keeper: Keeper,
        limits: RequestLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `authenticate`, in a thread, who a token stands for."""
        self._authenticate = authenticate
        self._keeper = keeper
        self._limits = limits
        self._clock = clock
        self._known: Memory[bytes, _Known] = Memory(_MOST_KNOWN)
        self._wrong: Memory[bytes, float] = Memory(_MOST_WRONG)
        self._lookups: Flights[bytes, Caller | None] = Flights()

    async def find(self, token: bytes, address: str | None) -> Caller | TooOften | None:
        """Return who a token stands for, None for nobody.

        Raises:
            UnavailableError: the database does not answer, and the token was not known before.
        """
        known = self._known.get(token)
        now = self._clock()
        if known is not None:
            if now < known.checked_at + KNOWN_FOR_S or await self._is_still_a_key(token, known.caller):
                return known.caller
            return await self._ask_again(token, known.caller)
        refused_at = self._wrong.get(token)
        if refused_at is not None and now < refused_at + WRONG_FOR_S:
            return None
        if self._lookups.is_running(token):  # for a shop whose tills all begin at once
            return await self._look_up(token)
        wait_s = self._limits.unknown_wait_s(address)
        if wait_s is not None:
            return TooOften(wait_s)
        caller = await self._look_up(token)
        if caller is not None:
            self._limits.token_was_right(address)
        return caller

    async def _look_up(self, token: bytes) -> Caller | None:
        return await self._lookups.join(token, lambda: self._asked(token))

    async def _asked(self, token: bytes) -> Caller | None:
        asked_at = self._clock()
        try:
            caller = await asyncio.to_thread(self._authenticate, token.decode("latin-1"))
        except AuthenticationError:
            self._known.forget(token)
            self._wrong.put(token, asked_at)
            return None
        self._known.put(token, _Known(caller, asked_at))
        return caller

    async def _ask_again(self, token: bytes, before: Caller) -> Caller | None:
        """Return who a known token stands for now, or did before if that is not to be had soon."""
        looking_up = self._lookups.start(token, lambda: self._asked(token))
        done, _ = await asyncio.wait({looking_up}, timeout=PATIENCE_S)
        if done and not isinstance(looking_up.exception(), UnavailableError):
            return looking_up.result()
        self._known.put(token, _Known(before, self._clock()))
        return before

    async def _is_still_a_key(self, token: bytes, caller: Caller) -> bool:
        """Return whether a token is the public key of a channel: what is known of the channel says so already."""
        if caller.channel is None or split_token(token.decode("latin-1")) is not None:
            return False
        held = self._keeper.fresh(caller.channel) or await self._keeper.get(caller.channel)
        return held is not None and is_key(held.prepared.channel.token, token)


def is_key(key: bytes, token: bytes) -> bool:
    """Return whether a token is a channel's public key, in a time that tells nothing."""
    return bool(key) and hmac.compare_digest(key, token)
