"""Folders for work that is thrown away, of which a process that is killed leaves none for ever."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "shelfsight-"
_YOUNG_S = 3600
"""A younger folder is left alone: it may not be locked yet."""


@contextmanager
def workspace(what: str) -> Iterator[Path]:
    """Yield an empty folder where the system keeps temporary files; it goes at the end of the block.

    Those that killed processes have left go before; a folder that is in use is told by a lock, which dies with its
    process. On Windows, which has no such locks on folders, they stay.

    Args:
        what: a word for its name, such as `publish`.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{what}-") as name:
        lock = _locked(name)
        inner = Path(name, "work")  # not what is locked: whoever puts a bundle there locks the folder it lies in
        inner.mkdir()
        try:
            yield inner
        finally:
            if lock is not None:
                os.close(lock)


def _remove_abandoned(root: Path) -> None:
    before_s = time.time() - _YOUNG_S
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_ours(entry, before_s) and _is_abandoned(entry.path):
                shutil.rmtree(entry.path, ignore_errors=True)  # follows no links


def _is_ours(entry: os.DirEntry[str], before_s: float) -> bool:
    """Return whether it is an old folder of this user's."""
    if sys.platform == "win32":
        return False
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # gone since it was listed
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and found.st_mtime < before_s


def _is_abandoned(folder: str) -> bool:
    lock = _locked(folder)
    if lock is None:
        return False
    os.close(lock)
    return True


def _locked(folder: str) -> int | None:
    """Return a descriptor that holds the lock of a folder while it is open, None where it cannot be had."""
    if sys.platform == "win32":
        return None
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or gone
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor
