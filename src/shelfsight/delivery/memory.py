"""Bounded memory of what was read or asked: by bytes, by age, and never asked twice at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from shelfsight.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from typing import Any

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")
AGAIN_S = 2.0
"""How long after a question that nobody answered the next one is asked."""


class BytesMemory(Generic[K]):
    """Bytes by key; those not used for longest go when there are more than `limit_bytes` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[K, bytes] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: K) -> bytes | None:
        """Return the bytes, or None where they are not held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: K, data: bytes) -> None:
        """Hold the bytes, if they fit at all."""
        self.size_bytes -= len(self._held.pop(key, b""))
        if len(data) > self._limit_bytes:
            return
        self._held[key] = data
        self.size_bytes += len(data)
        while self.size_bytes > self._limit_bytes:
            self.size_bytes -= len(self._held.popitem(last=False)[1])


class Memory(Generic[K, V]):
    """Values by key; the one not used for longest goes when there are more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value, or None where it is not held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Hold the value."""
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._limit:
            self._held.popitem(last=False)

    def forget(self, key: K) -> None:
        """Hold it no longer; not held is fine."""
        self._held.pop(key, None)


class Flights(Generic[K, V]):
    """Work by key that is done once for all who want it at the same time."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        """Return how much is being done."""
        return len(self._running)

    def is_running(self, key: K) -> bool:
        """Return whether somebody waits for this work already."""
        return key in self._running

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what `work` returns, or raise what it raises; a caller that is cancelled does not end it."""
        return await asyncio.shield(self.start(key, work))

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """Return the running work, begun now unless it was before."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.get_running_loop().create_task(work())
            running.add_done_callback(lambda task: self._ended(key, task))
        return running

    def _ended(self, key: K, task: asyncio.Task[V]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # asyncio complains about an error that nobody has looked at


class Recent(Generic[K, V]):
    """Answers to questions, each at most `ttl_s` old, counted from when it was asked.

    "There is nothing" is not kept, so that what has just been published is there at once: whoever asks for what does
    not exist waits for a question of their own, or shares one that is being asked.

    While nobody answers, an older answer will do, if `lasts` says so of it. Only who finds that out waits: then such
    answers are given at once, and every `AGAIN_S` one question is asked on the side.
    """

    def __init__(
        self,
        *,
        ttl_s: float,
        limit: int,
        clock: Callable[[], float],
        lasts_s: float = 0.0,
        lasts: Callable[[V], bool] = lambda _answer: True,
    ) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._lasts_s = lasts_s
        self._lasts = lasts
        self._ask_again_at = float("-inf")
        self._held: Memory[K, tuple[float, V]] = Memory(limit)
        self._flights: Flights[K, V | None] = Flights()

    def is_asked(self, key: K) -> bool:
        """Return whether the question is being asked already."""
        return self._flights.is_running(key)

    async def get(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the answer of `ask`, which is called unless a recent one is known or on its way."""
        found = self._held.get(key)
        now = self._clock()
        if found is not None and now < found[0] + self._ttl_s:
            return found[1]
        old = found[1] if found and now < found[0] + self._lasts_s and self._lasts(found[1]) else None
        if old is not None and self._is_unanswered:
            if now >= self._ask_again_at:
                self._ask_again_at = now + AGAIN_S
                self._flights.start(key, lambda: self._ask(key, ask))
            return old
        try:
            return await self._fresh(key, ask)
        except UnavailableError:
            if old is None:
                raise
            return old

    async def _fresh(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        late = self._flights.is_running(key)
        answer = await self._flights.join(key, lambda: self._ask(key, ask))
        if answer is None and late:  # asked before we were: it may have come to be in between
            answer = await self._flights.join(key, lambda: self._ask(key, ask))
        return answer

    @property
    def _is_unanswered(self) -> bool:
        return self._ask_again_at > float("-inf")

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        asked_at = self._clock()
        try:
            answer = await ask()
        except UnavailableError:
            self._ask_again_at = self._clock() + AGAIN_S
            raise
        self._ask_again_at = float("-inf")
        if answer is None:
            self._held.forget(key)
        else:
            self._held.put(key, (asked_at, answer))
        return answer
