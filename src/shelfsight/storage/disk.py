"""The disk's side of a local folder: its errors as ours, folders forced to disk, and what is in one."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from shelfsight.errors import ConflictError, NotFoundError, StorageError
from shelfsight.storage.port import StoredFile, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER_MODE = 0o755  # nginx serves them under another user
_IN_THE_WAY = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}
_ADVICE = {
    errno.ENOSPC: "the disk is full: free some room and try again",
    errno.EDQUOT: "the disk quota is used up: free some room and try again",
    errno.EFBIG: "the file is larger than the system allows: raise its limit (ulimit -f)",
    errno.EACCES: "not allowed: let the user who runs this write and read there",
    errno.EPERM: "not allowed: let the user who runs this write and read there",
    errno.EROFS: "the disk is read-only: mount it for writing",
    errno.ENOENT: "the folder of the storage is gone: is its disk mounted?",
    errno.EXDEV: "parts of the storage are on different disks: keep it on one",
}


def open_source(source: Path) -> IO[bytes]:
    """Return a local file that shall be stored, opened for reading.

    Raises:
        NotFoundError: it is not there.
        StorageError: it cannot be read.
    """
    try:
        return source.open("rb")
    except FileNotFoundError as exc:
        raise NotFoundError(f"cannot store {source}: there is no such file") from exc
    except OSError as exc:
        raise StorageError(f"cannot store {source}: {why(exc)}") from exc


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn the system's errors of reading `path` into NotFoundError and StorageError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise NotFoundError(f"{path} is not in the storage") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {why(exc)}") from exc


@contextmanager
def writing(verb: str, path: str) -> Iterator[None]:
    """Turn the system's errors of changing `path` into ConflictError and StorageError."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _IN_THE_WAY:
            raise ConflictError(f"cannot {verb} {path}: something is there already") from exc
        raise StorageError(f"cannot {verb} {path}: {why(exc)}") from exc


def why(exc: OSError) -> str:
    """Return why the system refused, and what to do where that is known."""
    return _ADVICE.get(exc.errno or 0, exc.strerror or str(exc))


def make_folder(folder: Path, root: Path) -> None:
    """Make `folder` and those around it up to `root`, which must be there, and force their names to disk."""
    missing = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for place in reversed(missing):
        with suppress(FileExistsError):  # made by another in this instant, or a file: the next step will tell
            place.mkdir()
            place.chmod(_FOLDER_MODE)
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Force to disk which names are in a folder."""
    if sys.platform == "win32":  # which opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder and can have a path; nothing where no folder is."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if is_name(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise StorageError(f"cannot list {folder}: {why(exc)}") from exc


def status(entry: os.DirEntry[str], path: str) -> os.stat_result | None:
    """Return size and times of what a listing found, or None if it has gone since."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # deleted since it was listed
        return None
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {why(exc)}") from exc


def stored(path: str, found: os.stat_result) -> StoredFile:
    """Return a file of the disk as storage lists it."""
    return StoredFile(path=path, size_bytes=found.st_size, modified_at=datetime.fromtimestamp(found.st_mtime, UTC))
