"""Check a bundle: every file there and unchanged, every model runs, and all of them are of one training."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from shelfsight.bundle.coding import Coded
from shelfsight.bundle.foreign import check_foreign
from shelfsight.bundle.model_safety import check_ort, parse_onnx
from shelfsight.bundle.recogniser import Recogniser, Runtime, first_line, open_session
from shelfsight.bundle.stamp import read_manifest, read_metadata
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.documents import BlobEntry, FileEntry, Manifest, Metadata

__all__ = ["REQUIRED", "load_bundle", "read_manifest", "read_metadata", "verify_bundle"]

REQUIRED = frozenset(
    {
        "model.json",
        "weights.bin",
        "metadata.json",
        "model.onnx",
        "model.int8.onnx",
        "model.ort",
        "model.shards.json",
    }
)
_SUM_TOLERANCE = 0.05  # of probabilities, which a rounded softmax makes
# What a document of ours raises when somebody has changed it.
_DAMAGED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
_BYTES = {"float32": 4, "int32": 4, "uint16": 2, "uint8": 1, "bool": 1}


def load_bundle(folder: Path, runtime: Runtime = Runtime.ONNX) -> Recogniser:
    """Return the bundle's recogniser; only the files that it needs are read.

    Raises:
        BundleError: the folder holds no bundle of ours, or the model's file is not the one the manifest names.
    """
    manifest = read_manifest(folder)
    metadata = read_metadata(folder)
    if manifest.kind != "shelfsight":
        raise BundleError(
            f"{folder} was made elsewhere ({manifest.kind}) and only runs on devices: train one to use here"
        )
    files = {file.name: file for file in manifest.files}
    if runtime.file not in files:
        raise BundleError(f"{folder} has no {runtime.file}: choose another runtime")
    # The labels too: with those of another bundle, every answer would be the wrong product.
    model, _ = (_checked(folder, name, files) for name in (runtime.file, "metadata.json"))
    return _recogniser(folder / runtime.file, model, metadata)


def verify_bundle(folder: Path) -> Manifest:
    """Return the bundle's manifest after checking every file.

    Raises:
        BundleError: a file is missing, empty or changed, a model does not load or has another number of outputs
            than there are labels, or the models disagree.
    """
    manifest, metadata = read_manifest(folder), read_metadata(folder)
    ours = manifest.kind == "shelfsight"
    missing = REQUIRED - {file.name for file in manifest.files}
    if ours and missing:
        raise BundleError(f"{folder}: the manifest does not name {', '.join(sorted(missing))}")
    if (manifest.version, manifest.channel_id) != (metadata.version, metadata.channel_id):
        raise BundleError(f"{folder}: manifest.json and metadata.json are of two versions: restore the bundle")
    files = {file.name: file for file in manifest.files}
    data = {name: _checked(folder, name, files) for name in files}
    if ours:
        _check_ours(folder, data, manifest, metadata)
    else:
        check_foreign(manifest, metadata, data)
    return manifest


def _check_ours(folder: Path, data: Mapping[str, bytes], manifest: Manifest, metadata: Metadata) -> None:
    """Check that the models of one of our bundles run and are of one training."""
    blobs = {f"blobs/{blob.sha256}.bin": blob for blob in manifest.blobs}
    parts = [_checked(folder, name, blobs) for name in blobs]
    sizes = {"weights.bin": len(data["weights.bin"])}
    shard_sizes = {f"../../{name}": blob.size for name, blob in blobs.items()}
    for name, wanted in (("model.json", sizes), ("model.shards.json", shard_sizes)):
        _check_layers_model(folder / name, data[name], wanted, metadata)
    if b"".join(parts) != data["weights.bin"]:
        raise BundleError(f"{folder}: the blobs and weights.bin are not of one training: train again")
    _check_heads(folder, data, metadata)
    check_ort(data["model.ort"], f"{folder / 'model.ort'}")
    _check_answers(folder, data, metadata)


def _checked(folder: Path, name: str, entries: Mapping[str, FileEntry | BlobEntry]) -> bytes:
    """Return a file's bytes if they are the ones that the manifest names."""
    if name not in entries:
        raise BundleError(f"{folder}: the manifest does not name {name}")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"the manifest names {name!r}, which lies outside the bundle: it was tampered with")
    try:
        data = path.read_bytes()
    except OSError as exc:
        what = "is missing" if isinstance(exc, FileNotFoundError) else "cannot be read"
        raise BundleError(f"{path} {what} ({exc.strerror}): restore the bundle or train again") from exc
    entry = entries[name]
    if not data or len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{path} is not the file the manifest names: restore the bundle or train again")
    return data


def _check_layers_model(path: Path, data: bytes, sizes: Mapping[str, int], metadata: Metadata) -> None:
    """Check that the weights fill their files exactly and that there is one output per label."""
    try:
        document: dict[str, Any] = json.loads(data)
        layers = document["modelTopology"]["model_config"]["config"]["layers"]
        outputs = layers[-1]["config"]["units"]
        filled = {
            name: sum(_weight_size(weight) for weight in group["weights"])
            for group in document["weightsManifest"]
            for name in group["paths"]
        }
    except _DAMAGED as exc:
        raise BundleError(f"{path} is no layers model ({exc!r:.200})") from exc
    if outputs != len(metadata.labels):
        raise BundleError(f"{path} has {outputs} outputs for {len(metadata.labels)} labels")
    if filled != sizes:
        raise BundleError(f"{path}: its weights do not fill their files ({filled}, found {sizes})")


def _weight_size(weight: dict[str, Any]) -> int:
    dtype = weight.get("quantization", weight)["dtype"]
    return math.prod(int(side) for side in weight["shape"]) * _BYTES[dtype]


def _check_heads(folder: Path, data: Mapping[str, bytes], metadata: Metadata) -> None:
    """Check that all models carry the same head: it is what differs from one training to the next."""
    try:
        kernel, bias = _layers_head(data["model.json"], data["weights.bin"], len(metadata.labels))
        with np.errstate(all="ignore"):  # of a scale that somebody changed
            values = kernel.values()
    except _DAMAGED as exc:
        raise BundleError(f"{folder / 'model.json'} does not end in a head of uint8 weights ({exc!r:.200})") from exc
    pixels = kernel.codes.T[:, :, None, None]  # INT8 has the head as a convolution
    for runtime, name, wanted in ((Runtime.ONNX, "head/kernel", values), (Runtime.INT8, "head/kernel/codes", pixels)):
        constants = _constants(folder / runtime.file, data[runtime.file])
        same = [
            np.array_equal(constants.get(key, np.empty(0)), want)
            for key, want in ((name, wanted), ("head/bias", bias))
        ]
        if not all(same):
            raise BundleError(f"{folder}: {runtime.file} and weights.bin are not of one training: train again")


def _layers_head(document: bytes, weights: bytes, labels: int) -> tuple[Coded, Floats]:
    """Return kernel and bias of the head in a layers model: its last two weights."""
    entry = json.loads(document)["weightsManifest"][0]["weights"][-2]
    shape, coding = entry["shape"], entry["quantization"]
    bias = np.frombuffer(weights[-4 * labels :], np.float32)
    codes = np.frombuffer(weights[-4 * labels - _weight_size(entry) : -4 * labels], np.uint8).reshape(shape)
    return Coded(codes=codes, minimum=float(coding["min"]), scale=float(coding["scale"])), bias


def _constants(path: Path, model: bytes) -> dict[str, NDArray[Any]]:
    graph = parse_onnx(model, str(path)).graph
    try:
        return {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    except Exception as exc:  # onnx raises what comes to it
        raise BundleError(f"{path} has damaged constants ({exc!r:.200}): train again") from exc


def _check_answers(folder: Path, data: Mapping[str, bytes], metadata: Metadata) -> None:
    """Check that every model runs, and that the two INT8 files give the same answer."""
    size = metadata.image_size
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    answers = {}
    for runtime in Runtime:
        recogniser = _recogniser(folder / runtime.file, data[runtime.file], metadata)
        try:
            answers[runtime] = recogniser.probabilities(picture)
        except Exception as exc:  # onnxruntime's errors share no narrower base
            raise BundleError(f"{folder / runtime.file} does not run ({first_line(exc)}): train again") from exc
        if not np.isfinite(answers[runtime]).all() or abs(float(answers[runtime].sum()) - 1) > _SUM_TOLERANCE:
            raise BundleError(f"{folder / runtime.file} gives no probabilities that sum to 1: train again")
    if not np.allclose(answers[Runtime.INT8], answers[Runtime.ORT], atol=0.05):
        raise BundleError(f"{folder}: model.ort and model.int8.onnx give different answers: train again")


def _recogniser(path: Path, model: bytes, metadata: Metadata) -> Recogniser:
    """Return the recogniser of a model whose bytes are checked, if it has one output per label."""
    session = open_session(model)
    outputs = [(output.name, output.shape[-1:]) for output in session.get_outputs()]
    if outputs != [("probabilities", [len(metadata.labels)])]:
        raise BundleError(f"{path} puts out {outputs}, wanted probabilities of {len(metadata.labels)} labels")
    return Recogniser(
        labels=metadata.labels,
        threshold=metadata.threshold,
        image_size=metadata.image_size,
        session=session,
    )
