"""Files that nginx serves while they are written: each whole, and with a time that tells it from the one before."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.errors import ConflictError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOR_EVERYBODY = 0o644
_LOCK = ".export.lock"


def write(path: Path, data: bytes) -> bool:
    """Give a file these bytes in one step, and return whether they are new to it.

    nginx makes a file's tag of its time in whole seconds and its size, so another content gets another second.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        before: os.stat_result | None = None
        with suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return False
            before = path.stat()
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data, before)
    except OSError as exc:
        raise OutputError(f"{path} cannot be written ({exc.strerror}): make room, or name another folder") from exc
    return True


def _replace(path: Path, data: bytes, before: os.stat_result | None) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        new = Path(beside)
        new.chmod(_FOR_EVERYBODY)
        if before is not None:
            second = max(int(new.stat().st_mtime), int(before.st_mtime) + 1)
            os.utime(new, (second, second))
        new.replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(beside).unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other exports out of a folder while the block runs; the lock ends with the process, however it ends.

    Raises:
        ConflictError: another export is running there.
        OutputError: the folder cannot be made.
    """
    import fcntl  # noqa: PLC0415 (Windows has none, nor nginx worth the name)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FOR_EVERYBODY)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be used ({exc.strerror}): name another folder") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(handle)
        raise ConflictError(f"another export is writing to {folder}: end it first, or name another folder") from exc
    try:
        yield
    finally:
        os.close(handle)
