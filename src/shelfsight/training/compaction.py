"""Write a channel's stored embeddings anew without those of pictures that are gone. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from shelfsight.errors import NotFoundError
from shelfsight.training.chunks import in_parallel, read_chunk, read_header, write_chunk
from shelfsight.training.layout import SUFFIX, embeddings_folder
from shelfsight.training.rules import STORED_CHUNK_BYTES, worth_compacting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from shelfsight.storage import Storage
    from shelfsight.training.chunks import Chunk, Header


def compact(storage: Storage, channel: str, keep: Collection[str], *, before: datetime) -> int:
    """Tidy up a channel's stored embeddings where that pays; return how many files were replaced.

    Killed anywhere, no embedding of a picture in `keep` is lost: what is kept is written first, then what it replaces
    is deleted. A training that reads meanwhile finds the new files.

    Args:
        keep: SHA-256 of the pictures that the channel's products have, deleted products included if they may return.
        before: only files that were stored before then, UTC: what a running training has just stored is left alone.

    Raises:
        StorageError: the storage does not answer, or refuses.
    """
    wanted = set(keep)
    folders = [f"{embeddings_folder(channel)}/{name}" for name in storage.folders(embeddings_folder(channel))]
    return sum(_compact(storage, folder, wanted, before) for folder in folders)


def _compact(storage: Storage, folder: str, keep: set[str], before: datetime) -> int:
    old = sorted(
        file.path for file in storage.list(folder) if file.path.endswith(SUFFIX) and file.modified_at < before
    )
    headers = {path: header for path, header in in_parallel(partial(read_header, storage), old) if header}
    holders = _holders(headers, keep)
    live = sum(headers[path].row_bytes for path in holders.values())
    total = sum(header.row_bytes * len(header.images) for header in headers.values())
    damaged = len(headers) < len(old)
    if not damaged and not worth_compacting(live_bytes=live, total_bytes=total, files=len(old)):
        return 0
    writer = _Writer(storage=storage, folder=folder)
    try:
        for path in old:
            chunk = read_chunk(storage, path)
            if chunk is not None:
                writer.take(chunk, {sha256 for sha256 in chunk.header.images if holders.get(sha256) == path})
    except NotFoundError:  # another process is at it, and may count on what this one would delete
        return 0
    writer.flush()
    replaced = [path for path in old if path not in writer.written]
    storage.delete(replaced)
    return len(replaced)


def _holders(headers: Mapping[str, Header], keep: set[str]) -> dict[str, str]:
    """Return from which file to take each picture that is kept: from the one with the most views."""
    holders: dict[str, str] = {}
    for path, header in sorted(headers.items(), key=lambda file: (-len(file[1].views), file[0])):
        for sha256 in keep.intersection(header.images):
            holders.setdefault(sha256, path)
    return holders


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Rows on their way into full files: one file for each kind of row is in memory."""

    storage: Storage
    folder: str
    written: set[str] = field(default_factory=set)
    _waiting: dict[tuple[str, tuple[str, ...], int], dict[str, bytes]] = field(default_factory=dict)

    def take(self, chunk: Chunk, wanted: set[str]) -> None:
        """Take some of a file's rows."""
        header = chunk.header
        kind = (header.embedder, header.views, header.row_bytes)
        rows = self._waiting.setdefault(kind, {})
        for index, sha256 in enumerate(header.images):
            if sha256 in wanted:
                rows[sha256] = bytes(chunk.row(index))
                if (len(rows) + 1) * header.row_bytes > STORED_CHUNK_BYTES:
                    self._write(kind)

    def flush(self) -> None:
        """Write what is left."""
        for kind, rows in self._waiting.items():
            if rows:
                self._write(kind)

    def _write(self, kind: tuple[str, tuple[str, ...], int]) -> None:
        embedder, views, _ = kind
        path, _ = write_chunk(self.storage, self.folder, embedder, views, self._waiting[kind])
        self.written.add(path)
        self._waiting[kind].clear()
