"""Embeddings kept in the service's storage, so that any worker on any machine can go on where another one was.

They lie under `embeddings/{channel}/{embedder[:16]}/{hash}.chunk1`; `chunks` describes a file. Files are only ever
added, each whole or not at all, so that a training can be killed anywhere and several can write at once.
`compaction.compact` tidies up. What is damaged, or not ours, is left alone and its pictures are embedded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shelfsight.training.chunks import in_parallel, read_chunk, read_header, write_chunk
from shelfsight.training.layout import SUFFIX, embedder_folder
from shelfsight.training.rules import STORED_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shelfsight.storage import Storage
    from shelfsight.training.chunks import Chunk, Header

    Halves = NDArray[np.float16]

_HALF = np.dtype("<f2")
_LISTINGS = 3  # a second one where another process tidied up meanwhile; more only if it never stops


class StoredEmbeddings:
    """Embeddings by picture and view, of one embedder and channel; see `Embeddings`.

    Of the pictures it keeps in memory which file holds them, and no more than eight files while they are read.

    Raises (every method):
        StorageError: the storage does not answer, or refuses.
    """

    def __init__(self, storage: Storage, channel: str, embedder: str) -> None:
        """Keep what `embedder` (hexadecimal) makes of a channel's images; nothing is read yet."""
        self._storage = storage
        self._embedder = embedder
        self._folder = embedder_folder(channel, embedder)
        self._files: dict[str, Header] | None = None
        self._refused: set[str] = set()

    @property
    def trouble(self) -> str | None:
        """How many files could not be used."""
        if not self._refused:
            return None
        number = len(self._refused)
        files = "1 file is" if number == 1 else f"{number} files are"
        return (
            f"of the embeddings stored in {self._folder} {files} damaged or not ours: "
            "the photos in question were looked at again"
        )

    def known(self, images: Collection[str], views: Sequence[str]) -> set[str]:
        """Return which pictures have all views in a file, by what the files say of themselves."""
        found: set[str] = set()
        for header in self._index().values():
            if set(views) <= set(header.views):
                found.update(header.images)
        return found & set(images)

    def get(self, images: Collection[str], views: Sequence[str]) -> Iterator[tuple[str, Halves]]:
        """Yield each picture whose embeddings are all there and whole, with them, (views, d) float16."""
        left, listings = set(images), 1
        while parts := self._parts(left, views):
            gone = False
            for path, chunk in in_parallel(self._read, list(parts)):
                if chunk is None:
                    gone |= path not in self._refused
                    self._index().pop(path, None)
                    continue
                left -= parts[path]
                yield from _vectors(chunk, parts[path], views)
            if gone and listings < _LISTINGS:
                self._files, listings = None, listings + 1

    def put(self, images: Mapping[str, Halves], views: Sequence[str]) -> None:
        """Store the embeddings of some pictures, (views, d) each, in as few files as their size allows."""
        rows = {sha256: np.ascontiguousarray(vectors, _HALF).tobytes() for sha256, vectors in sorted(images.items())}
        names = list(rows)
        size = len(rows[names[0]]) if names else 1
        at_once = max(1, STORED_CHUNK_BYTES // size)
        for start in range(0, len(names), at_once):
            some = {name: rows[name] for name in names[start : start + at_once]}
            path, header = write_chunk(self._storage, self._folder, self._embedder, views, some)
            if self._files is not None:
                self._files[path] = header

    def _index(self) -> dict[str, Header]:
        """Return what each file says of itself; listed once, and again when a file has vanished."""
        if self._files is None:
            paths = sorted(file.path for file in self._storage.list(self._folder))
            found = in_parallel(self._header, (path for path in paths if path not in self._refused))
            self._files = {path: header for path, header in found if header is not None}
        return self._files

    def _header(self, path: str) -> Header | None:
        header = read_header(self._storage, path) if path.endswith(SUFFIX) else None
        if header is None or header.embedder != self._embedder:
            self._refused.add(path)
            return None
        return header

    def _read(self, path: str) -> Chunk | None:
        chunk = read_chunk(self._storage, path)
        if chunk is None:
            self._refused.add(path)
        return chunk

    def _parts(self, wanted: set[str], views: Sequence[str]) -> dict[str, set[str]]:
        """Return which file to read for which of the pictures: as few files as a greedy choice needs."""
        left, parts = set(wanted), dict[str, set[str]]()
        for path, header in sorted(self._index().items(), key=lambda file: (-len(file[1].images), file[0])):
            if set(views) <= set(header.views) and (some := left.intersection(header.images)):
                parts[path] = some
                left -= some
        return parts


def _vectors(chunk: Chunk, wanted: set[str], views: Sequence[str]) -> Iterator[tuple[str, Halves]]:
    header = chunk.header
    order = [header.views.index(view) for view in views]
    for row, sha256 in enumerate(header.images):
        if sha256 in wanted:
            vectors = np.frombuffer(chunk.row(row), _HALF).reshape(len(header.views), -1)
            yield sha256, vectors[order]
