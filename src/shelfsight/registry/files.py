"""The files of a version in storage: are they all there, and are they the ones that the manifest names?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from shelfsight.bundle.documents import PRIVATE_FILES, Document, Manifest, Metadata
from shelfsight.errors import BundleError, NotFoundError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.storage import Storage


_D = TypeVar("_D", bound=Document)


def public_names(manifest: Manifest) -> list[str]:
    """Return the names of all files of a version that are served: those that the manifest names, and itself."""
    return [*(file.name for file in manifest.files), "manifest.json"]


def read_manifest(storage: Storage, channel: str, version: str) -> Manifest:
    """Return the manifest of a version in storage.

    Raises:
        BundleError: it is missing or damaged, or is another version's.
    """
    manifest = _read(storage, layout.version_folder(channel, version), "manifest.json", Manifest)
    if (manifest.channel_id, manifest.version) != (channel, version):
        raise BundleError(
            f"the manifest of {channel} {version} is of {manifest.channel_id} {manifest.version}: restore its folder"
        )
    return manifest


def read_metadata(storage: Storage, channel: str, version: str) -> Metadata:
    """Return the metadata of a version in storage.

    Raises:
        BundleError: they are missing or damaged.
    """
    return _read(storage, layout.version_folder(channel, version), "metadata.json", Metadata)


def checked(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Check that every file of a version is in a folder of storage, byte for byte.

    Raises:
        BundleError: one is missing, empty or changed.
    """
    if _read(storage, folder, "manifest.json", Manifest) != manifest:
        raise BundleError(f"{folder}/manifest.json is another one's: publish again")
    for file in manifest.files:
        if not _is_whole(storage, f"{folder}/{file.name}", file.sha256):
            raise BundleError(f"{folder}/{file.name} is not the file that the manifest names: publish again")
    for blob in manifest.blobs:
        if not _is_whole(storage, layout.blob(blob.sha256), blob.sha256):
            raise BundleError(f"{layout.blob(blob.sha256)} is not what its name says: publish the version again")


def download(storage: Storage, channel: str, version: str, folder: Path) -> Manifest:
    """Write a version's files to a local folder, as the bundle that was published, and return its manifest.

    Raises:
        BundleError: a file is missing or changed.
    """
    manifest = read_manifest(storage, channel, version)
    source = layout.version_folder(channel, version)
    checked(storage, source, manifest)
    private = [name for name in sorted(PRIVATE_FILES) if storage.exists(f"{source}/{name}")]
    for name in (*public_names(manifest), *private):
        (folder / name).write_bytes(storage.get(f"{source}/{name}"))
    if manifest.blobs:
        (folder / "blobs").mkdir()
    for blob in manifest.blobs:
        (folder / "blobs" / f"{blob.sha256}.bin").write_bytes(storage.get(layout.blob(blob.sha256)))
    return manifest


def _read(storage: Storage, folder: str, name: str, kind: type[_D]) -> _D:
    path = f"{folder}/{name}"
    try:
        return kind.model_validate_json(storage.get(path))
    except NotFoundError as exc:
        raise BundleError(f"{path} is missing: restore the folder, or publish again") from exc
    except ValidationError as exc:
        raise BundleError(
            f"{path} is damaged ({exc.errors()[0]['msg']}): restore the folder, or publish again"
        ) from exc


def _is_whole(storage: Storage, path: str, sha256: str) -> bool:
    try:
        return hashlib.sha256(storage.get(path)).hexdigest() == sha256
    except NotFoundError:
        return False
