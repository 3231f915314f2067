"""Check a model made elsewhere by running it: one probability per label, for pictures of the size it says."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfsight.bundle.documents import (
    MAX_IMAGE_SIZE,
    PhoneDescription,
    description_name,
    parse_document,
    parse_object,
)
from shelfsight.bundle.layers_model import convert_layers_model, shard_names
from shelfsight.bundle.model_safety import check_ort
from shelfsight.bundle.recogniser import first_line, open_session
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnxruntime

    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.documents import Manifest, Metadata

__all__ = ["check_description", "check_foreign", "check_labels", "run_layers", "run_ort", "shard_names"]

_MAX_LABEL = 200  # letters
_LAYERS_TOLERANCE = 1e-3  # of a sum of probabilities
_ORT_TOLERANCE = 0.05  # the same, where an INT8 softmax rounds every one of them


def check_foreign(manifest: Manifest, metadata: Metadata, files: Mapping[str, bytes]) -> None:
    """Check a bundle made elsewhere, whose files are those that the manifest names.

    Raises:
        BundleError: its model does not run, or not as its documents say.
    """
    labels = check_labels(list(metadata.labels), "metadata.json")
    described = description_name(manifest.channel_id, manifest.version)
    if manifest.kind == "ort":
        _check_names(files, {"model.ort", described})
        description = parse_document(files[described], described, PhoneDescription)
        shape = check_description(description, files["model.ort"])
        run_ort(files["model.ort"], labels, shape, metadata.image_size)
    else:
        _check_names(files, {"model.json"})
        _check_names(files, {"model.json", *shard_names(parse_object(files["model.json"], "model.json"))})
        run_layers(files, labels, metadata.image_size)


def check_labels(labels: object, name: str) -> tuple[str, ...]:
    """Return labels if they are different, non-empty texts.

    Raises:
        BundleError: they are not.
    """
    if not isinstance(labels, list) or not labels:
        raise BundleError(f"{name} names no labels: add `labels`, the product ids in the order of the outputs")
    for label in labels:
        if not isinstance(label, str) or not label.strip() or len(label) > _MAX_LABEL:
            raise BundleError(f"{name} has the label {label!r:.80}: every label is a product id, a short text")
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise BundleError(f"{name} has the label {twice[0]!r} twice: every product has one output")
    return tuple(labels)


def run_layers(files: Mapping[str, bytes], labels: Sequence[str], image_size: object = None) -> int:
    """Return the image size of a TensorFlow.js layers model that gives one probability per label.

    Args:
        files: `model.json` and the files that its weights manifest names.
        image_size: pixels, as `metadata.json` says, None where it does not.

    Raises:
        BundleError: it does not.
    """
    model = convert_layers_model(files["model.json"], files)
    if image_size is not None and image_size != model.image_size:
        raise BundleError(f"metadata.json says imageSize {image_size!r:.40}, model.json takes {model.image_size}")
    if model.outputs != len(labels):
        raise BundleError(f"model.json has {model.outputs} outputs for {len(labels)} labels: they are of two models")
    picture = _picture(model.image_size).astype(np.float32) / 127 - 1
    _check_answer("model.json", _run(open_session(model.onnx), picture, "model.json"), labels, _LAYERS_TOLERANCE)
    return model.image_size


def run_ort(model: bytes, labels: Sequence[str], shape: Sequence[int], image_size: object = None) -> int:
    """Return the image size of an ORT model that gives one probability per label.

    Args:
        shape: (1, size, size, 3), of its input, as its description says.
        image_size: pixels, as `metadata.json` says, None where it does not.

    Raises:
        BundleError: it does not.
    """
    check_ort(model, "the ORT file")
    session = open_session(model)
    size = shape[1]
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or outputs[0].type != "tensor(float)":
        raise BundleError("the ORT file must have one input and one output of floats: convert the model again")
    wanted = [found if isinstance(found, int) else said for found, said in zip(inputs[0].shape, shape, strict=False)]
    if len(inputs[0].shape) != 4 or wanted != list(shape):
        raise BundleError(f"the ORT file takes {inputs[0].shape}, its description says {list(shape)}")
    if image_size is not None and image_size != size:
        raise BundleError(f"metadata.json says imageSize {image_size!r:.40}, the ORT file takes {size}")
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    if inputs[0].type not in kinds:
        raise BundleError(f"the ORT file takes {inputs[0].type}: convert the model for float or uint8 pixels")
    answer = _run(session, _picture(size).astype(kinds[inputs[0].type]), "the ORT file")
    _check_answer("the ORT file", answer, labels, _ORT_TOLERANCE)
    return size


def check_description(description: PhoneDescription, model: bytes) -> tuple[int, int, int, int]:
    """Return the shape that a phone's description gives for the input, if it describes this very model.

    Raises:
        BundleError: the hash is of another file, or the shape is none of a square RGB picture.
    """
    if description.checksum_sha256 != hashlib.sha256(model).hexdigest():
        raise BundleError("checksumSha256 is not of this ORT file: they are of two models")
    one, height, width, channels = shape = description.input_shape
    if (one, channels) != (1, 3) or height != width or not 1 <= height <= MAX_IMAGE_SIZE:
        raise BundleError(f"inputShape {list(shape)} is none of a picture: wanted [1, size, size, 3]")
    return shape


def _check_names(files: Mapping[str, bytes], wanted: set[str]) -> None:
    missing = {"metadata.json", *wanted} - set(files)
    if missing:
        raise BundleError(f"the manifest does not name {min(missing)}: restore the bundle")


def _picture(size: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def _run(session: onnxruntime.InferenceSession, picture: Any, name: str) -> Floats:
    try:
        (answer,) = session.run(None, {session.get_inputs()[0].name: picture})
    except Exception as exc:  # onnxruntime's errors share no narrower base
        raise BundleError(f"{name} does not run ({first_line(exc)}): convert the model again") from exc
    return np.asarray(answer)


def _check_answer(name: str, answer: Floats, labels: Sequence[str], tolerance: float) -> None:
    if answer.shape != (1, len(labels)):
        raise BundleError(f"{name} has {answer.size} outputs for {len(labels)} labels: they are of two models")
    if not np.isfinite(answer).all() or answer.min() < 0 or abs(float(answer.sum()) - 1) > tolerance:
        raise BundleError(f"{name} does not give probabilities that sum to 1: end the model in a softmax")
