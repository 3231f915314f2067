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
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

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


class EmbeddingCache:
    """Embeddings by picture and view, of one embedder; a context manager.

    `trouble` says in one sentence why the cache could not be used, and stays None while all is well.
    """

    def __init__(self, folder: Path, embedder: str) -> None:
        """Open or create the cache in `folder` for what `embedder` (hexadecimal) names; never raises."""
        self.trouble: str | None = None
        self._path = folder / _FILE
        self._embedder = bytes.fromhex(embedder)
        self._database: sqlite3.Connection | None = None
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

    def get(self, image: str, views: Sequence[str]) -> Halves | None:
        """Return the embeddings of a picture's views, (views, d) float16, or None unless all are there and whole."""
        if self._database is None:
            return None
        try:
            rows = self._database.execute(
                "SELECT view, vector, checksum FROM embedding WHERE image = ? AND embedder = ?",
                (bytes.fromhex(image), self._embedder),
            ).fetchall()
        except sqlite3.Error as exc:
            self._failed(exc)
            return None
        found = {view: vector for view, vector, checksum in rows if zlib.crc32(vector) == checksum}
        if any(view not in found for view in views):
            return None
        return np.stack([np.frombuffer(found[view], np.float16) for view in views])

    def put(self, images: Mapping[str, Halves], views: Sequence[str]) -> None:
        """Store the embeddings of some pictures, (views, d) each, in one transaction."""
        if self._database is None:
            return
        rows = [
            (bytes.fromhex(image), self._embedder, view, data := vector.tobytes(), zlib.crc32(data))
            for image, vectors in images.items()
            for view, vector in zip(views, vectors, strict=True)
        ]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as exc:
            self._failed(exc)

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
