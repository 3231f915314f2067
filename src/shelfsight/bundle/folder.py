"""Put a finished folder in its place in one step, so that nobody ever sees half of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABANDONED_AFTER_S = 3600


@contextmanager
def staged_folder(place: Path) -> Iterator[Path]:
    """Yield an empty folder beside `place`; when the block ends well, it takes `place`, replacing what was there.

    A block that raises leaves `place` as it was. Killed between the two renames of a replacement, the older folder
    is put back by the next call.

    Raises:
        OutputError: the folder cannot be written; the message says why.
    """
    place = place.resolve()
    previous = place.with_name(f".{place.name}.previous")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        restore_previous(place)
        _remove_abandoned(place)
        stage = Path(tempfile.mkdtemp(prefix=f".{place.name}.staging-", dir=place.parent))
    except OSError as exc:
        raise OutputError(f"cannot write to {place.parent}: {exc.strerror or exc}") from exc
    try:
        yield stage
        stage.chmod(0o755)
        _sync(stage)
        if place.exists():
            place.rename(previous)
        stage.rename(place)
    except OSError as exc:
        raise OutputError(f"cannot write {place}: {exc.strerror or exc}; what was there is unchanged") from exc
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        restore_previous(place)
        shutil.rmtree(previous, ignore_errors=True)


def restore_previous(place: Path) -> None:
    """Put the older folder back if a replacement was killed before the newer one took its place."""
    previous = place.with_name(f".{place.name}.previous")
    if previous.is_dir() and not place.exists():
        previous.rename(place)


def _remove_abandoned(place: Path) -> None:
    """Remove what killed runs left beside `place`; one that is still at work is younger than an hour."""
    for stage in place.parent.glob(f".{place.name}.staging-*"):
        if time.time() - stage.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(stage, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Force every file of the folder to disk, so that a power cut after the rename finds them whole."""
    for path in sorted(folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
