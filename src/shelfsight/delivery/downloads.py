"""Who downloaded what: counted in memory, and added to the database every few seconds."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import structlog

from shelfsight.delivery import store
from shelfsight.delivery.store import DownloadCount
from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database

ANONYMOUS = "anonymous"
"""The actor of whoever loads what everybody may have, whatever token they brought along."""
OTHER = "(other)"
FLUSH_S = 5.0
"""How much a server that is killed forgets."""
_MOST = 20_000
_HOUR_S = 3600
_log = structlog.get_logger()


class Source(NamedTuple):
    """What was sent, and to whom; see `DownloadCount`."""

    channel: str
    file: str
    version: str
    actor: str


class _Tally:
    __slots__ = ("count", "size_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0


_Tallies: TypeAlias = "dict[tuple[int, Source], _Tally]"


class Downloads:
    """Counts answers that carried bytes of a file. To be used on one event loop.

    Nothing waits for the database. While it does not answer, counts stay in memory; of those that no longer fit only
    the channel is kept, as a file and an actor `(other)`. A server that is killed forgets the last `FLUSH_S`.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time, most: int = _MOST) -> None:
        """Count into `database`; `clock` says seconds since 1970, `most` how many rows are held in memory."""
        self._database = database
        self._clock = clock
        self._most = most
        self._tallies: _Tallies = {}
        self._full_since: int | None = None  # the hour
        self._timer: asyncio.TimerHandle | None = None
        self._flush: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def count(self, source: Source, size_bytes: int) -> None:
        """Count an answer that carried so many bytes of a file."""
        key = (int(self._clock() // _HOUR_S), source)
        tally = self._tallies.get(key)
        if tally is None:
            self._write_soon()
            tally = self._new(key)
        tally.count += 1
        tally.size_bytes += size_bytes

    async def flush(self) -> None:
        """Add what was counted to the database; what it does not take is kept."""
        async with self._writing:
            taken, self._tallies = self._tallies, {}
            if not taken:
                return
            try:
                await asyncio.to_thread(self._write, taken)
            except ShelfsightError as exc:
                _log.warning("downloads_not_counted_yet", rows=len(taken), error=str(exc))
                self._put_back(taken)
            else:
                self._full_since = None

    async def close(self) -> None:
        """Add what was counted, for the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.flush()

    def _new(self, key: tuple[int, Source]) -> _Tally:
        """Return a tally that is not held yet; the channel's own `(other)` where there is no room."""
        if len(self._tallies) >= self._most:
            hour, source = key
            if self._full_since is None:
                self._full_since = hour
                _log.error("downloads_counted_together", rows=len(self._tallies))
            key = self._full_since, Source(source.channel, OTHER, "", OTHER)
        return self._tallies.setdefault(key, _Tally())

    def _put_back(self, taken: _Tallies) -> None:
        since, self._tallies = self._tallies, taken
        for key, tally in since.items():
            held = self._tallies.get(key) or self._new(key)
            held.count += tally.count
            held.size_bytes += tally.size_bytes
        self._write_soon()

    def _write_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._write_now)

    def _write_now(self) -> None:
        self._timer = None
        if self._flush is None or self._flush.done():
            self._flush = asyncio.get_running_loop().create_task(self.flush())
        else:
            self._write_soon()

    def _write(self, taken: _Tallies) -> None:
        rows = [
            DownloadCount(
                channel=source.channel,
                hour=datetime.fromtimestamp(hour * _HOUR_S, UTC),
                file=_storable(source.file),
                version=source.version,
                actor=source.actor,
                count=tally.count,
                size_bytes=tally.size_bytes,
            )
            for (hour, source), tally in taken.items()
        ]
        with self._database.write() as connection:
            store.add_downloads(connection, rows)


def _storable(text: str) -> str:
    """Return a name as any database holds it; one that it refuses would keep all others out."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "?")
