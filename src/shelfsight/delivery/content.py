"""Bytes of files: the small ones from memory, compressed where that pays, each checked when it is read whole."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from shelfsight.delivery.memory import BytesMemory, Flights, Memory
from shelfsight.delivery.rules import Encoding, pays
from shelfsight.errors import NotFoundError, StorageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shelfsight.delivery.answers import ServedFile
    from shelfsight.delivery.rules import ByteRange
    from shelfsight.storage import Storage

_MIB = 1024 * 1024
_COMPRESSIONS_AT_ONCE = 2
_COMPRESSIONS_WAITING = 16
"""Of large files, for which nobody waits: the files of ten thousand channels would be in the memory at once."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLimits:
    """How much is held, in bytes.

    Attributes:
        whole: files up to this size are read whole, checked, and held; larger ones are streamed and not held.
        held: of such files, altogether.
        waited_for: a client waits while a file up to this size is compressed; of a larger one it gets the
            uncompressed bytes at once, and the compressed ones next time.
        compressed: larger files are never compressed.
        variants: of compressed files, altogether.
    """

    whole: int = 8 * _MIB
    held: int = 128 * _MIB
    waited_for: int = _MIB
    compressed: int = 16 * _MIB
    variants: int = 64 * _MIB


class Content:
    """The bytes of served files, by their hash: channels and versions that share a file share its place in memory.

    A small file is worth the wait for its compression: a few milliseconds, once. Weights of 5 MB take half a second,
    in which a till on a good line would have them already; and a till that gets them uncompressed has lost nothing,
    as every encoding's tag is recognised later on.
    """

    def __init__(self, storage: Storage, limits: ContentLimits) -> None:
        self._storage = storage
        self._limits = limits
        self._files: BytesMemory[str] = BytesMemory(limits.held)
        self._reads: Flights[str, bytes] = Flights()
        self._variants: BytesMemory[tuple[str, Encoding]] = BytesMemory(limits.variants)
        self._compressions: Flights[tuple[str, Encoding], bytes | None] = Flights()
        self._turns = asyncio.Semaphore(_COMPRESSIONS_AT_ONCE)
        self._incompressible: Memory[str, bool] = Memory(4096)

    def is_held_whole(self, file: ServedFile) -> bool:
        """Return whether a file is small enough for `whole`."""
        return file.size_bytes <= self._limits.whole

    def is_compressible(self, file: ServedFile) -> bool:
        """Return whether it is ever sent compressed, as far as is known."""
        return file.size_bytes <= self._limits.compressed and not self._incompressible.get(file.sha256)

    async def whole(self, file: ServedFile) -> bytes:
        """Return a file's bytes, from memory where they are held.

        Raises:
            NotFoundError: it is gone, or is not what the manifest says.
            StorageError: storage does not answer.
        """
        held = self._files.get(file.sha256)
        if held is not None:
            return held
        return await self._reads.join(file.sha256, lambda: self._read(file))

    async def stream(self, file: ServedFile, part: ByteRange) -> AsyncGenerator[bytes, None]:
        """Yield a part of a file from storage, unchecked, in the chunks that storage likes best (a megabyte).

        Raises:
            NotFoundError: it is gone.
            StorageError: storage does not answer, or the file has become shorter.
        """
        left = part.end - part.start
        async for chunk in self._storage.stream(file.path, start=part.start, end=part.end):
            left -= len(chunk)
            yield chunk
        if left:
            raise StorageError(f"{file.path} has become shorter while it was read: {left} bytes are missing")

    async def compressed(self, file: ServedFile, encoding: Encoding, *, wait: bool) -> bytes | None:
        """Return a file's bytes in an encoding; None where that does not pay, or is not ready and may not `wait`.

        Raises:
            NotFoundError: as `whole`.
            StorageError: as `whole`.
        """
        if not self.is_compressible(file):
            return None
        key = (file.sha256, encoding)
        held = self._variants.get(key)
        if held is not None:
            return held
        if wait or file.size_bytes <= self._limits.waited_for:
            return await self._compressions.join(key, lambda: self._compress(file, encoding))
        if len(self._compressions) < _COMPRESSIONS_WAITING:  # else another one who asks begins it
            self._compressions.start(key, lambda: self._compress(file, encoding))
        return None

    async def _read(self, file: ServedFile) -> bytes:
        data = await self._storage.read(file.path)
        if await asyncio.to_thread(_sha256, data) != file.sha256:
            _log.error("file_damaged", path=file.path, wanted_size_bytes=file.size_bytes, found_size_bytes=len(data))
            raise NotFoundError(f"{file.path} is damaged")
        if self.is_held_whole(file):
            self._files.put(file.sha256, data)
        return data

    async def _compress(self, file: ServedFile, encoding: Encoding) -> bytes | None:
        async with self._turns:
            data = await self.whole(file)  # not before: what waits for its turn holds no bytes
            small = file.size_bytes <= self._limits.waited_for
            variant = await asyncio.to_thread(_compress, data, encoding, small=small)
        if not pays(file.media_type, len(data), len(variant)):
            self._incompressible.put(file.sha256, True)
            return None
        self._variants.put((file.sha256, encoding), variant)
        return variant


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _compress(data: bytes, encoding: Encoding, *, small: bool) -> bytes:
    """Return `data` compressed; the last few percent are worth their time on small files only."""
    if encoding is Encoding.ZSTD:
        return zstd.compress(data, 15 if small else 9)  # up to level 19 the window fits a browser's 8 MiB
    return gzip.compress(data, 9 if small else 6, mtime=0)
