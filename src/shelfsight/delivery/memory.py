"""Bounded memory of what was read or asked: by bytes, by age, and never asked twice at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from typing import Any

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


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
    """

    def __init__(self, *, ttl_s: float, limit: int, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._held: Memory[K, tuple[float, V]] = Memory(limit)
        self._flights: Flights[K, V | None] = Flights()

    async def get(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the answer of `ask`, which is called unless a recent one is known or on its way."""
        found = self._held.get(key)
        if found is not None and self._clock() < found[0] + self._ttl_s:
            return found[1]
        late = self._flights.is_running(key)
        answer = await self._flights.join(key, lambda: self._ask(key, ask))
        if answer is None and late:  # asked before we were: it may have come to be in between
            answer = await self._flights.join(key, lambda: self._ask(key, ask))
        return answer

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        asked_at = self._clock()
        answer = await ask()
        if answer is None:
            self._held.forget(key)
        else:
            self._held.put(key, (asked_at, answer))
        return answer
