"""Published versions as they can be served: the manifest read, and every file of it there and of the right size."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from shelfsight.bundle.documents import FileEntry, Manifest
from shelfsight.delivery.answers import ServedFile
from shelfsight.delivery.memory import Memory, Recent
from shelfsight.delivery.rules import MANIFEST, checksum_fits, is_public_name
from shelfsight.errors import NotFoundError, UsageError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shelfsight.delivery.store import VersionRow
    from shelfsight.storage import Storage

_LARGEST_MANIFEST_BYTES = 1024 * 1024
_MOST_FILES = 200
_HELD_VERSIONS, _HELD_BLOBS = 1000, 4000
_LOOK_AGAIN_S = 1.0  # at a version or blob that is not as it should be
_BYTES = "application/octet-stream"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A version as it was found; `row` is what `model_metadata` said then. Without files it does not match."""

    row: VersionRow
    files: Mapping[str, ServedFile]


class Versions:
    """Versions and blobs in storage: each is looked at once, and again when its row is another one."""

    def __init__(self, storage: Storage, *, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._versions: Memory[tuple[str, str], ServedVersion] = Memory(_HELD_VERSIONS)
        self._looks: Recent[tuple[str, str, VersionRow], ServedVersion] = Recent(
            ttl_s=_LOOK_AGAIN_S, limit=_HELD_VERSIONS, clock=clock
        )
        self._blobs: Memory[str, ServedFile] = Memory(_HELD_BLOBS)
        self._heads: Recent[str, ServedFile] = Recent(ttl_s=_LOOK_AGAIN_S, limit=_HELD_BLOBS, clock=clock)

    async def files(self, channel: str, version: str, row: VersionRow) -> Mapping[str, ServedFile]:
        """Return the files of a version by name; none where it does not match its manifest and its row.

        Raises:
            StorageError: storage does not answer.
        """
        held = self._versions.get((channel, version))
        if held is None or held.row != row:
            held = await self._looks.get((channel, version, row), lambda: self._look(channel, version, row))
            if held is None or not held.files:
                return {}
            self._versions.put((channel, version), held)
        return held.files

    async def blob(self, sha256: str) -> ServedFile:
        """Return a blob.

        Raises:
            NotFoundError: it is not in storage.
            StorageError: storage does not answer.
        """
        held = self._blobs.get(sha256)
        if held is None:
            held = await self._heads.get(sha256, lambda: self._head(sha256))
            if held is None:
                raise NotFoundError(f"there is no blob {sha256}")
            self._blobs.put(sha256, held)
        return held

    def forget(self, channel: str, version: str) -> None:
        """Look at the version again before anything more of it is served."""
        self._versions.forget((channel, version))

    def forget_blob(self, sha256: str) -> None:
        """Look for the blob again before it is served."""
        self._blobs.forget(sha256)

    async def _head(self, sha256: str) -> ServedFile | None:
        path = layout.blob(sha256)
        size_bytes = await self._size(path)
        if size_bytes is None:
            return None
        return ServedFile(path=path, size_bytes=size_bytes, sha256=sha256, media_type=_BYTES)

    async def _look(self, channel: str, version: str, row: VersionRow) -> ServedVersion:
        folder = layout.version_folder(channel, version)
        try:
            files = await self._matching_files(folder, channel, version, row)
        except (NotFoundError, UsageError, ValueError) as exc:  # pydantic's are among the latter
            _log.warning("version_not_served", channel=channel, version=version, reason=str(exc)[:300])
            files = {}
        return ServedVersion(row=row, files=files)

    async def _matching_files(
        self, folder: str, channel: str, version: str, row: VersionRow
    ) -> dict[str, ServedFile]:
        """Return the files by name.

        Raises:
            NotFoundError: one is missing, or has another size.
            UsageError: the manifest names a file as no file can be named.
            ValueError: the manifest is damaged, or does not belong to this version.
        """
        data = await self._read_manifest(folder)
        manifest = Manifest.model_validate_json(data)
        if (manifest.channel_id, manifest.version) != (channel, version):
            raise ValueError(f"the manifest in {folder} is of {manifest.channel_id} {manifest.version}")
        if not checksum_fits({file.name: file.sha256 for file in manifest.files}, row.checksum_sha256):
            raise ValueError(f"no file has the checksum of model_metadata, {row.checksum_sha256}")
        own = FileEntry(
            name=MANIFEST, size=len(data), media_type="application/json", sha256=hashlib.sha256(data).hexdigest()
        )
        wanted = [(f"{folder}/{file.name}", file.size) for file in (*manifest.files, own)]
        wanted += [(layout.blob(blob.sha256), blob.size) for blob in manifest.blobs]
        if len(wanted) > _MOST_FILES:
            raise ValueError(f"the manifest in {folder} names more than {_MOST_FILES} files")
        sizes = await asyncio.gather(*(self._size(path) for path, _ in wanted))
        for (path, size_bytes), found in zip(wanted, sizes, strict=True):
            if found != size_bytes:
                raise NotFoundError(f"{path} has {found} bytes, wanted {size_bytes}")
        return {file.name: _served(folder, file) for file in (*manifest.files, own) if is_public_name(file.name)}

    async def _read_manifest(self, folder: str) -> bytes:
        path = f"{folder}/{MANIFEST}"
        size_bytes = await self._size(path)
        if size_bytes is None or size_bytes > _LARGEST_MANIFEST_BYTES:
            raise NotFoundError(f"{path} is missing, or too large to be one")
        return await self._storage.read(path)

    async def _size(self, path: str) -> int | None:
        """Return a file's size in bytes, None where there is none."""
        try:
            found = await asyncio.to_thread(self._storage.head, path)
        except NotFoundError:
            return None
        return found.size_bytes


def _served(folder: str, file: FileEntry) -> ServedFile:
    return ServedFile(
        path=f"{folder}/{file.name}", size_bytes=file.size, sha256=file.sha256, media_type=file.media_type
    )
