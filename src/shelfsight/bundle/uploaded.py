"""Take in a bundle made elsewhere: check it, complete its documents, give it a channel and a version.

An upload is a folder of one of three kinds: a bundle of ours, Teachable Machine's export (`model.json`, its weights
and `metadata.json`), or an ORT file with a phone's description. Whatever else lies in it is refused, and nothing in
it is executed: the models are data that onnxruntime computes. A hostile one may still crash it, so a server calls
`check.check_in_child` instead of `check_upload`.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shelfsight import __version__
from shelfsight.bundle.documents import (
    FILE_NAME_PATTERN,
    PRIVATE_FILES,
    FileEntry,
    Manifest,
    Metadata,
    PhoneDescription,
    description_name,
    parse_document,
    parse_object,
)
from shelfsight.bundle.foreign import check_description, check_labels, run_layers, run_ort, shard_names
from shelfsight.bundle.stamp import check_stamp, read_metadata, restamp, write_files
from shelfsight.bundle.verify import REQUIRED, verify_bundle
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shelfsight.bundle.documents import Kind

MAX_BYTES = 300_000_000
"""Most bytes in an upload: of 60 million weights as float32, and some."""

MAX_DOCUMENT = 8_000_000
"""Most bytes of a JSON file: a large model's topology has 300,000."""

PRIVATE = frozenset({"report.json"})
"""Files that may lie beside a model and are no part of it: never named by the manifest, never served."""

_MAX_FILES = 1_000
_LAYERS_FILES = ("model.json", "weights.bin")
_NAME = re.compile(FILE_NAME_PATTERN)
_DESCRIPTION = re.compile(r".+_v.+\.json")
_KEPT = (
    "tfjsVersion", "tmVersion", "packageName", "packageVersion", "modelName", "userMetadata",
    "threshold", "imageCount", "modelType",
)  # fmt: skip


def check_upload(folder: Path, *, channel: str, version: str) -> Manifest:
    """Check an upload, complete it in place as the channel's version, and return its manifest.

    A bundle of ours that is of this channel and version already is left as it is, byte for byte.

    Raises:
        BundleError: it is none of the three kinds, damaged, inconsistent, unsafe, or holds anything else.
        UsageError: `channel` or `version` is none.
        OutputError: the folder cannot be written.
    """
    check_stamp(channel, version)
    names = _names(folder)
    if "manifest.json" in names:
        _check_published(folder, names)
        return restamp(folder, channel=channel, version=version)
    if "model.json" in names:
        files = _teachable_machine(folder, names)
        return _complete(folder, files, _Stamp("teachable-machine", channel, version))
    if any(name.endswith(".ort") for name in names):
        files = _ort(folder, names)
        return _complete(folder, files, _Stamp("ort", channel, version))
    raise BundleError(
        "the upload holds no model: upload a bundle, Teachable Machine's model.json, weights.bin and metadata.json, "
        "or an .ort file with its description"
    )


def _names(folder: Path) -> dict[str, int]:
    """Return the size of every file by its name, `blobs/{name}` for those of ours in parts.

    Raises:
        BundleError: there is something that is neither, such as a link, or there is too much.
    """
    names: dict[str, int] = {}
    try:
        for path in [*folder.iterdir(), *(folder / "blobs").glob("*")]:
            status = path.lstat()
            name = path.relative_to(folder).as_posix()
            if stat.S_ISDIR(status.st_mode) and name == "blobs":
                continue
            if not stat.S_ISREG(status.st_mode) or not _NAME.fullmatch(path.name):
                raise BundleError(f"the upload holds {name!r}, which is no plain file with a plain name: remove it")
            names[name] = status.st_size
            if len(names) > _MAX_FILES:
                raise BundleError(f"the upload holds more than {_MAX_FILES} files: upload the model's files alone")
    except OSError as exc:
        raise BundleError(f"the upload cannot be read ({exc.strerror}): upload it again") from exc
    if sum(names.values()) > MAX_BYTES:
        raise BundleError(f"the upload has more than {MAX_BYTES:,} bytes: upload a smaller model")
    for name, size in names.items():
        if name.endswith(".json") and size > MAX_DOCUMENT and name not in PRIVATE_FILES:
            raise BundleError(f"{name} has more than {MAX_DOCUMENT:,} bytes: that is no document of a model")
    return names


def _refuse_others(names: Mapping[str, int], wanted: set[str], private: frozenset[str] = PRIVATE) -> None:
    missing, others = wanted - set(names), set(names) - wanted - private
    if missing:
        raise BundleError(f"the upload has no {min(missing)}: upload all of the model's files")
    if others:
        raise BundleError(f"the upload holds {min(others)!r}, which is no part of a model: remove it")


def _check_published(folder: Path, names: Mapping[str, int]) -> None:
    """Check a bundle that has its manifest: of ours, the TensorFlow.js model is run as well."""
    manifest = verify_bundle(folder)
    _check_named(manifest, names)
    if manifest.kind == "shelfsight":
        metadata = read_metadata(folder)
        labels = check_labels(list(metadata.labels), "metadata.json")
        run_layers({name: (folder / name).read_bytes() for name in _LAYERS_FILES}, labels, metadata.image_size)


def _check_named(manifest: Manifest, names: Mapping[str, int]) -> None:
    """Check that a manifest names what a bundle of its kind has, by the types it is served with, and nothing else."""
    described = description_name(manifest.channel_id, manifest.version)
    named = {file.name for file in manifest.files}
    blobs = {f"blobs/{blob.sha256}.bin" for blob in manifest.blobs}
    match manifest.kind:
        case "shelfsight":
            allowed = {*REQUIRED, described}
        case "teachable-machine":
            allowed = {"model.json", "metadata.json"} | {name for name in named if name.endswith(".bin")}
        case "ort":
            allowed = {"model.ort", "metadata.json", described}
    if len(named) < len(manifest.files):
        raise BundleError("manifest.json names a file twice: restore the bundle")
    if named != allowed:
        problem = "does not name" if allowed - named else "names"
        raise BundleError(f"manifest.json {problem} {min(named ^ allowed)!r:.80}: restore the bundle")
    for file in manifest.files:
        if file.media_type != FileEntry.of(file.name, b"").media_type:
            raise BundleError(f"manifest.json calls {file.name} {file.media_type!r}: restore the bundle")
    private = PRIVATE_FILES if manifest.kind == "shelfsight" else PRIVATE
    _refuse_others(names, named | blobs | {"manifest.json"}, private)


@dataclass(frozen=True, slots=True)
class _Stamp:
    kind: Kind
    channel: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model made elsewhere that was checked: its files, and what is said about it."""

    files: Mapping[str, bytes]
    metadata: Mapping[str, Any]
    labels: tuple[str, ...]
    image_size: int
    trained_at: datetime
    description: PhoneDescription | None = None
    gone: frozenset[str] = frozenset()


def _teachable_machine(folder: Path, names: Mapping[str, int]) -> _Model:
    document = (folder / "model.json").read_bytes()
    shards = shard_names(parse_object(document, "model.json"))
    _refuse_others(names, {"model.json", "metadata.json", *shards})
    metadata = parse_object((folder / "metadata.json").read_bytes(), "metadata.json")
    labels = check_labels(metadata.get("labels"), "metadata.json")
    files = {"model.json": document, **{name: (folder / name).read_bytes() for name in shards}}
    return _Model(
        files=files,
        metadata={"modelType": "layers-model", **metadata},
        labels=labels,
        image_size=run_layers(files, labels, metadata.get("imageSize")),
        trained_at=_moment(metadata.get("timeStamp"), "timeStamp of metadata.json"),
    )


def _ort(folder: Path, names: Mapping[str, int]) -> _Model:
    """Return a checked model of an ORT file; its labels are in the description or in a metadata.json beside it."""
    models = sorted(name for name in names if name.endswith(".ort"))
    described = sorted(name for name in names if _DESCRIPTION.fullmatch(name))
    if len(models) != 1 or len(described) != 1:
        raise BundleError("the upload must hold one .ort file and one description such as shop_v1.0.0.json")
    _refuse_others(names, {*models, *described} | ({"metadata.json"} & set(names)))
    document = parse_object((folder / described[0]).read_bytes(), described[0])
    metadata: dict[str, Any] = {}
    if "metadata.json" in names:
        metadata = parse_object((folder / "metadata.json").read_bytes(), "metadata.json")
    told = [said["labels"] for said in (metadata, document) if "labels" in said]
    if not told or told[0] != told[-1]:
        raise BundleError(f"{described[0]} and metadata.json name no labels, or different ones: add `labels` to one")
    labels = check_labels(told[0], described[0])
    model = (folder / models[0]).read_bytes()
    description = parse_document(document, described[0], PhoneDescription)
    size = run_ort(model, labels, check_description(description, model), metadata.get("imageSize"))
    moment = metadata.get("timeStamp", document.get("lastUpdated"))
    return _Model(
        files={"model.ort": model},
        metadata={"modelType": description.architecture, **metadata},
        labels=labels,
        image_size=size,
        trained_at=_moment(moment, f"lastUpdated of {described[0]}"),
        description=description,
        gone=frozenset({*models, *described}),
    )


def _complete(folder: Path, model: _Model, stamp: _Stamp) -> Manifest:
    """Write the documents that a published version needs, and return its manifest."""
    metadata = _metadata(model, stamp)
    written = {"metadata.json": metadata.to_json()}
    if model.description is not None:
        written["model.ort"] = model.files["model.ort"]
        name = description_name(stamp.channel, stamp.version)
        written[name] = model.description.model_copy(
            update={"version": f"v{stamp.version}", "last_updated": metadata.trained_at}
        ).to_json()
    files = {**model.files, **written}
    manifest = Manifest(
        kind=stamp.kind,
        version=stamp.version,
        channel_id=stamp.channel,
        created_at=metadata.trained_at,
        code_version=__version__,
        settings={},
        files=tuple(FileEntry.of(name, files[name]) for name in sorted(files)),
    )
    written["manifest.json"] = manifest.to_json()
    write_files(folder, written, gone=model.gone - set(files))
    return manifest


def _metadata(model: _Model, stamp: _Stamp) -> Metadata:
    """Return `metadata.json` with what its maker said and our clients or Teachable Machine's read, and the rest."""
    kept = {name: model.metadata[name] for name in _KEPT if model.metadata.get(name) is not None}
    known = {
        "version": stamp.version,
        "channelId": stamp.channel,
        "trainedAt": model.trained_at,
        "timeStamp": model.trained_at,
        "labels": model.labels,
        "productCount": len(model.labels),
        "imageSize": model.image_size,
        "trainingDuration": 0,
    }
    defaults = {"imageCount": 0, "threshold": 0.0, "modelName": stamp.channel}
    return parse_document({**defaults, **kept, **known}, "metadata.json", Metadata)


def _moment(value: object, where: str) -> datetime:
    """Return a moment that a maker wrote, UTC, or now: also instead of one in the future.

    Clients go by a newer `trainedAt`: one of the year 2099 would hide every later model from them.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    if value is None:
        return now
    try:
        found = datetime.fromisoformat(str(value))
        utc = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BundleError(f"{where} is no moment ({value!r:.60}): write it as 2026-11-20T12:00:00Z") from exc
    return min(utc, now)
