"""Put a finished folder in its place in one step, so that nobody ever sees half of it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABANDONED_AFTER_S = 3600
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h


@contextmanager
def staged_folder(place: Path) -> Iterator[Path]:
    """Yield an empty folder beside `place`; when the block ends well, it takes `place`, replacing what was there.

    A block that raises leaves `place` as it was. On Linux the two change places in one step; elsewhere a reader may
    find nothing for an instant, and killed in that instant the older folder is put back by the next call.

    Raises:
        OutputError: the folder cannot be written; the message says why.
    """
    place = Path(os.path.realpath(place))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.parent):
            restore_previous(place)
            _remove_abandoned(place)
        stage = Path(tempfile.mkdtemp(prefix=f".{place.name}.staging-", dir=place.parent))
    except OSError as exc:
        raise OutputError(f"cannot write to {place.parent}: {exc.strerror or exc}") from exc
    try:
        yield stage
        stage.chmod(0o755)
        _sync(stage)
        with _locked(place.parent):
            _swap(stage, place)
    except OSError as exc:
        raise OutputError(f"cannot write {place}: {exc.strerror or exc}; what was there is unchanged") from exc
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def restore_previous(place: Path) -> None:
    """Put the older folder back if a replacement was killed before the newer one took its place."""
    previous = _previous(place)
    if previous.is_dir() and not place.exists():
        previous.rename(place)


def _swap(stage: Path, place: Path) -> None:
    """Put `stage` at `place`; what was there is at `stage` afterwards, or gone."""
    if not place.exists():
        stage.rename(place)
    elif not _exchange(stage, place):
        place.rename(_previous(place))
        try:
            stage.rename(place)
        except OSError:
            restore_previous(place)
            raise
        shutil.rmtree(_previous(place), ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; return False where the system cannot (Linux's renameat2 can)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, against another process that puts a folder in its place just now."""
    if sys.platform == "win32":  # which locks no folders; a rename in use fails there instead
        yield
        return
    import fcntl  # noqa: PLC0415 (only where there is one)

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _previous(place: Path) -> Path:
    return place.with_name(f".{place.name}.previous")


def _remove_abandoned(place: Path) -> None:
    """Remove what killed runs left beside `place`; one that is still at work is younger than an hour."""
    for stage in place.parent.glob(f".{place.name}.staging-*"):
        with suppress(FileNotFoundError):  # another process has just finished with it
            if time.time() - stage.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(stage, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Force the folder and all in it to disk, so that a power cut after the rename finds them whole."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    if sys.platform == "win32":
        return
    for place in (*(path for path in folder.rglob("*") if path.is_dir()), folder, folder.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
