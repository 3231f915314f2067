"""Published files, found and made into answers: what every way to ask for them has in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.delivery.content import Content, ContentLimits
from shelfsight.delivery.downloads import Source
from shelfsight.delivery.lookups import Lookups
from shelfsight.delivery.represent import finished, represent
from shelfsight.delivery.rules import NO_MODEL, Policy
from shelfsight.delivery.versions import Versions
from shelfsight.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shelfsight.database.engine import Database
    from shelfsight.delivery.answers import Answer, Headers, ServedFile, StreamedAnswer
    from shelfsight.delivery.lookups import Authenticator, Secrets
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.rules import BlobFile, VersionFile
    from shelfsight.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who is given a file.

    Attributes:
        actor: as audits show it, for whom it counts.
        channel: for which a blob counts.
        private: not everybody may have the file.
        headers: of the answer, instead of those of the same name.
    """

    actor: str
    channel: str
    private: bool
    headers: Headers = ()


class Published:
    """The files of versions, blobs, and any other file in storage whose hash is known; and who may have them.

    What it knows of the database and of `latest` is a second old at most; a version's files, once looked at, are
    taken to stay as they are. One for each event loop: it holds the bytes of small files.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        authenticate: Authenticator,
        secrets: Secrets,
        limits: ContentLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve from `storage` what `database` knows."""
        self.clock = clock
        self.lookups = Lookups(
            database=database, storage=storage, authenticate=authenticate, secrets=secrets, clock=clock
        )
        self._versions = Versions(storage, clock=clock)
        self._content = Content(storage, limits or ContentLimits())

    async def version_file(self, wanted: VersionFile, asked: Asked, reader: Reader) -> Answer | StreamedAnswer:
        """Return the answer to a request for a file of a version, by who may have it.

        Raises:
            NotFoundError: there is none, or it is not what the manifest says.
            StorageError: storage does not answer.
        """
        no_model = NO_MODEL if wanted.version is None else f"{wanted.channel} has no such version"
        version = wanted.version or await self.lookups.latest(wanted.channel)
        files = await self.files(wanted.channel, version) if version else None
        if not files or not version:
            raise NotFoundError(no_model)
        file = files.get(wanted.name)
        if file is None:
            raise NotFoundError(f"{wanted.name} is no file of {wanted.channel} {version}")
        source = Source(channel=wanted.channel, file=wanted.name, version=version, actor=reader.actor)
        policy = Policy(private=reader.private, immutable=wanted.version is not None)
        try:
            return await self.file(file, policy, source, asked, headers=reader.headers)
        except NotFoundError:
            self._versions.forget(wanted.channel, version)
            raise

    async def blob(self, wanted: BlobFile, asked: Asked, reader: Reader) -> Answer | StreamedAnswer:
        """Return the answer to a request for a blob, by who may have it.

        Raises:
            NotFoundError: there is none, or it is damaged.
            StorageError: storage does not answer.
        """
        file = await self._versions.blob(wanted.sha256)
        source = Source(channel=reader.channel, file=f"blobs/{wanted.sha256}.bin", version="", actor=reader.actor)
        policy = Policy(private=reader.private, immutable=True)
        try:
            return await self.file(file, policy, source, asked, headers=reader.headers)
        except NotFoundError:
            self._versions.forget_blob(wanted.sha256)
            raise

    async def files(self, channel: str, version: str) -> Mapping[str, ServedFile]:
        """Return the files of a version such as 1.4.2 by name; none where it is not as manifest and row say.

        Raises:
            StorageError: storage does not answer.
        """
        row = await self.lookups.version(channel, version)
        return await self._versions.files(channel, version, row) if row else {}

    async def file(
        self, file: ServedFile, policy: Policy, source: Source, asked: Asked, *, headers: Headers = ()
    ) -> Answer | StreamedAnswer:
        """Return the answer to a request for any file in storage, by who may have it.

        Args:
            file: `sha256` is that of its bytes; other bytes are not sent, unless the file is so large that it is
                streamed.
            source: what it counts as.
            headers: of the answer, instead of those of the same name.

        Raises:
            NotFoundError: it is gone, or damaged.
            StorageError: storage does not answer.
        """
        answer = await represent(self._content, file, policy, asked)
        return finished(answer, source, headers=headers, is_public=not policy.private and not headers)
