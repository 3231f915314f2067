"""The config over HTTP: an ASGI application without a framework, for every device asks for it again and again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from shelfsight.access.rules import NOBODY, Right, may
from shelfsight.catalog.rules import DEFAULT_CHANNEL
from shelfsight.delivery.config import replies
from shelfsight.delivery.config.callers import Callers, TooOften, is_key
from shelfsight.delivery.config.keep import Keeper
from shelfsight.delivery.config.looks import Looks
from shelfsight.delivery.config.prepare import Preparer
from shelfsight.delivery.config.rules import FUNCTION_PATH, channel_in, read_headers
from shelfsight.delivery.memory import Memory
from shelfsight.delivery.rules import channel_named_by, parse_etags
from shelfsight.errors import UnavailableError
from shelfsight.settings import ASSETS_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from starlette.types import Receive, Scope, Send

    from shelfsight.access.limits import RequestLimits
    from shelfsight.access.rules import Caller
    from shelfsight.database.engine import Database
    from shelfsight.delivery.answers import Answer
    from shelfsight.delivery.config.keep import Bounds, Held
    from shelfsight.delivery.config.replies import Reply
    from shelfsight.delivery.config.rules import Asked
    from shelfsight.delivery.files import Refusals
    from shelfsight.delivery.lookups import Authenticator
    from shelfsight.storage import Storage

_LONGEST_NOTED = 200
_NOTED_AGAIN_AFTER_S = 60.0
_MOST_NOTED = 1000
_log = structlog.get_logger()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What the delivery works with.

    Attributes:
        assets_url: where devices find files, without a slash at the end.
        clock: monotonic, seconds.
        now: the time of day.
    """

    database: Database
    storage: Storage
    authenticate: Authenticator
    refusals: Refusals
    limits: RequestLimits
    assets_url: str = ASSETS_URL
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    bounds: Bounds | None = None


class ConfigDelivery:
    """ASGI application of `/functions/v1/assessment-model-config` and `/v1/channels/{channel}/model-config`.

    What it answers most, a config that is prepared or that it has not changed, it answers without leaving the event
    loop. One for each event loop.
    """

    def __init__(self, outside: Outside) -> None:
        """Serve what is in `outside`."""
        clock = outside.clock
        self._refusals = outside.refusals
        self._limits = outside.limits
        self._clock = clock
        self._keeper = Keeper(
            looks=Looks(outside.database, clock=clock),
            preparer=Preparer(
                database=outside.database, storage=outside.storage, assets_url=outside.assets_url, clock=clock
            ),
            clock=clock,
            now=outside.now,
            bounds=outside.bounds,
        )
        self._callers = Callers(
            authenticate=outside.authenticate, keeper=self._keeper, limits=outside.limits, clock=clock
        )
        self._noted: Memory[str | None, float] = Memory(_MOST_NOTED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (no body is read)
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope)
        except Exception as exc:  # noqa: BLE001 (whatever it is, the device is told, and the log knows the rest)
            answer = _failed(exc, scope)
        # A new list each time: middleware adds to it.
        await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, scope: Scope) -> Answer:
        by_key = scope["path"] == FUNCTION_PATH
        channel = DEFAULT_CHANNEL if by_key else channel_in(scope["path"])
        if channel is None:
            return replies.NO_FUNCTION
        route = _BY_KEY if by_key else _BY_PATH
        if scope["method"] not in route.methods:
            return route.preflight if scope["method"] == "OPTIONS" else route.other_method
        wait_s = self._limits.wait_s(_address(scope))
        if wait_s is not None:
            return await self._too_many(scope, wait_s, "from this address")
        asked = read_headers(scope["headers"])
        who = None
        if by_key and asked.tokens:
            who = await self._identify(scope, asked)
            if who.refused is not None and who.channel is None:
                return who.refused
            channel = who.channel or channel
        held = self._keeper.fresh(channel) or await self._keeper.get(channel)
        refused = await self._refusal(scope, held, asked, who) if held is not None and held.private else None
        return refused or self._config(held, asked, by_key=by_key)

    def _config(self, held: Held | None, asked: Asked, *, by_key: bool) -> Answer:
        """Return what a device gets that may have it."""
        if held is None:
            return replies.NOT_FOUND
        audience = None if asked.device is None else held.prepared.audience(asked)
        key: Hashable = (asked.platform, asked.tier, by_key) if asked.device is None else (audience, by_key)
        reply: Reply | None = held.replies.get(key)
        if reply is None:
            audience = audience or held.prepared.audience(asked)
            if audience is None:
                return replies.NOT_FOUND
            reply = replies.reply(
                held.prepared.config(audience),
                private=held.private or asked.device is not None,
                by_key=held.private or by_key,
            )
            self._keeper.keep_reply(held, key, reply)
        return reply.unchanged if asked.tags and _knows(asked.tags, reply.etag) else reply.whole

    async def _identify(self, scope: Scope, asked: Asked) -> _Who:
        """Return who the tokens of a request stand for."""
        address = _address(scope)
        callers: list[Caller] = []
        refused: Answer | None = None
        for token in asked.tokens:
            found = await self._callers.find(token, address)
            if isinstance(found, TooOften):
                refused = await self._too_many(scope, found.wait_s, "with tokens that are not known")
            elif found is not None:
                wait_s = self._limits.token_wait_s(found.actor) if found.actor.startswith("token:") else None
                if wait_s is not None:
                    return _Who((), await self._too_many(scope, wait_s, "with this token"))
                callers.append(found)
        return _Who(tuple(callers), refused)

    async def _refusal(self, scope: Scope, held: Held, asked: Asked, who: _Who | None) -> Answer | None:
        """Return why who asks may not see a private channel, None if they may; `who` they are, if that is known."""
        channel = held.prepared.channel
        if any(is_key(channel.token, token) for token in asked.tokens):
            return None
        who = who or await self._identify(scope, asked)
        if any(may(caller, Right.DEVICE, channel.id) for caller in who.callers):
            return None
        if who.refused is not None:
            return who.refused
        if who.callers:
            await self._note(who.callers[-1].actor, scope, 403, "access")
            return replies.OTHER_CHANNEL
        await self._note(NOBODY.actor, scope, 401, "authentication")
        return replies.NEEDS_A_KEY

    async def _too_many(self, scope: Scope, wait_s: int, whose: str) -> Answer:
        """Return that it is too many, which is noted once a minute."""
        address, now = _address(scope), self._clock()
        noted_at = self._noted.get(address)
        if noted_at is None or now - noted_at >= _NOTED_AGAIN_AFTER_S:
            self._noted.put(address, now)
            await self._note(NOBODY.actor, scope, 429, "too_many_requests")
        return replies.too_many(wait_s, whose)

    async def _note(self, actor: str, scope: Scope, status: int, code: str) -> None:
        path = (scope.get("raw_path") or scope["path"].encode())[:_LONGEST_NOTED].decode("latin-1")
        try:
            await asyncio.to_thread(self._refusals.note, actor, _address(scope), scope["method"], path, status, code)
        except Exception as exc:  # noqa: BLE001 (who is refused is refused, noted or not)
            _log.error("refusal_not_noted", error=type(exc).__name__, exc_info=exc)


@dataclass(frozen=True, slots=True)
class _Who:
    """Who asks, by the tokens of the request; `refused` is the answer to those that were not looked up."""

    callers: tuple[Caller, ...]
    refused: Answer | None

    @property
    def channel(self) -> str | None:
        """The channel that the first of them names."""
        return next((named for caller in self.callers if (named := channel_named_by(caller))), None)


@dataclass(frozen=True, slots=True)
class _Route:
    """A path, and what may be done there."""

    methods: frozenset[str]
    preflight: Answer
    other_method: Answer

    @classmethod
    def of(cls, *methods: str) -> _Route:
        """Return the route that is read with these methods."""
        listed = ", ".join((*methods, "OPTIONS")).encode()
        return cls(frozenset(methods), replies.preflight(listed), replies.method_not_allowed(listed))


_BY_KEY = _Route.of("GET", "POST", "HEAD")
_BY_PATH = _Route.of("GET", "HEAD")


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _knows(tags: bytes, etag: bytes) -> bool:
    """Return whether a client has the config that it asks for."""
    return tags == etag or not parse_etags(tags).isdisjoint((etag, b"*"))


def _failed(error: Exception, scope: Scope) -> Answer:
    """Return that there is no answer; what nobody expected is logged."""
    if not isinstance(error, UnavailableError):
        _log.error("config_not_served", path=scope["path"][:_LONGEST_NOTED], exc_info=error)
    return replies.UNAVAILABLE
