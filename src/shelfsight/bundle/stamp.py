"""Read the documents of a bundle, and give it another channel and version.

Models are neither read nor run: the server does this in its own process, without numpy and onnxruntime.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from shelfsight.bundle.documents import (
    FORMAT_VERSION,
    VERSION_PATTERN,
    Document,
    FileEntry,
    Manifest,
    Metadata,
    PhoneDescription,
    description_name,
    parse_document,
    parse_object,
)
from shelfsight.catalog.rules import check_channel_id
from shelfsight.errors import BundleError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

_MAX_VERSION = 64  # letters: the version is in a file's name
_D = TypeVar("_D", bound=Document)


def read_manifest(folder: Path) -> Manifest:
    """Return `manifest.json` of a bundle.

    Raises:
        BundleError: there is none, or it is not one that this version reads.
    """
    return _read(folder, "manifest.json", Manifest)


def read_metadata(folder: Path) -> Metadata:
    """Return `metadata.json` of a bundle.

    Raises:
        BundleError: there is none, or it is not one that this version reads.
    """
    return _read(folder, "metadata.json", Metadata)


def restamp(folder: Path, *, channel: str, version: str, trained_at: datetime | None = None) -> Manifest:
    """Give a bundle another channel and version, and return its manifest; nothing is written when it has them.

    Args:
        trained_at: UTC; given when clients that go by a newer `trainedAt` shall load an older model again.

    Raises:
        BundleError: its documents cannot be read.
        UsageError: `channel` or `version` is none.
        OutputError: the folder cannot be written.
    """
    check_stamp(channel, version)
    manifest, metadata = read_manifest(folder), read_metadata(folder)
    if trained_at is None and (manifest.channel_id, manifest.version) == (channel, version):
        return manifest
    stamp = {"channel_id": channel, "version": version}
    named = {"model_name": channel} if metadata.model_name == manifest.channel_id else {}
    moments = {} if trained_at is None else {"trained_at": trained_at, "time_stamp": trained_at}
    changed = {"metadata.json": metadata.model_copy(update=stamp | named | moments).to_json()}
    old = description_name(manifest.channel_id, manifest.version)
    if old in {file.name for file in manifest.files}:
        described = _read_description(folder, old)
        changed[description_name(channel, version)] = _restamped(described, manifest, channel, version, trained_at)
    kept = [file for file in manifest.files if file.name not in {old, *changed}]
    entries = [*kept, *(FileEntry.of(name, data) for name, data in changed.items())]
    created = {} if trained_at is None else {"created_at": trained_at}
    files = {"files": tuple(sorted(entries, key=lambda entry: entry.name))}
    manifest = manifest.model_copy(update=stamp | created | files)
    write_files(folder, {**changed, "manifest.json": manifest.to_json()}, gone={old} - set(changed))
    return manifest


def check_stamp(channel: str, version: str) -> None:
    """Check that a channel's id and a version may be the names of files.

    Raises:
        UsageError: one of them may not.
    """
    check_channel_id(channel)
    if not re.fullmatch(VERSION_PATTERN, version) or len(version) > _MAX_VERSION:
        raise UsageError(f"{version!r} is no version: use one such as 1.4.2")


def write_files(folder: Path, files: Mapping[str, bytes], gone: Collection[str]) -> None:
    """Write files into a bundle, and remove those that are gone.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written ({exc.strerror}): make room or name another folder") from exc


def _read(folder: Path, name: str, kind: type[_D]) -> _D:
    path = folder / name
    try:
        found = parse_object(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder} is not a bundle: it has no {name}") from None
    except OSError as exc:
        raise BundleError(f"{path} cannot be read ({exc.strerror}): see who may read it, or train again") from exc
    version = found.get("formatVersion")
    if str(version).split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise BundleError(f"{path} has format {version}, this version reads {FORMAT_VERSION}: upgrade")
    return parse_document(found, str(path), kind)


def _restamped(
    described: PhoneDescription, old: Manifest, channel: str, version: str, trained_at: datetime | None
) -> bytes:
    moments = {} if trained_at is None else {"last_updated": trained_at}
    text = described.description.replace(f"channel {old.channel_id}", f"channel {channel}")
    return described.model_copy(update={"version": f"v{version}", "description": text, **moments}).to_json()


def _read_description(folder: Path, name: str) -> PhoneDescription:
    try:
        return parse_document((folder / name).read_bytes(), name, PhoneDescription)
    except OSError as exc:
        raise BundleError(f"{name} cannot be read ({exc.strerror}): restore the bundle") from exc
