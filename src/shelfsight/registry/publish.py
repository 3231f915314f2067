"""Publish a bundle as a version of a channel: check, stage, verify, move, record, switch `latest`.

Killed at any instant, `latest` serves a whole version: the files of a version are complete and verified before the
database names it, and the database names it before the pointer does. What a killed publish leaves is a folder, claims
and a lease; a retry works beside them, and `cleanup` removes them.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.access import audit
from shelfsight.bundle.check import check_in_child
from shelfsight.bundle.documents import PRIVATE_FILES
from shelfsight.bundle.stamp import read_metadata, restamp
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.database import migrate
from shelfsight.database.engine import SYSTEM, open_database
from shelfsight.errors import BundleError, BusyError, ConflictError, ShelfsightError, StorageError
from shelfsight.leases.lease import Lease, held, is_held
from shelfsight.registry import latest, layout, store
from shelfsight.registry.files import checked, public_names
from shelfsight.registry.rules import ROLLOUT_STARTED, SWEEP, Status, Version, check_new, next_version, publish_lease
from shelfsight.storage import open_storage
from shelfsight.workspace import workspace

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.bundle.documents import Manifest, Metadata
    from shelfsight.database.engine import Database
    from shelfsight.registry.rules import Share
    from shelfsight.settings import ServiceSettings
    from shelfsight.storage import Storage


_SWEEP_WITHIN_S = 30
_LOOK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to publish, and how.

    Attributes:
        folder: the bundle: ours, Teachable Machine's files, or an ORT file with its description; it stays as it is.
        version: semver, or None for the next patch.
        release: instead of the channel's `releasePolicy`.
        share: of the devices, who have it first where the policy is `staged`. Without a stable version it becomes
            stable; while another is being rolled out it stays in testing, and so it does with None.
        trained_at: instead of the bundle's own, for clients that go by a newer one.
        training: the training that made it, whose result it becomes; None for a bundle made elsewhere.
        actor: who asks, for the audit.
    """

    folder: Path
    channel: str
    version: str | None = None
    release: ReleasePolicy | None = None
    share: Share | None = None
    trained_at: datetime | None = None
    training: int | None = None
    actor: str = SYSTEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where versions are recorded and where their files lie."""

    database: Database
    storage: Storage


def open_registry(settings: ServiceSettings) -> Registry:
    """Return the registry that the settings name, ready for use; makes the tables in an empty database.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    storage, database = open_storage(settings.storage_url), open_database(settings.database_url)
    try:
        migrate.prepare(database)
    except ShelfsightError:
        database.close()
        raise
    return Registry(database=database, storage=storage)


def publish(registry: Registry, order: Order) -> Version:
    """Publish a bundle and return its version.

    Raises:
        NotFoundError: there is no such channel.
        BundleError: the bundle is damaged, inconsistent, or not one.
        ConflictError: the version exists.
        BusyError: another publish of the channel is running, or has taken over.
        StorageError, DatabaseError: nothing was published, unless the message names the version; what was there is
            still served.
    """
    with registry.database.read() as tx:
        store.release_policy(tx, order.channel)
        if order.version is not None:
            check_new(order.version, _recorded(store.versions(tx, order.channel)), order.channel)
    with workspace("publish") as work:
        folder = _copy(order.folder, work / "bundle")
        check_in_child(folder, channel=order.channel, version=order.version or "1.0.0")
        with held(registry.database, publish_lease(order.channel)) as lease:
            version = _number(registry, order)
            manifest = restamp(folder, channel=order.channel, version=version, trained_at=order.trained_at)
            _Publish(registry, order, version, lease).run(folder, manifest)
    latest.point(registry.database, registry.storage, order.channel)
    with registry.database.read() as tx:
        return store.version(tx, order.channel, version)


class _Publish:
    """One publish, by the holder of the channel's lease."""

    def __init__(self, registry: Registry, order: Order, version: str, lease: Lease) -> None:
        self._database, self._storage = registry.database, registry.storage
        self._order, self._version, self._lease = order, version, lease
        self._stage = layout.staging_folder(order.channel, version)
        self._target = layout.version_folder(order.channel, version)

    def run(self, folder: Path, manifest: Manifest) -> None:
        """Go all the way, or leave no trace but what `cleanup` finds."""
        metadata = read_metadata(folder)
        moved = False
        try:
            self._claim(manifest)
            self._upload_blobs(folder, manifest)
            self._upload_files(folder, manifest)
            self._lease.renew()
            self._storage.delete_folder(self._target)  # of a publish of this version that was killed
            self._storage.move_folder(self._stage, self._target)
            moved = True
            checked(self._storage, self._target, manifest)
            self._record(_new_version(self._order, manifest, metadata))
        except ShelfsightError:
            self._undo(self._target if moved else self._stage)
            raise

    def _claim(self, manifest: Manifest) -> None:
        """Claim the blobs in the database, so that no clean-up removes them; one that is running now ends first.

        The claim is written before the lease of the sweep is looked at, and a sweep takes its lease before it reads
        the claims: one of the two sees the other.
        """
        with self._database.write() as tx:
            self._lease.check(tx)
            hashes = {blob.sha256 for blob in manifest.blobs}
            store.claim_blobs(tx, self._order.channel, self._version, hashes)
        give_up_at = time.monotonic() + _SWEEP_WITHIN_S
        while is_held(self._database, SWEEP):
            if time.monotonic() > give_up_at:
                raise ConflictError("shared files are being cleaned up: publish again in a minute")
            time.sleep(_LOOK_AGAIN_S)
            self._lease.renew()

    def _upload_blobs(self, folder: Path, manifest: Manifest) -> None:
        for blob in manifest.blobs:
            self._lease.renew()
            path = layout.blob(blob.sha256)
            if not self._storage.exists(path) or self._storage.head(path).size_bytes != blob.size:
                self._storage.put_file(path, folder / "blobs" / f"{blob.sha256}.bin")
            if hashlib.sha256(self._storage.get(path)).hexdigest() != blob.sha256:
                self._storage.put_file(path, folder / "blobs" / f"{blob.sha256}.bin")  # what was there had decayed

    def _upload_files(self, folder: Path, manifest: Manifest) -> None:
        self._storage.delete_folder(self._stage)
        for name in (*public_names(manifest), *sorted(PRIVATE_FILES)):
            if (folder / name).is_file():
                self._lease.renew()
                self._storage.put_file(f"{self._stage}/{name}", folder / name)
        checked(self._storage, self._stage, manifest)

    def _record(self, version: Version) -> None:
        """Enter the version in the database: from here on it is published, whatever happens."""
        channel = self._order.channel
        with self._database.write(actor=self._order.actor) as tx:
            self._lease.check(tx)
            store.insert_version(tx, version)
            self._note_result(tx, version)
            store.note_training(tx, channel, version.trained_at)
            self._release(tx, version.version)

    def _release(self, tx: Connection, version: str) -> None:
        """Let devices have the version, as the order or else the channel's policy says: all, some, or none yet."""
        channel, share = self._order.channel, self._order.share
        policy = self._order.release or store.release_policy(tx, channel)
        if policy is ReleasePolicy.IMMEDIATE or (share is not None and store.stable(tx, channel) is None):
            store.make_stable(tx, channel, version)
            store.note_place(tx, channel, latest.base_url(channel))
        elif share is not None and store.rolled_out(tx, channel) is None:
            store.give_share(tx, channel, version, share)
            details = {"rolloutPercentage": share.rollout_percentage, "shadowPercentage": share.shadow_percentage}
            audit.record(
                tx,
                actor=self._order.actor,
                action=ROLLOUT_STARTED,
                channel=channel,
                subject=f"v{version}",
                details=details,
            )

    def _note_result(self, tx: Connection, version: Version) -> None:
        training, actor = self._order.training, self._order.actor
        if not store.note_result(tx, version, training=training, requested_by=actor):
            raise BusyError(f"training {training} was cancelled, or another worker has published for it")

    def _undo(self, folder: str) -> None:
        """Remove what was uploaded, unless another took over, whose it might be by now, or the version counts."""
        with suppress(ShelfsightError):
            self._lease.renew()
            with self._database.read() as tx:
                recorded = _recorded(store.versions(tx, self._order.channel))
            if self._version not in recorded:
                self._storage.delete_folder(folder)
                with self._database.write() as tx:
                    store.drop_claims(tx, self._order.channel)


def _copy(folder: Path, target: Path) -> Path:
    """Copy a bundle to a place where its documents may be completed."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder: name the folder of a bundle")
    try:
        return Path(shutil.copytree(folder, target, symlinks=True))
    except (OSError, shutil.Error) as exc:
        raise StorageError(f"{folder} cannot be copied to check it ({exc}): make room in {target.parent}") from exc


def _number(registry: Registry, order: Order) -> str:
    """Return the version's number: the one that is asked for, if it is free, or the next."""
    if order.version is None:
        return next_number(registry, order.channel)
    with registry.database.read() as tx:
        return check_new(order.version, _recorded(store.versions(tx, order.channel)), order.channel)


def next_number(registry: Registry, channel: str) -> str:
    """Return the number that a publish would take now; one that was killed keeps its own, for it may have readers.

    A report that is written before the publish may be told; it holds unless another publish comes first.
    """
    with registry.database.read() as tx:
        recorded = _recorded(store.versions(tx, channel))
    folders = [
        *registry.storage.folders(layout.channel_folder(channel)),
        *registry.storage.folders(layout.temp_folder(channel)),
    ]
    return next_version({*recorded, *(name.removeprefix("v") for name in folders if name.startswith("v"))})


def _recorded(versions: list[Version]) -> set[str]:
    return {one.version for one in versions}


def _new_version(order: Order, manifest: Manifest, metadata: Metadata) -> Version:
    """Return what the table says of a version that is not released yet."""
    files = {file.name: file for file in manifest.files}
    ort = next((file for name, file in files.items() if name.endswith(".ort")), None)
    main = ort or files["model.json"]
    folder = layout.version_folder(order.channel, manifest.version)
    return Version(
        channel=order.channel,
        version=manifest.version,
        status=Status.TESTING,
        is_stable=False,
        rollout_percentage=0,
        shadow_mode=False,
        shadow_percentage=0,
        rollback_threshold=0,
        min_app_version=None,
        created_at=metadata.trained_at,
        updated_at=metadata.trained_at,
        deprecated_at=None,
        trained_at=metadata.trained_at,
        product_count=metadata.product_count,
        image_count=metadata.image_count,
        training_duration=metadata.training_duration,
        accuracy=metadata.accuracy,
        file_path=layout.phone_file(order.channel, manifest.version) if ort else f"{folder}/{main.name}",
        file_size_bytes=main.size,
        checksum_sha256=main.sha256,
        architecture=manifest.backbone.name if manifest.backbone else metadata.model_type,
        quantization="INT8" if manifest.kind == "shelfsight" else "unknown",
    )
