"""Storage in a local folder. Plain system calls: obstore's local store neither forces to disk nor minds links."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import stat
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from shelfsight.errors import ConflictError, NotFoundError, StorageError, UsageError
from shelfsight.storage.disk import (
    entries,
    make_folder,
    open_source,
    reading,
    status,
    stored,
    sync_folder,
    why,
    writing,
)
from shelfsight.storage.port import (
    CHUNK_BYTES,
    RESERVED,
    Names,
    StoredFile,
    check_move,
    check_path,
    check_range,
    is_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

_PARTIAL = f"{RESERVED}partial"
_FILE_MODE = 0o644  # nginx serves it under another user
# A link that takes the file's place after the check is not followed; a pipe there does not block the reader.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_TRIES = 10  # at making a file in a folder that others remove because it is empty


class FolderStorage:
    """Files in a local folder; see `Storage`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def open(cls, folder: Path) -> FolderStorage:
        """Return the storage in `folder`, which is made when missing.

        Raises:
            UsageError: a file is there.
            StorageError: it cannot be made.
        """
        root = Path(os.path.realpath(folder))
        try:
            make_folder(root, Path(root.anchor))
        except NotADirectoryError as exc:
            raise UsageError(f"the storage {folder} would lie inside a file: name a folder") from exc
        except OSError as exc:
            raise StorageError(f"cannot make the storage {folder}: {why(exc)}") from exc
        if not root.is_dir():
            raise UsageError(f"the storage {folder} is a file: name a folder")
        return cls(root)

    def put(self, path: str, data: bytes, *, create: bool = False) -> None:
        """Store a file whole and durably."""
        self._write(path, io.BytesIO(data), create=create)

    def put_file(self, path: str, source: Path) -> None:
        """Store a copy of a local file."""
        with open_source(source) as file:
            self._write(path, file, create=False)

    def get(self, path: str) -> bytes:
        """Return a file's bytes."""
        return self._read(path, 0, None)

    def head(self, path: str) -> StoredFile:
        """Return a file's size and time."""
        place = self._place(path, NotFoundError)
        with reading(path):
            found = place.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise NotFoundError(f"{path} is not in the storage: there is something, and it is no file")
        return stored(path, found)

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        try:
            self.head(path)
        except NotFoundError:
            return False
        return True

    def folders(self, folder: str) -> Names:
        """Return the sorted names of the folders right in `folder`."""
        place = self._place(folder, NotFoundError) if folder else self._root
        return sorted(entry.name for entry in entries(place) if entry.is_dir(follow_symlinks=False))

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Yield every file in `folder` and its sub-folders."""
        return self._walk(self._place(folder, NotFoundError) if folder else self._root, folder)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files and pointers, and the folders that are empty then."""
        emptied = set()
        for path in paths:
            place = self._place(path, ConflictError, link=True)
            with writing("delete", path), suppress(FileNotFoundError, NotADirectoryError):
                if not stat.S_ISDIR(place.lstat().st_mode):
                    place.unlink()
                    emptied.add(place.parent)
        for parent in emptied:
            self._prune(parent)

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all in it, and those around it that are empty then."""
        place = self._place(folder, ConflictError, link=True)
        with writing("delete", folder), suppress(FileNotFoundError):
            if place.is_symlink() or not place.is_dir():
                return
            shutil.rmtree(place)  # never follows a link
        self._prune(place.parent)

    def move_folder(self, source: str, target: str) -> None:
        """Give a folder another path in one step."""
        check_move(source, target)
        old, new = self._place(source, NotFoundError), self._place(target, ConflictError)
        with writing("move to", target):
            if not old.is_dir():
                raise NotFoundError(f"the folder {source} is not in the storage")
            self._arrive(new, partial(old.rename, new))
            sync_folder(old.parent)
        self._prune(old.parent)

    def point(self, path: str, name: str) -> None:
        """Let the pointer `path` name the folder `name` beside it, in one step."""
        place = self._place(path, ConflictError, link=True)
        if "/" in check_path(name):
            raise UsageError(f"a pointer names a folder beside it, not {name!r}")
        with writing("write", path), self._partial() as part:
            if not place.is_symlink() and place.exists():
                raise ConflictError(f"cannot point {path} to {name}: a file or folder has that path")
            part.symlink_to(name, target_is_directory=True)
            self._arrive(place, partial(part.replace, place))

    def pointer(self, path: str) -> str | None:
        """Return the name that a pointer holds, or None where no pointer is."""
        place = self._place(path, NotFoundError, link=True)
        try:
            name = os.readlink(place)  # noqa: PTH115 (Path would tidy what must be seen as it is)
        except OSError as exc:
            if exc.errno in {errno.ENOENT, errno.ENOTDIR, errno.EINVAL}:
                return None
            raise StorageError(f"cannot read {path}: {why(exc)}") from exc
        if not is_name(name):
            raise StorageError(f"{path} points to {name[:200]!r}, which is no folder beside it: publish again")
        return name

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to but not including `end`."""
        check_range(start, end)
        return await asyncio.to_thread(self._read, path, start, end)

    async def stream(
        self, path: str, *, start: int = 0, end: int | None = None, chunk_size: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """Yield the same bytes as `read` in chunks."""
        check_range(start, end)
        file = await asyncio.to_thread(self._open, path)
        try:
            left = sys.maxsize if end is None else end - start
            while chunk := await asyncio.to_thread(_chunk, file, path, start, min(left, chunk_size)):
                start, left = start + len(chunk), left - len(chunk)
                yield chunk
        finally:
            file.close()

    def remove_leftovers(self, older_than_s: float) -> int:
        """Remove what killed writers left; return how many there were."""
        before_s = time.time() - older_than_s
        removed = 0
        for entry in entries(self._partial_folder()):
            with writing("delete", entry.name), suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before_s:
                    Path(entry.path).unlink()
                    removed += 1
        return removed

    def _place(self, path: str, refusal: type[ConflictError | NotFoundError], *, link: bool = False) -> Path:
        """Return where `path` is on disk; raise `refusal` if a link is on the way there, or there unless `link`."""
        place = self._root
        names = check_path(path).split("/")
        for depth, name in enumerate(names, 1):
            place /= name
            with reading(path):
                linked = (depth < len(names) or not link) and place.is_symlink()
            if linked:
                raise refusal(f"{path} cannot be used: {name} is a symbolic link, and storage follows none")
        return place

    def _open(self, path: str) -> IO[bytes]:
        place = self._place(path, NotFoundError)
        with reading(path):
            file = open(place, "rb", opener=lambda name, _: os.open(name, _READ))  # noqa: SIM115 (the caller closes)
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
        raise NotFoundError(f"{path} is not in the storage: there is something, and it is no file")

    def _read(self, path: str, start: int, end: int | None) -> bytes:
        with self._open(path) as file:
            return _chunk(file, path, start, -1 if end is None else end - start)

    def _walk(self, folder: Path, path: str) -> Iterator[StoredFile]:
        pending = [(folder, path)]
        while pending:
            folder, path = pending.pop()
            for entry in entries(folder):
                inner = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append((folder / entry.name, inner))
                elif entry.is_file(follow_symlinks=False) and (found := status(entry, inner)):
                    yield stored(inner, found)

    def _write(self, path: str, source: IO[bytes], *, create: bool) -> None:
        place = self._place(path, ConflictError)
        with writing("write", path), self._partial() as part:
            with part.open("xb") as file:
                shutil.copyfileobj(source, file, CHUNK_BYTES)
                file.flush()
                part.chmod(_FILE_MODE)
                os.fsync(file.fileno())
            self._arrive(place, partial(os.link, part, place) if create else partial(part.replace, place))

    def _arrive(self, place: Path, step: Callable[[], object]) -> None:
        """Do `step`, which puts something at `place`, in a folder that is there, and force the new name to disk."""
        for left in reversed(range(_TRIES)):
            try:
                make_folder(place.parent, self._root)
                step()
                break
            except FileNotFoundError:  # somebody has just deleted the last file of that folder, and so the folder
                if not left:
                    raise
        sync_folder(place.parent)

    @contextmanager
    def _partial(self) -> Iterator[Path]:
        """Yield a new path on the same disk that no method shows; what is left there afterwards goes."""
        part = self._partial_folder() / uuid.uuid4().hex
        part.parent.mkdir(exist_ok=True)
        try:
            yield part
        finally:
            with suppress(OSError):  # the error that counts is on its way; remove_leftovers sees to the rest
                part.unlink()

    def _partial_folder(self) -> Path:
        folder = self._root / _PARTIAL
        if folder.is_symlink():
            raise StorageError(f"{_PARTIAL} in the storage is a symbolic link, which we do not make: remove it")
        return folder

    def _prune(self, folder: Path) -> None:
        """Force to disk that something left `folder`, and remove it and those around it while they are empty."""
        with suppress(OSError):  # gone, or not empty: both are fine
            while folder != self._root:
                sync_folder(folder)
                folder.rmdir()
                folder = folder.parent
            sync_folder(folder)


def _chunk(file: IO[bytes], path: str, start: int, size_bytes: int) -> bytes:
    with reading(path):
        file.seek(start)
        return file.read(size_bytes)
