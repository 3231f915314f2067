"""The pointer `latest` in storage, which follows the stable version in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.errors import BundleError, NotFoundError, StorageError
from shelfsight.registry import files, layout, store

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

_ROUNDS = 10


def base_url(channel: str) -> str:
    """Return where the files of the stable version are served."""
    return f"{layout.SERVED_AT}/{layout.latest_pointer(channel)}"


def point(database: Database, storage: Storage, channel: str) -> str | None:
    """Let `latest` name the stable version of a channel, and return it; None where there is none.

    Whoever writes the pointer looks again afterwards: of several at once, the last to write has seen the last word
    of the database. Safe to call at any time.

    Raises:
        BundleError: the stable version's files are not there; `latest` stays where it is.
        StorageError: it cannot be written; what the database calls stable is not what devices load.
    """
    path = layout.latest_pointer(channel)
    for _ in range(_ROUNDS):
        stable = _stable(database, channel)
        try:
            if stable is None:
                storage.delete([path])
            elif storage.pointer(path) != f"v{stable}":
                files.read_manifest(storage, channel, stable)
                storage.point(path, f"v{stable}")
        except StorageError as exc:
            raise StorageError(
                f"{channel} {stable or 'without a version'} is what counts, but `latest` could not follow ({exc}): "
                f"`shelfsight cleanup {channel}` lets it, and so does a restart of the server"
            ) from exc
        if _stable(database, channel) == stable:
            return stable
    raise BundleError(f"the stable version of {channel} changes faster than `latest` can follow: try again")


def read(storage: Storage, channel: str) -> str | None:
    """Return the version that `latest` names."""
    try:
        name = storage.pointer(layout.latest_pointer(channel))
    except NotFoundError:
        return None
    return None if name is None else name.removeprefix("v")


def _stable(database: Database, channel: str) -> str | None:
    with database.read() as tx:
        return store.stable(tx, channel)
