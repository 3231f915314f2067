"""Remove what nobody needs: old versions, what killed publishes left, channels that are gone, unused blobs."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from shelfsight.access.audit import purge_refusals
from shelfsight.access.store import delete_expired
from shelfsight.catalog import images
from shelfsight.database import clock
from shelfsight.database.engine import SYSTEM
from shelfsight.errors import BundleError, BusyError, NotFoundError, StorageError
from shelfsight.leases.lease import Lease, held
from shelfsight.registry import latest, layout, store
from shelfsight.registry.rules import SWEEP, Retention, expired, publish_lease
from shelfsight.training import layout as embeddings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shelfsight.registry.publish import Registry

_LEFTOVER_AFTER_S = 3600
_SWEPT_AT_ONCE = 20
_LOOKED_UP_AT_ONCE = 100
_REMEMBERED = timedelta(days=90)
_IMAGES_WAIT = timedelta(days=1)
"""How long an image file may be without a row: it is stored before the row is written."""


@dataclass(slots=True, kw_only=True)
class Cleaned:
    """What was removed, which channels were left alone because a publish is running there, and what went wrong."""

    versions: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    images: int = 0
    objects: int = 0
    leftovers: int = 0
    forgotten: int = 0
    busy: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def clean_up(
    registry: Registry, *, channel: str | None = None, retention: Retention | None = None, actor: str = SYSTEM
) -> Cleaned:
    """Clean up one channel, or all of them and what lies between them; return what was removed.

    A channel whose files cannot be read or removed is told of as broken, and keeps no other from being cleaned up.
    Never removed: the stable version, active ones, those of a rollout, the newest, and whatever is being published.
    """
    cleaned = Cleaned()
    with registry.database.read() as tx:
        known = store.channel_ids(tx)
        if channel is not None:
            store.release_policy(tx, channel)
    for one in sorted(known) if channel is None else [channel]:
        with _told(cleaned, one), suppress(NotFoundError):  # deleted since: it goes with the others that are gone
            with held(registry.database, publish_lease(one)) as lease:
                _delete_expired(registry, one, retention or Retention(), cleaned, actor)
                _remove_orphans(registry, one, lease, cleaned)
            _remove_images(registry, one, cleaned)
            _remove_objects(registry, one, cleaned)
    if channel is None:
        _remove_gone_channels(registry, known, cleaned)
        with _told(cleaned, layout.BLOBS):
            _sweep_blobs(registry, cleaned)
        with _told(cleaned, "leftovers"):
            cleaned.leftovers = registry.storage.remove_leftovers(_LEFTOVER_AFTER_S)
        _forget(registry, cleaned)
    return cleaned


@contextmanager
def _told(cleaned: Cleaned, what: str) -> Iterator[None]:
    """Let what stands in the way of cleaning up a channel, or what lies between them, be told instead of raised."""
    try:
        yield
    except BusyError:
        cleaned.busy.append(what)
    except StorageError as exc:
        cleaned.broken.append(f"{what}: {exc}")


def _forget(registry: Registry, cleaned: Cleaned) -> None:
    """Forget refused requests, sessions and setup links that are long over."""
    with registry.database.write() as tx:
        before = clock.now(tx) - _REMEMBERED
        cleaned.forgotten = purge_refusals(tx, before) + delete_expired(tx, before)


def _delete_expired(registry: Registry, channel: str, retention: Retention, cleaned: Cleaned, actor: str) -> None:
    """Delete the rows of old versions; their folders are orphans then."""
    database, storage = registry.database, registry.storage
    try:
        latest.point(database, storage, channel)
    except BundleError as exc:
        cleaned.broken.append(str(exc))
    served = latest.read(storage, channel)
    with database.read() as tx:
        versions, releases, now = store.versions(tx, channel), store.releases_of(tx, channel), clock.now(tx)
    for old in expired(versions, releases, retention, now):
        if old.version == served:
            continue  # the pointer could not follow the database, so this is what devices load
        with database.write(actor=actor) as tx:
            if not store.delete_version(tx, channel, old.version):
                continue
        cleaned.versions.append(f"{channel} {old.version}")


def _remove_orphans(registry: Registry, channel: str, lease: Lease, cleaned: Cleaned) -> None:
    """Remove the folders of versions that the database does not know, what is staged, and claims on blobs.

    Raises:
        BusyError: a publish has taken over, because storage was too slow; it is left alone.
    """
    with registry.database.write() as tx:
        lease.check(tx)
        store.drop_claims(tx, channel)
    served = latest.read(registry.storage, channel)
    for name in registry.storage.folders(layout.channel_folder(channel)):
        lease.renew()
        with registry.database.read() as tx:
            kept = {f"v{one.version}" for one in store.versions(tx, channel)} | {f"v{served}"}
        if name not in kept:
            folder = f"{layout.channel_folder(channel)}/{name}"
            registry.storage.delete_folder(folder)
            cleaned.folders.append(folder)


def _remove_images(registry: Registry, channel: str, cleaned: Cleaned) -> None:
    """Remove the files of images that no product has, soon after it was looked up: one may be added again."""
    with registry.database.read() as tx:
        before = clock.now(tx) - _IMAGES_WAIT
    for unused in images.unreferenced_images(registry, channel, before=before):
        registry.storage.delete(unused)
        cleaned.images += len(unused)


def _remove_objects(registry: Registry, channel: str, cleaned: Cleaned) -> None:
    """Remove the bytes of uploaded objects that are no more; as for images, not at once."""
    with registry.database.read() as tx:
        before = clock.now(tx) - _IMAGES_WAIT
    listed = registry.storage.list(layout.objects_folder(channel))
    old = (file.path for file in listed if file.modified_at < before)
    while paths := list(islice(old, _LOOKED_UP_AT_ONCE)):
        hashes = {path.rpartition("/")[2]: path for path in paths}
        with registry.database.read() as tx:
            unused = store.unused_objects(tx, channel, hashes)
        if unused:
            with registry.database.write() as tx:  # an upload of the same bytes waits for it, and then puts them back
                store.lock_uploads(tx, channel)
                unused = store.unused_objects(tx, channel, unused)
                registry.storage.delete([hashes[sha256] for sha256 in sorted(unused)])
        cleaned.objects += len(unused)


def _remove_gone_channels(registry: Registry, known: Collection[str], cleaned: Cleaned) -> None:
    """Remove the folders of channels that are no more; a lease keeps one from being published to meanwhile."""
    storage = registry.storage
    roots = (layout.ROOT, layout.OBJECTS, images.ROOT, embeddings.ROOT)
    names: set[str] = set()
    for root in roots:
        with _told(cleaned, root):
            names |= set(storage.folders(root))
    for name in sorted(names - {"blobs", *known}):
        with _told(cleaned, name):
            with held(registry.database, publish_lease(name)):
                with registry.database.read() as tx:
                    if name in store.channel_ids(tx):  # made since
                        continue
                storage.delete_folder(layout.channel_folder(name))
                storage.delete_folder(embeddings.embeddings_folder(name))
            _remove_images(registry, name, cleaned)  # not the folder: the channel may be made anew, with pictures
            _remove_objects(registry, name, cleaned)
            cleaned.channels.append(name)


def _sweep_blobs(registry: Registry, cleaned: Cleaned) -> None:
    """Remove blobs that no version uses, and none is about to: see `publish` for how the two keep clear.

    The lease is held for a few blobs at a time: a publish anywhere waits for it.
    """
    with registry.database.read() as tx:
        used = store.used_blobs(tx)
    listed = (file.path for file in registry.storage.list(layout.BLOBS))
    unused = [path for path in listed if _sha256(path) not in used]
    for start in range(0, len(unused), _SWEPT_AT_ONCE):
        try:
            with held(registry.database, SWEEP) as lease:
                for path in unused[start : start + _SWEPT_AT_ONCE]:
                    if _is_still_unused(registry, _sha256(path), lease):
                        registry.storage.delete([path])
                        cleaned.blobs.append(_sha256(path))
        except BusyError:
            cleaned.busy.append(layout.BLOBS)
            return


def _sha256(path: str) -> str:
    """Return the hash in the path of a blob."""
    return path.rpartition("/")[2].removesuffix(".bin")


def _is_still_unused(registry: Registry, sha256: str, lease: Lease) -> bool:
    """Return whether a blob has no user now. It was looked up a while ago, and the lease may have run out since.

    Two transactions: a publish that does not see the lease held has its claim where the second one finds it.
    """
    lease.renew()
    with registry.database.read() as tx:
        return not store.is_blob_used(tx, sha256)
