"""What is in the buckets: published files under their names there, and what a channel has uploaded beside them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from shelfsight.delivery.answers import ServedFile
from shelfsight.delivery.memory import Memory
from shelfsight.delivery.rules import PREFIX, BlobFile, Policy, VersionFile, cache_control, parse_path, served_type
from shelfsight.delivery.supabase.found import FoundObject
from shelfsight.delivery.supabase.listing import Entry, page_of, published_entries
from shelfsight.delivery.supabase.rules import MODELS, NO_OBJECT, PHONES, phone_name, phone_names
from shelfsight.delivery.supabase.store import objects
from shelfsight.errors import NotFoundError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shelfsight.database.engine import Database
    from shelfsight.delivery.published import Published
    from shelfsight.delivery.store import ServedChannel, VersionRow
    from shelfsight.delivery.supabase.listing import Place, Sort
    from shelfsight.delivery.supabase.store.objects import ObjectRow
    from shelfsight.storage import Storage

_BYTES = "application/octet-stream"
_PHONE_FOLDER = "models/"
_VERSIONS_LISTED = 100
"""The newest; older ones are found by name."""
_HELD_FILES = 4000
_NAMES = UUID("8f0a4f7e-6a36-4d3c-9d0b-5e5f1b3a7c21")
"""Of the ids of published files, which have no row of their own."""


class Buckets:
    """Finds and lists objects. Who may have them is for others to say."""

    def __init__(self, *, database: Database, storage: Storage, published: Published) -> None:
        """Look into `database` and `storage`, and for published files into what is served."""
        self._database = database
        self._storage = storage
        self._published = published
        self._files: Memory[tuple[str, str, str], ServedFile] = Memory(_HELD_FILES)

    async def find(self, channel: ServedChannel, bucket: str, path: str) -> FoundObject:
        """Return what a channel's bucket has under a path.

        Among the phone files, those of the channel come first, then what it uploaded, then those of other channels:
        an address without a key names none.

        Raises:
            NotFoundError: there is nothing.
            StorageError: storage does not answer.
        """
        if bucket == MODELS:
            found = await self._model(channel, path)
        else:
            found = await self._own_phone_file(channel, path)
            found = found or await self._uploaded(channel, bucket, path)
            found = found or await self._phone_file(channel, path)
        if found is None:
            raise NotFoundError(NO_OBJECT)
        return found

    async def is_published(self, channel: str, path: str) -> bool:
        """Return whether a path of PHONES is the name of one of the channel's versions, which no upload may take."""
        name = phone_name(path)
        if name is None or name.channel != channel:
            return False
        return await self._published.lookups.version(channel, name.version) is not None

    async def page(
        self, channel: ServedChannel, place: Place, sort: Sort, *, offset: int, limit: int
    ) -> list[Entry[FoundObject]]:
        """Return a part of what a place of a channel's bucket has.

        Raises:
            StorageError: storage does not answer.
        """
        entries = published_entries(place, await self._all_published(channel, place))
        if place.bucket != PHONES:
            return page_of(entries, sort, offset=offset, limit=limit)
        hidden = [entry.found.path for entry in entries if entry.found is not None]
        with_folders = [] if place.deep else await asyncio.to_thread(self._folders, place, sort, offset + limit)
        entries += [Entry(name) for name in with_folders]
        # So many uploaded ones come before the page wherever the others go: the database leaves them out.
        skipped = max(0, offset - len(entries))
        wanted = objects.Part(offset=skipped, limit=offset - skipped + limit, without=tuple(hidden))
        rows = await asyncio.to_thread(self._files_in, place, sort, wanted)
        entries += [Entry(row.path[len(place.folder) :], self.uploaded(channel, row)) for row in rows]
        return page_of(entries, sort, offset=offset - skipped, limit=limit)

    def uploaded(self, channel: ServedChannel, row: ObjectRow) -> FoundObject:
        """Return an uploaded object of a channel as it is found."""
        content = row.content
        key = (row.channel, content.sha256, content.media_type)
        file = self._files.get(key)
        if file is None:  # the same one each time: answers are remembered by it
            file = ServedFile(
                path=layout.object_file(row.channel, content.sha256),
                size_bytes=content.size_bytes,
                sha256=content.sha256,
                media_type=content.media_type,
            )
            self._files.put(key, file)
        return FoundObject(
            id=row.id,
            channel=channel.id,
            bucket=row.bucket,
            path=row.path,
            file=file,
            published=None,
            seen_by=(channel,),
            policy=Policy(private=channel.private, immutable=False),
            media_type=content.media_type,
            cache_control=content.cache_control,
            created_at=row.created_at,
            updated_at=row.updated_at,
            metadata=content.metadata,
        )

    async def _uploaded(self, channel: ServedChannel, bucket: str, path: str) -> FoundObject | None:
        def ask() -> ObjectRow | None:
            with self._database.read() as tx:
                return objects.find(tx, channel.id, bucket, path)

        row = await asyncio.to_thread(ask)
        return None if row is None else self.uploaded(channel, row)

    def _folders(self, place: Place, sort: Sort, most: int) -> list[str]:
        by_name_backwards = sort.descending and sort.column == "name"
        with self._database.read() as tx:
            return objects.folders(tx, place, descending=by_name_backwards, limit=most)

    def _files_in(self, place: Place, sort: Sort, wanted: objects.Part) -> list[ObjectRow]:
        with self._database.read() as tx:
            return objects.files(tx, place, sort, wanted)

    async def _model(self, channel: ServedChannel, path: str) -> FoundObject | None:
        match parse_path(f"{PREFIX}{path}".encode()):
            case VersionFile() as wanted:
                return await self._version_file(channel, bucket=MODELS, path=path, wanted=wanted)
            case BlobFile() as wanted:
                return await self._blob(channel, path, wanted)
            case _:
                return None

    async def _version_file(
        self, channel: ServedChannel, *, bucket: str, path: str, wanted: VersionFile
    ) -> FoundObject | None:
        lookups = self._published.lookups
        owner = await lookups.channel(wanted.channel)
        version = wanted.version or (owner and await lookups.latest(owner.id))
        row = await lookups.version(owner.id, version) if owner and version else None
        if owner is None or not version or row is None:
            return None
        file = (await self._published.files(owner.id, version)).get(wanted.name)
        if file is None:
            return None
        return _published(channel.id, bucket, path, file, _Origin(wanted=wanted, owner=owner, row=row))

    async def _blob(self, channel: ServedChannel, path: str, wanted: BlobFile) -> FoundObject | None:
        use = await self._published.lookups.blob_use(wanted.sha256)
        if use is None:
            return None
        stored = await asyncio.to_thread(self._storage.head, layout.blob(wanted.sha256))
        policy = Policy(private=not use.public, immutable=True)
        return FoundObject(
            id=str(uuid5(_NAMES, wanted.sha256)),
            channel=use.counted if use.public else channel.id,
            bucket=MODELS,
            path=path,
            file=ServedFile(path=stored.path, size_bytes=stored.size_bytes, sha256=wanted.sha256, media_type=_BYTES),
            published=wanted,
            seen_by=use.channels,
            policy=policy,
            media_type=_BYTES,
            cache_control=cache_control(policy).decode(),
            created_at=stored.modified_at,
            updated_at=stored.modified_at,
        )

    async def _own_phone_file(self, channel: ServedChannel, path: str) -> FoundObject | None:
        name = phone_name(path)
        return await self._phone_file(channel, path) if name and name.channel == channel.id else None

    async def _phone_file(self, channel: ServedChannel, path: str) -> FoundObject | None:
        name = phone_name(path)
        if name is None:
            return None
        wanted = VersionFile(channel=name.channel, version=name.version, name=name.file)
        return await self._version_file(channel, bucket=PHONES, path=path, wanted=wanted)

    async def _all_published(self, channel: ServedChannel, place: Place) -> list[FoundObject]:
        """Return the published files of a channel's bucket, none where the place can have none."""
        root = f"{channel.id}/" if place.bucket == MODELS else _PHONE_FOLDER
        if not (root.startswith(place.prefix) or place.prefix.startswith(root)):
            return []

        def ask() -> list[tuple[str, VersionRow]]:
            with self._database.read() as tx:
                return objects.published(tx, channel.id, limit=_VERSIONS_LISTED)

        rows = await asyncio.to_thread(ask)
        latest = await self._published.lookups.latest(channel.id)
        files = await asyncio.gather(*(self._published.files(channel.id, version) for version, _ in rows))
        found: list[FoundObject] = []
        for (version, row), there in zip(rows, files, strict=True):
            for path, wanted in _names_of(channel.id, place.bucket, version, latest=version == latest, files=there):
                origin = _Origin(wanted=wanted, owner=channel, row=row)
                found.append(_published(channel.id, place.bucket, path, there[wanted.name], origin))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Where a published file comes from."""

    wanted: VersionFile
    owner: ServedChannel
    row: VersionRow


def _published(channel: str, bucket: str, path: str, file: ServedFile, origin: _Origin) -> FoundObject:
    policy = Policy(private=origin.owner.private, immutable=origin.wanted.version is not None)
    return FoundObject(
        id=str(uuid5(_NAMES, f"{origin.owner.id}/{origin.row.id}/{bucket}/{path}")),
        channel=channel,
        bucket=bucket,
        path=path,
        file=file,
        published=origin.wanted,
        seen_by=(origin.owner,),
        policy=policy,
        media_type=served_type(file.media_type),
        cache_control=cache_control(policy).decode(),
        created_at=origin.row.created_at,
        updated_at=origin.row.created_at,
    )


def _names_of(
    channel: str, bucket: str, version: str, *, latest: bool, files: Collection[str]
) -> Iterator[tuple[str, VersionFile]]:
    """Yield the paths in a bucket that a version's files have, and which files they are."""
    if bucket == PHONES:
        for path, name in phone_names(channel, version).items():
            if name in files:
                yield path, VersionFile(channel=channel, version=version, name=name)
        return
    for name in files:
        yield f"{channel}/v{version}/{name}", VersionFile(channel=channel, version=version, name=name)
        if latest:
            yield f"{channel}/latest/{name}", VersionFile(channel=channel, version=None, name=name)
