"""Write a recogniser as a bundle: every file of the format, verified before the bundle takes its place."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfsight import __version__
from shelfsight.bundle.documents import (
    PRIVATE_FILES,
    BackboneEntry,
    BlobEntry,
    FileEntry,
    Manifest,
    Metadata,
    PhoneDescription,
)
from shelfsight.bundle.folder import staged_folder
from shelfsight.bundle.onnx_int8 import Int8
from shelfsight.bundle.onnx_model import Fp32, write_recogniser
from shelfsight.bundle.ort_format import to_ort
from shelfsight.bundle.tfjs import LayersModel, layers_model
from shelfsight.bundle.verify import read_manifest, verify_bundle
from shelfsight.errors import BundleError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.bundle.head import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """What is said about a recogniser in the bundle's documents.

    Attributes:
        trained_at: when the training ended, UTC.
        training_duration_s: seconds from start to the fitted head.
        accuracy: held-out share of right answers, None where nothing could be held out.
        settings: how it was trained: head, seed, views and so on.
    """

    channel: str
    version: str
    trained_at: datetime
    training_duration_s: float
    image_count: int
    accuracy: float | None
    threshold: float
    settings: Mapping[str, Any]


def write_bundle(
    place: Path, backbone: Backbone, head: Head, facts: BundleFacts, private: Mapping[str, bytes]
) -> Manifest:
    """Write and verify a bundle, then put it at `place`, replacing an older one there; return its manifest.

    `private` files (the quality report) lie beside the others and are not named by the manifest: never served.

    Raises:
        OutputError: the folder cannot be written, or holds something else than a bundle.
        BundleError: what was written does not verify; `place` is as it was.
    """
    check_place(place)
    with staged_folder(place) as stage:
        model = layers_model(backbone, head)
        blobs = {group.part: bytes(group.data) for group in model.groups}
        files = _layers_files(model, blobs) | _onnx_files(backbone, head)
        files["metadata.json"] = _metadata(backbone, head, facts).to_json()
        files[f"{facts.channel}_v{facts.version}.json"] = _phone(backbone, facts, files["model.ort"]).to_json()
        manifest = _manifest(backbone, facts, files, blobs)
        (stage / "blobs").mkdir()
        for name, data in (files | dict(private)).items():
            (stage / name).write_bytes(data)
        for entry, data in zip(manifest.blobs, blobs.values(), strict=True):
            (stage / "blobs" / f"{entry.sha256}.bin").write_bytes(data)
        (stage / "manifest.json").write_bytes(manifest.to_json())
        verify_bundle(stage)
    return manifest


def check_place(place: Path) -> None:
    """Check that a bundle may be written to `place`: it does not exist, is empty, or holds a bundle and nothing else.

    Whatever lies there is replaced: a folder of photos or another tool's model must not be taken for an old bundle.

    Raises:
        OutputError: there is something else.
    """
    try:
        found = {path.relative_to(place).as_posix() for path in place.rglob("*")} if place.exists() else set()
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is no folder: name another one")
    except OSError as exc:
        raise OutputError(f"{place} cannot be used as a folder ({exc.strerror}): name another one") from exc
    ours: set[str] = set()
    if "manifest.json" in found:
        with suppress(BundleError):
            manifest = read_manifest(place)
            ours = {file.name for file in manifest.files} | {f"blobs/{blob.sha256}.bin" for blob in manifest.blobs}
            ours |= {"manifest.json", "blobs"} | PRIVATE_FILES
    foreign = sorted(found - ours)
    if foreign:
        raise OutputError(
            f"{place} holds {foreign[0]!r}, which is no part of a bundle and would be lost: name another folder"
        )


def _layers_files(model: LayersModel, blobs: Mapping[str, bytes]) -> dict[str, bytes]:
    shards = [f"../../blobs/{_sha256(data)}.bin" for data in blobs.values()]
    return {
        "model.json": _json(model.document(["weights.bin"])),
        "weights.bin": b"".join(blobs.values()),
        "model.shards.json": _json(model.document(shards)),
    }


def _onnx_files(backbone: Backbone, head: Head) -> dict[str, bytes]:
    int8 = write_recogniser(backbone, head, Int8(backbone))
    return {
        "model.onnx": write_recogniser(backbone, head, Fp32(backbone)),
        "model.int8.onnx": int8,
        "model.ort": to_ort(int8),
    }


def _metadata(backbone: Backbone, head: Head, facts: BundleFacts) -> Metadata:
    return Metadata(
        version=facts.version,
        trained_at=facts.trained_at,
        channel_id=facts.channel,
        product_count=len(head.labels),
        image_count=facts.image_count,
        training_duration=round(facts.training_duration_s, 3),
        labels=head.labels,
        image_size=backbone.network.input_size,
        model_type=backbone.model_type,
        accuracy=facts.accuracy,
        backbone=backbone.name,
        threshold=facts.threshold,
        model_name=facts.channel,
        time_stamp=facts.trained_at,
    )


def _phone(backbone: Backbone, facts: BundleFacts, model: bytes) -> PhoneDescription:
    size = backbone.network.input_size
    return PhoneDescription(
        version=f"v{facts.version}",
        architecture=backbone.name,
        input_shape=(1, size, size, 3),
        checksum_sha256=_sha256(model),
        description=f"Product recogniser of channel {facts.channel}",
        last_updated=facts.trained_at,
    )


def _manifest(
    backbone: Backbone, facts: BundleFacts, files: Mapping[str, bytes], blobs: Mapping[str, bytes]
) -> Manifest:
    return Manifest(
        version=facts.version,
        channel_id=facts.channel,
        created_at=facts.trained_at,
        code_version=__version__,
        backbone=BackboneEntry(name=backbone.name, sha256=backbone.digest),
        settings=dict(facts.settings),
        files=tuple(
            FileEntry(
                name=name,
                size=len(data),
                media_type="application/json" if name.endswith(".json") else "application/octet-stream",
                sha256=_sha256(data),
            )
            for name, data in sorted(files.items())
        ),
        blobs=tuple(
            BlobEntry.model_validate({"part": part, "size": len(data), "sha256": _sha256(data)})
            for part, data in blobs.items()
        ),
    )


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
