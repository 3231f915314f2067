"""What is asked of the database, of `latest` and of tokens: a second old at most, and asked once for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from shelfsight.delivery import store
from shelfsight.delivery.memory import Recent
from shelfsight.delivery.rules import pointed_version
from shelfsight.errors import AuthenticationError, NotFoundError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from shelfsight.access.rules import Caller
    from shelfsight.database.engine import Database
    from shelfsight.delivery.store import BlobUse, ServedChannel, VersionRow
    from shelfsight.storage import Storage

ROWS_TTL_S = 1.0
"""Until a deleted row, another visibility or a revoked token shows; the question itself comes on top."""
LATEST_TTL_S = 0.5
_LIMIT = 10_000
T = TypeVar("T")


class Authenticator(Protocol):
    """Tells who a token stands for."""

    def __call__(self, token: str, /) -> Caller:
        """Return the caller; called in a thread.

        Raises:
            AuthenticationError: nobody.
        """


class Lookups:
    """Answers about channels, versions, blobs, `latest` and tokens."""

    def __init__(
        self, *, database: Database, storage: Storage, authenticate: Authenticator, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._storage = storage
        self._authenticate = authenticate
        self._channels: Recent[str, ServedChannel] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)
        self._versions: Recent[tuple[str, str], VersionRow] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)
        self._blobs: Recent[str, BlobUse] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)
        self._latest: Recent[str, str] = Recent(ttl_s=LATEST_TTL_S, limit=_LIMIT, clock=clock)
        self._callers: Recent[str, Caller] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)

    async def channel(self, channel: str) -> ServedChannel | None:
        """Return the channel, None where there is none."""
        return await self._channels.get(channel, lambda: self._ask(store.find_channel, channel))

    async def version(self, channel: str, version: str) -> VersionRow | None:
        """Return the row of a version such as 1.4.2, None where there is none."""
        return await self._versions.get(
            (channel, version), lambda: self._ask(lambda tx, one: store.find_version(tx, one, version), channel)
        )

    async def blob_use(self, sha256: str) -> BlobUse | None:
        """Return who uses a blob, None where nobody does."""
        return await self._blobs.get(sha256, lambda: self._ask(store.find_blob_use, sha256))

    async def latest(self, channel: str) -> str | None:
        """Return the version that `latest` names, None where it names none.

        Raises:
            StorageError: storage does not answer.
        """
        return await self._latest.get(channel, lambda: self._read_latest(channel))

    async def caller(self, token: str) -> Caller | None:
        """Return who a token stands for, None for nobody."""
        return await self._callers.get(token, lambda: self._identify(token))

    async def _ask(self, find: Callable[[Connection, str], T], key: str) -> T:
        def query() -> T:
            with self._database.read() as connection:
                return find(connection, key)

        return await asyncio.to_thread(query)

    async def _read_latest(self, channel: str) -> str | None:
        try:
            name = await asyncio.to_thread(self._storage.pointer, layout.latest_pointer(channel))
        except NotFoundError:  # the channel's folder is a link, or a file
            return None
        return pointed_version(name)

    async def _identify(self, token: str) -> Caller | None:
        try:
            return await asyncio.to_thread(self._authenticate, token)
        except AuthenticationError:
            return None
