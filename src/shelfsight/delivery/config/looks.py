"""What the database says of channels now: asked once for all who want to know, one question at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.delivery.config import store
from shelfsight.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shelfsight.database.engine import Database
    from shelfsight.delivery.config.store import ChannelRow

ASK_AGAIN_AFTER_S = 1.0
"""So long after a question that failed nobody asks: who comes then is told at once that the database is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Those of the channels in question that there are; `asked_at` by the monotonic clock."""

    asked_at: float
    channels: Mapping[str, ChannelRow]


class Looks:
    """Asks the database about channels.

    Whoever comes while a question is on its way shares the next one. So there is one question at a time, however
    many channels are asked for, and a database that hangs holds up one thread. One for each event loop.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        """Ask `database`."""
        self._database = database
        self._clock = clock
        self._wanted: set[str] = set()
        self._next: asyncio.Future[Seen] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")
        # One of its own, so that nothing that hangs elsewhere keeps devices from what is new.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="config-looks")

    async def look(self, channel: str) -> Seen:
        """Return what a question that begins now says of a channel, and perhaps of others.

        Raises:
            DatabaseError: the database does not answer, or did not a moment ago.
        """
        if self._clock() < self._failed_at + ASK_AGAIN_AFTER_S:
            raise DatabaseError("the database did not answer a moment ago: try again")
        self._wanted.add(channel)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        answer = self._next
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        try:
            while self._next is not None:
                wanted, answer = self._wanted, self._next
                self._wanted, self._next = set(), None
                asked_at = self._clock()
                try:
                    channels = await asyncio.get_running_loop().run_in_executor(self._thread, self._query, wanted)
                except Exception as exc:  # noqa: BLE001 (whatever it is, those who wait must hear of it)
                    self._failed_at = self._clock()
                    answer.set_exception(exc)
                    answer.exception()  # asyncio complains about an error that nobody has looked at
                else:
                    answer.set_result(Seen(asked_at=asked_at, channels=channels))
        finally:
            self._asking = None

    def _query(self, wanted: set[str]) -> dict[str, ChannelRow]:
        with self._database.read() as connection:
            return store.channel_rows(connection, wanted)
