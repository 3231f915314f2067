"""Take in the files of a bundle that somebody sends: one by one, or as the ZIP that Teachable Machine exports."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from shelfsight.bundle.documents import FILE_NAME_PATTERN
from shelfsight.errors import BundleError, StorageError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_FILES = 100
MAX_BYTES = 300_000_000
"""Of all files together, unpacked."""

_NAME = re.compile(FILE_NAME_PATTERN)
_BLOB = re.compile(r"[0-9a-f]{64}\.bin")
_CHUNK_BYTES = 1 << 20
_MAX_DIRECTORY_BYTES = 1 << 20
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LONGEST_COMMENT = 22, 0xFFFF
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error)
"""What zipfile raises on bad ones."""


def receive(files: Iterable[tuple[str, IO[bytes]]], folder: Path) -> None:
    """Write the files that were sent into a folder, blobs into its sub-folder; a single ZIP is unpacked.

    Raises:
        BundleError: there is none, one's name is not a plain one or comes twice, or the ZIP is damaged.
        TooLargeError: they are too many, or too large.
        StorageError: there is no room for them here.
    """
    sent = list(files)
    try:
        if len(sent) == 1 and sent[0][0].lower().endswith(".zip"):
            _unpack(sent[0][1], folder)
        else:
            _write(sent, folder)
    except OSError as exc:
        raise StorageError(f"the upload cannot be kept to check it ({exc.strerror or exc}): make room") from exc


def _unpack(source: IO[bytes], folder: Path) -> None:
    _check_directory(source)
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise BundleError(f"the ZIP compresses {member.filename[:100]!r} as few can read: use deflate")
            _write(((member.filename, opened) for member, opened in _opened(archive, members)), folder)
    except _DAMAGED as exc:
        raise BundleError(f"the ZIP cannot be unpacked ({exc}): export it again") from exc


def _check_directory(source: IO[bytes]) -> None:
    """Refuse a ZIP whose list of files is so long that reading it would fill the memory, a million entries, say.

    Raises:
        TooLargeError: it is.
    """
    size_bytes = source.seek(0, io.SEEK_END)
    source.seek(max(0, size_bytes - _END_BYTES - _LONGEST_COMMENT))
    tail = source.read()
    source.seek(0)
    for end in (tail.rfind(_END), len(tail) - _END_BYTES):  # zipfile looks at both
        if end >= 0 and tail.startswith(_END, end):
            listed_bytes = int.from_bytes(tail[end + 12 : end + 16], "little")
            is_zip64 = tail.startswith(_ZIP64, max(0, end - 20))  # whose list may be anywhere, and of any size
            if listed_bytes > _MAX_DIRECTORY_BYTES or is_zip64:
                raise TooLargeError(f"the ZIP lists more than {MAX_FILES} files: send the files of one bundle")


def _opened(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]:
    for member in members:
        with archive.open(member) as opened:
            yield member, opened


def _write(files: Iterable[tuple[str, IO[bytes]]], folder: Path) -> None:
    left, count = MAX_BYTES, 0
    for name, source in files:
        count += 1
        if count > MAX_FILES:
            raise TooLargeError(f"the upload has more than {MAX_FILES} files: send the files of one bundle")
        left -= _write_one(source, folder / _place(name), left)
    if count == 0:
        raise BundleError("the upload is empty: send the files of a bundle as `files`, or one ZIP of them")


def _place(name: str) -> str:
    """Return where in the folder a file goes."""
    path = PurePosixPath(name)
    if _BLOB.fullmatch(path.name) and path.parent.name in {"", "blobs"} and len(path.parts) <= 2:
        return f"blobs/{path.name}"
    if not _NAME.fullmatch(name) or name == "blobs":
        raise BundleError(f"{name[:100]!r} is no plain file name: send the bundle's files without folders")
    return name


def _write_one(source: IO[bytes], place: Path, left: int) -> int:
    """Write one file and return its size."""
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        raise BundleError(f"the upload has {place.name} twice: send each file once")
    size = 0
    with place.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > left:
                raise TooLargeError(f"the upload has more than {MAX_BYTES // 10**6} MB: upload a smaller model")
            file.write(chunk)
    return size
