"""Embeddings kept between trainings, by (SHA-256 of the picture, embedder, view), in one SQLite file.

The cache may vanish, fill the disk or be damaged without harm: what it does not hold is embedded again. Several
trainings can use it at once, and one that is killed leaves all that it had stored.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from numpy.typing import NDArray

    Halves = NDArray[np.float16]

_FILE = "embeddings-1.sqlite"  # another schema gets another number
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS embedding (
        image BLOB NOT NULL, embedder BLOB NOT NULL, view TEXT NOT NULL,
        vector BLOB NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (image, embedder, view)
    )
"""
_BUSY_TIMEOUT_S = 30.0
_ASKED_AT_ONCE = 200  # of 18 views, 9 MB


class EmbeddingCache:
    """Embeddings by picture and view, of one embedder (see `Embeddings`); a context manager.

    `trouble` says in one sentence why the cache could not be used, and stays None while all is well. Where there is
    no file to keep them in, embeddings are kept in memory for this training.
    """

    def __init__(self, folder: Path, embedder: str) -> None:
        """Open or create the cache in `folder` for what `embedder` (hexadecimal) names; never raises."""
        self.trouble: str | None = None
        self._path = folder / _FILE
        self._embedder = bytes.fromhex(embedder)
        self._database: sqlite3.Connection | None = None
        self._damaged: set[str] = set()
        self._in_memory: dict[str, dict[str, Halves]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._connect()
        except (OSError, sqlite3.Error) as exc:
            self._failed(exc)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.close()

    def known(self, images: Collection[str], views: Sequence[str]) -> set[str]:
        """Return which pictures have all views here, by the index alone."""
        found: dict[str, set[str]] = {}
        for image, view in self._rows("image, view", images):
            found.setdefault(image.hex(), set()).add(view)
        found |= {image: set(self._in_memory[image]) for image in images if image in self._in_memory}
        return {image for image, has in found.items() if has.issuperset(views)} - self._damaged

    def get(self, images: Collection[str], views: Sequence[str]) -> Iterator[tuple[str, Halves]]:
        """Yield each picture whose embeddings are all there and whole, with them, (views, d) float16."""
        wanted = list(images)
        for start in range(0, len(wanted), _ASKED_AT_ONCE):
            some = wanted[start : start + _ASKED_AT_ONCE]
            found: dict[str, dict[str, Halves]] = {image: {} for image in some}
            for image, view, vector, checksum in list(self._rows("image, view, vector, checksum", some)):
                if zlib.crc32(vector) == checksum:
                    found[image.hex()][view] = np.frombuffer(vector, np.float16)
                else:
                    self._damaged.add(image.hex())
            for image, by_view in found.items():
                whole = self._in_memory.get(image, by_view)
                if all(view in whole for view in views):
                    yield image, np.stack([whole[view] for view in views])

    def put(self, images: Mapping[str, Halves], views: Sequence[str]) -> None:
        """Store the embeddings of some pictures, (views, d) each, in one transaction."""
        rows = [
            (bytes.fromhex(image), self._embedder, view, data := vector.tobytes(), zlib.crc32(data))
            for image, vectors in images.items()
            for view, vector in zip(views, vectors, strict=True)
        ]
        if self._database is not None:
            try:
                with self._database:
                    self._database.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?, ?)", rows)
                self._damaged -= images.keys()
            except sqlite3.Error as exc:
                self._failed(exc)
            else:
                return
        for image, vectors in images.items():
            self._in_memory[image] = dict(zip(views, vectors, strict=True))

    def _rows(self, columns: str, images: Collection[str]) -> Iterator[Any]:
        """Yield what the file has of some pictures; nothing more once it turns out to be damaged."""
        wanted = [bytes.fromhex(image) for image in images]
        for start in range(0, len(wanted), _ASKED_AT_ONCE):
            if self._database is None:
                return
            some = wanted[start : start + _ASKED_AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT {columns} FROM embedding WHERE embedder = ? AND image IN ({marks})"  # noqa: S608 (marks)
            try:
                rows = self._database.execute(query, (self._embedder, *some)).fetchall()
            except sqlite3.Error as exc:
                self._failed(exc)
                return
            yield from rows

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _failed(self, exc: Exception) -> None:
        """Start an empty cache in place of a damaged one; go on without a cache after any other trouble."""
        if self._database is not None:
            self._database.close()
        self._database = None
        damaged = isinstance(exc, sqlite3.DatabaseError) and not isinstance(exc, sqlite3.OperationalError)
        if damaged and self.trouble is None:
            self.trouble = f"the embedding cache was damaged ({exc}) and has been started anew: {self._path}"
            with suppress(OSError, sqlite3.Error):
                for suffix in ("-wal", "-shm", ""):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._database = self._connect()
                return
        self.trouble = f"the embedding cache {self._path} cannot be used ({exc}): training goes on without it"
