"""What every storage promises, whatever holds the files; and which paths it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

LONGEST_PATH_BYTES = 1024  # the longest key of S3
LONGEST_NAME_BYTES = 255  # the longest name of every file system that matters
RESERVED = ".shelfsight-"  # what storage keeps for itself beside the files begins with this
CHUNK_BYTES = 1024 * 1024

Names: TypeAlias = list[str]  # inside the classes, `list` is a method


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file as storage lists it; `modified_at` is in UTC."""

    path: str
    size_bytes: int
    modified_at: datetime


class Storage(Protocol):
    """Files by path, such as `ml-models/T_1/v1.4.2/model.json`; the same behaviour on a folder and on object stores.

    Folders are there while a file or a pointer is in them. Symbolic links are never followed: reading finds nothing
    there, writing there is a conflict. Paths are checked by `check_path`.

    Raises (every method):
        UsageError: a path, name or range is not one.
        StorageError: the storage does not answer, refuses, or is full; the message says which and what to do.
    """

    def put(self, path: str, data: bytes, *, create: bool = False) -> None:
        """Store a file whole and durably: killed at any instant, the older or the newer one is there, never a part.

        Raises:
            ConflictError: `create` and there is one already, or a folder or link is in the way.
        """

    def put_file(self, path: str, source: Path) -> None:
        """Store a copy of a local file as `put` does, without reading all of it into memory.

        Raises:
            NotFoundError: `source` is not there.
            ConflictError: a folder or link is in the way.
        """

    def get(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            NotFoundError: it is not there.
        """

    def head(self, path: str) -> StoredFile:
        """Return a file's size and time.

        Raises:
            NotFoundError: it is not there.
        """

    def exists(self, path: str) -> bool:
        """Return whether a file is there; a folder or pointer is none."""

    def folders(self, folder: str) -> Names:
        """Return the sorted names of the folders right in `folder`; "" is the top."""

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Yield every file in `folder` and its sub-folders, in any order; pointers are none; "" is the top."""

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files and pointers; what is not there is fine."""

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all in it, pointers included; not there is fine."""

    def move_folder(self, source: str, target: str) -> None:
        """Give a folder another path. On a local folder it is one step; on object stores it is a copy of every file.

        Killed half-way there, the source is whole: call again, which starts over. Killed while it removed the copied
        sources, the target is whole, and a further call says that it is there: remove what is left of the source.
        One caller at a time. On S3 no file may exceed 5 GB.

        Raises:
            NotFoundError: no file is in `source`.
            ConflictError: something is at `target`.
        """

    def point(self, path: str, name: str) -> None:
        """Let the pointer `path` name the folder `name` beside it, in one step; nobody checks that it is there.

        A local pointer is a relative symbolic link, so that nginx follows it; on object stores it is a small object
        of a reserved name, which no other method shows.

        Raises:
            ConflictError: a file or folder is at `path`.
        """

    def pointer(self, path: str) -> str | None:
        """Return the name that a pointer holds, or None where no pointer is.

        Raises:
            StorageError: it holds anything but the plain name of a sibling; somebody else made it.
        """

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to but not including `end`; fewer where the file ends before.

        Raises:
            NotFoundError: it is not there.
        """

    def stream(
        self, path: str, *, start: int = 0, end: int | None = None, chunk_size: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """Yield the same bytes as `read` in chunks of at most `chunk_size` bytes, all of one version of the file.

        Raises:
            NotFoundError: it is not there.
            StorageError: on an object store, another was put while this one was read.
        """

    def remove_leftovers(self, older_than_s: float) -> int:
        """Remove what killed writers left more than so many seconds ago; return how many there were.

        On object stores nothing: obstore cannot list unfinished uploads, so give the bucket a lifecycle rule
        that aborts them (AbortIncompleteMultipartUpload).
        """


def check_path(path: str) -> str:
    """Return `path` if it names a place inside any storage.

    Raises:
        UsageError: it is not relative and `/`-separated, or a segment is not a name (see `is_name`), or it is longer
            than 1024 bytes.
    """
    if not all(is_name(segment) for segment in path.split("/")):
        raise UsageError(
            f"{path[:200]!r} is no path in storage: give names separated by single slashes, such as"
            " ml-models/T_1/model.json, without '.', '..', backslashes and control characters"
        )
    if len(path.encode()) > LONGEST_PATH_BYTES:
        raise UsageError(f"the path {path[:40]!r}… is longer than {LONGEST_PATH_BYTES} bytes: shorten it")
    return path


def check_folder(folder: str) -> str:
    """Return `folder` if it is a path or "", which is the top.

    Raises:
        UsageError: it is neither.
    """
    return check_path(folder) if folder else folder


def check_move(source: str, target: str) -> None:
    """Return if a folder can move from `source` to `target`.

    Raises:
        UsageError: one of them is no path, or lies inside the other.
    """
    one, other = f"{check_path(source)}/", f"{check_path(target)}/"
    if one.startswith(other) or other.startswith(one):
        raise UsageError(f"cannot move {source} to {target}: one is inside the other")


def check_range(start: int, end: int | None) -> None:
    """Return if there can be bytes from `start` to `end`.

    Raises:
        UsageError: `start` is negative or after `end`.
    """
    if start < 0 or (end is not None and end < start):
        raise UsageError(f"bytes {start} to {end} are no range: give 0 ≤ start ≤ end")


def is_name(segment: str) -> bool:
    """Return whether `segment` can be the name of one file or folder on every storage, and is not reserved."""
    if segment in {"", ".", ".."} or segment.startswith(RESERVED):
        return False
    if any(character in "/\\\x7f" or character < " " or "\x80" <= character <= "\x9f" for character in segment):
        return False
    try:
        return len(segment.encode()) <= LONGEST_NAME_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair, which no storage can hold
        return False
