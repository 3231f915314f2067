"""What is done with versions that are published: roll back, release, deprecate, compare, verify."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.bundle.check import verify_in_child
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.database.engine import SYSTEM
from shelfsight.registry import files, latest, layout, rules, store
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.workspace import workspace

if TYPE_CHECKING:
    from shelfsight.bundle.documents import Manifest
    from shelfsight.registry.rules import Comparison, Version


def roll_back(registry: Registry, channel: str, wanted: str | None = None, *, actor: str = SYSTEM) -> Version:
    """Make an older version stable again, end any rollout, and return the version; nothing is copied.

    Args:
        wanted: which; by default the one that was stable before, and was not itself rolled back from.

    Raises:
        NotFoundError: the channel or version is not there.
        ConflictError: it is stable already, or was never stable.
        BundleError: its files are not whole; nothing is changed.
    """
    with registry.database.read() as tx:
        store.release_policy(tx, channel)
        target = rules.roll_back_target(store.versions(tx, channel), store.releases_of(tx, channel), wanted, channel)
    return _make_stable(registry, target, actor, rolls_back=True)


def release(registry: Registry, channel: str, wanted: str, *, actor: str = SYSTEM) -> Version:
    """Make a version stable, whatever its status, and return it.

    Raises:
        NotFoundError: the channel or version is not there.
        BundleError: its files are not whole; nothing is changed.
    """
    with registry.database.read() as tx:
        store.release_policy(tx, channel)
        target = store.version(tx, channel, wanted)
    return _make_stable(registry, target, actor)


def republish(registry: Registry, channel: str, wanted: str | None = None, *, actor: str = SYSTEM) -> Version:
    """Publish an older version's files as a new, stable version, and return it.

    For clients that read only `latest/metadata.json` and go by a newer `trainedAt`.

    Raises:
        As `roll_back` and `publish` do.
    """
    with registry.database.read() as tx:
        store.release_policy(tx, channel)
        target = rules.roll_back_target(store.versions(tx, channel), store.releases_of(tx, channel), wanted, channel)
    with workspace("republish") as folder:
        files.download(registry.storage, channel, target.version, folder)
        order = Order(
            folder=folder, channel=channel, release=ReleasePolicy.IMMEDIATE, trained_at=datetime.now(UTC), actor=actor
        )
        return publish(registry, order)


def deprecate(registry: Registry, channel: str, wanted: str, *, actor: str = SYSTEM) -> Version:
    """Mark a version as not to be used any more, and return it; its files stay until they are cleaned up.

    Raises:
        NotFoundError: the version is not there.
        ConflictError: it is the stable one.
    """
    with registry.database.write(actor=actor) as tx:
        rules.check_deprecable(store.version(tx, channel, wanted))
        store.deprecate(tx, channel, wanted)
        return store.version(tx, channel, wanted)


def compare(registry: Registry, channel: str, earlier: str, later: str) -> Comparison:
    """Return what differs from one version to another.

    Raises:
        NotFoundError: a version is not there.
        BundleError: its documents are damaged.
    """
    with registry.database.read() as tx:
        one, other = (store.version(tx, channel, version) for version in (earlier, later))
    found = {version: files.read_manifest(registry.storage, channel, version) for version in (earlier, later)}
    labels = {version: files.read_metadata(registry.storage, channel, version).labels for version in found}
    return rules.compare(one, other, labels, {version: _parts(manifest) for version, manifest in found.items()})


def verify(registry: Registry, channel: str, wanted: str | None = None) -> tuple[Version, Manifest]:
    """Check every file of a published version, run its models, and return what it is; by default the stable one.

    Raises:
        NotFoundError: the channel or version is not there.
        BundleError: a file is missing or changed, or a model does not run.
    """
    with registry.database.read() as tx:
        store.release_policy(tx, channel)
        chosen = wanted or store.stable(tx, channel)
        if chosen is None:
            raise rules.no_stable_version(channel)
        version = store.version(tx, channel, chosen)
    with workspace("verify") as folder:
        manifest = files.download(registry.storage, channel, chosen, folder)
        verify_in_child(folder)
    rules.check_recorded(version, {file.sha256 for file in manifest.files})
    return version, manifest


def check_whole(registry: Registry, version: Version) -> None:
    """Return if the files of a version are all there and those that its row names, so that devices may load it.

    Raises:
        BundleError: they are not.
    """
    manifest = files.read_manifest(registry.storage, version.channel, version.version)
    files.checked(registry.storage, layout.version_folder(version.channel, version.version), manifest)
    rules.check_recorded(version, {file.sha256 for file in manifest.files})


def _make_stable(registry: Registry, target: Version, actor: str, *, rolls_back: bool = False) -> Version:
    """Make a version stable whose files are whole; a rollback must not make things worse."""
    channel = target.channel
    check_whole(registry, target)
    with registry.database.write(actor=actor) as tx:
        store.version(tx, channel, target.version)  # it may have been cleaned up meanwhile
        if rolls_back:
            store.note_rolled_back(tx, channel, but=target.version)
        store.make_stable(tx, channel, target.version)
        store.note_place(tx, channel, latest.base_url(channel))
        released = store.version(tx, channel, target.version)
    latest.point(registry.database, registry.storage, channel)
    return released


def _parts(manifest: Manifest) -> dict[str, int]:
    """Return the sizes, by hash, of what a browser downloads of a version."""
    if not manifest.blobs:
        return {file.sha256: file.size for file in manifest.files}
    documents = {"manifest.json", "metadata.json", "model.shards.json"}
    parts = {file.sha256: file.size for file in manifest.files if file.name in documents}
    return parts | {blob.sha256: blob.size for blob in manifest.blobs}
