"""Files of embeddings: many pictures each, never changed, named by the SHA-256 of what they hold.

A file is

    8 bytes  `SHELFEM1`
    4 bytes  length of the header, little-endian
    header   JSON: `embedder` (SHA-256), `views` (their names), `rowBytes`, `images` (the SHA-256 of each picture)
    rows     for each picture `rowBytes` bytes: its views one after the other, each float16, little-endian

and is damaged when its name is not its hash. Two workers that store the same write the same file. Plain Python: who
tidies up needs no numpy.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from shelfsight.errors import NotFoundError
from shelfsight.training.layout import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shelfsight.storage import Storage

_MAGIC = b"SHELFEM1"
_START = struct.Struct("<8sI")
_READ_FIRST = 64 * 1024  # holds the header of 900 pictures
_LONGEST_HEADER = 4 * 1024 * 1024
_FILES_AT_ONCE = 8

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file of embeddings says of itself."""

    embedder: str
    views: tuple[str, ...]
    row_bytes: int
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A file of embeddings: the rows lie in the order of the header's images."""

    header: Header
    rows: memoryview

    def row(self, index: int) -> memoryview:
        """Return the bytes of one picture's embeddings."""
        size = self.header.row_bytes
        return self.rows[index * size : (index + 1) * size]


def write_chunk(
    storage: Storage, folder: str, embedder: str, views: Iterable[str], rows: Mapping[str, bytes | memoryview]
) -> tuple[str, Header]:
    """Store the rows, all of one length, by the SHA-256 of their pictures; return the file's path and header."""
    images = tuple(sorted(rows))
    header = Header(embedder=embedder, views=tuple(views), row_bytes=len(rows[images[0]]), images=images)
    said = {"embedder": embedder, "views": header.views, "rowBytes": header.row_bytes, "images": images}
    text = json.dumps(said, separators=(",", ":")).encode()
    data = b"".join([_START.pack(_MAGIC, len(text)), text, *(rows[image] for image in images)])
    path = f"{folder}/{hashlib.sha256(data).hexdigest()}{SUFFIX}"
    storage.put(path, data)
    return path, header


def read_header(storage: Storage, path: str) -> Header | None:
    """Return what a file says of itself, not checked against its name; None for no file of ours, or a damaged one.

    Raises:
        NotFoundError: it is not there.
    """
    start = asyncio.run(storage.read(path, end=_READ_FIRST))  # in a thread of ours, where no loop runs
    length = _START.unpack_from(start)[1] if len(start) >= _START.size else 0
    if _READ_FIRST - _START.size < length <= _LONGEST_HEADER:
        start = asyncio.run(storage.read(path, end=_START.size + length))
    return _header(start)


def read_chunk(storage: Storage, path: str) -> Chunk | None:
    """Return a file that is what its name says, None for a damaged one.

    Raises:
        NotFoundError: it is not there.
    """
    data = storage.get(path)
    if path.rpartition("/")[2] != f"{hashlib.sha256(data).hexdigest()}{SUFFIX}":
        return None
    header = _header(data)
    if header is None:
        return None
    rows = memoryview(data)[_START.size + _START.unpack_from(data)[1] :]
    return Chunk(header=header, rows=rows) if len(rows) == header.row_bytes * len(header.images) else None


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | None]]:
    """Yield each item with what `work` makes of it, None where its file is gone; few at a time, and in memory."""

    def tried(item: T) -> R | None:
        try:
            return work(item)
        except NotFoundError:
            return None

    left = iter(items)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        while some := list(islice(left, _FILES_AT_ONCE)):
            yield from zip(some, pool.map(tried, some), strict=True)


def _header(data: bytes) -> Header | None:
    try:
        magic, length = _START.unpack_from(data)
        said = json.loads(data[_START.size : _START.size + length])
        header = Header(
            embedder=str(said["embedder"]),
            views=tuple(map(str, said["views"])),
            row_bytes=int(said["rowBytes"]),
            images=tuple(map(str, said["images"])),
        )
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = magic == _MAGIC and header.views and header.row_bytes > 0 and header.row_bytes % len(header.views) == 0
    return header if sound else None
