"""What is asked of the database, of `latest` and of tokens: a second old at most, and asked once for all.

While the database does not answer, what it said of public channels within the last hour still counts: a till goes on
loading what it did. What is private stays closed, for nobody could tell whether a token has been revoked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from shelfsight.access.url_tokens import read_signed
from shelfsight.delivery import store
from shelfsight.delivery.memory import Memory, Recent
from shelfsight.delivery.rules import pointed_version
from shelfsight.errors import AuthenticationError, NotFoundError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from shelfsight.access.keys import UrlSecret
    from shelfsight.access.rules import Caller
    from shelfsight.access.url_tokens import SignedGrant
    from shelfsight.database.engine import Database
    from shelfsight.delivery.store import BlobUse, ServedChannel, VersionRow
    from shelfsight.storage import Storage

ROWS_TTL_S = 1.0
"""Until a deleted row, another visibility or a revoked token shows; the question itself comes on top."""
LATEST_TTL_S = 0.5
WITHOUT_DATABASE_S = 3600.0
_LIMIT = 10_000
_GRANTS = 4096
T = TypeVar("T")


class Authenticator(Protocol):
    """Tells who a token stands for."""

    def __call__(self, token: str, /) -> Caller:
        """Return the caller; called in a thread.

        Raises:
            AuthenticationError: nobody.
        """


class Secrets(Protocol):
    """Tells what signs URLs."""

    def __call__(self) -> tuple[UrlSecret, ...]:
        """Return the secrets whose signature counts; called in a thread."""


class Lookups:
    """Answers about channels, versions, blobs, `latest` and tokens.

    Args:
        storage: where `latest` is.
        authenticate: knows the tokens that are no signed URL's.
        secrets: of signed URLs.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        authenticate: Authenticator,
        secrets: Secrets,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._storage = storage
        self._authenticate = authenticate
        self._find_secrets = secrets
        self._channels: Recent[str, ServedChannel] = Recent(
            ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock, lasts_s=WITHOUT_DATABASE_S, lasts=lambda one: not one.private
        )
        self._versions: Recent[tuple[str, str], VersionRow] = Recent(
            ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock, lasts_s=WITHOUT_DATABASE_S
        )
        self._blobs: Recent[str, BlobUse] = Recent(
            ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock, lasts_s=WITHOUT_DATABASE_S, lasts=lambda one: one.public
        )
        self._parts: Recent[tuple[str, str, str], bool] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)
        self._latest: Recent[str, str] = Recent(ttl_s=LATEST_TTL_S, limit=_LIMIT, clock=clock)
        self._callers: Recent[str, Caller] = Recent(ttl_s=ROWS_TTL_S, limit=_LIMIT, clock=clock)
        self._right: Memory[str, bool] = Memory(_LIMIT)
        self._secrets: Recent[None, tuple[UrlSecret, ...]] = Recent(ttl_s=ROWS_TTL_S, limit=1, clock=clock)
        self._grants: Memory[str, SignedGrant] = Memory(_GRANTS)

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

    async def uses_blob(self, channel: str, version: str, sha256: str) -> bool:
        """Return whether a version such as 1.4.2 uses a blob."""
        key = (channel, version, sha256)
        found = await self._parts.get(
            key, lambda: self._ask(lambda tx, one: store.uses_blob(tx, one, version, sha256) or None, channel)
        )
        return found is not None

    async def latest(self, channel: str) -> str | None:
        """Return the version that `latest` names, None where it names none.

        Raises:
            StorageError: storage does not answer.
        """
        return await self._latest.get(channel, lambda: self._read_latest(channel))

    async def caller(self, token: str) -> Caller | None:
        """Return who a token stands for, None for nobody."""
        found = await self._callers.get(token, lambda: self._identify(token))
        if found is None:
            self._right.forget(token)
        else:
            self._right.put(token, True)
        return found

    def is_known(self, token: str) -> bool:
        """Return whether a token was right the last time, or is being looked up: it is no guess, or no new one."""
        return self._right.get(token) is not None or self._callers.is_asked(token)

    async def grant(self, token: str) -> SignedGrant:
        """Return what the token of a signed URL grants, even if it has expired.

        Raises:
            AuthenticationError: it is none of ours, or was changed.
        """
        secrets = await self._secrets.get(None, lambda: asyncio.to_thread(self._find_secrets)) or ()
        signed = self._grants.get(token)
        if signed is None or all(signed.key_id != secret.id for secret in secrets):  # the secret may be retired
            signed = read_signed(secrets, token)
            self._grants.put(token, signed)
        return signed

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
