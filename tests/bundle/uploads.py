"""Models made elsewhere, small enough to think about, for the tests of uploads."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shelfsight.bundle.ort_format import to_ort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import NodeProto

SIZE = 8
LABELS = ("apple", "birne", "ця груша")

Weights = dict[str, "NDArray[np.float32]"]


class Stamp(TypedDict):
    """The keyword arguments that name a version."""

    channel: str
    version: str


STAMP = Stamp(channel="shop", version="2.0.1")


def weights() -> Weights:
    """Return the weights of `topology`, in the order of its manifest."""
    random = np.random.default_rng(3)
    shapes = {"conv/kernel": (3, 3, 3, 4), "conv/bias": (4,), "hidden/kernel": (4, 5), "answer/kernel": (5, 3)}
    return {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def topology() -> dict[str, Any]:
    """Return a model nested as Teachable Machine's are: what it sees, and what was trained."""
    picture = {"batch_input_shape": [None, SIZE, SIZE, 3], "dtype": "float32"}
    conv = {"filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "activation": "relu6"}
    seen = [_layer("Conv2D", "conv", **picture, **conv), _layer("GlobalAveragePooling2D", "pool")]
    hidden = _layer("Dense", "hidden", units=5, activation="relu", use_bias=False, batch_input_shape=[None, 4])
    answer = _layer("Dense", "answer", units=3, activation="softmax", use_bias=False)
    parts = [_sequential("seen", seen), _sequential("trained", [hidden, answer])]
    return {**_sequential("whole", parts), "keras_version": "tfjs-layers 1.3.1", "backend": "tensor_flow.js"}


def document(**changes: object) -> dict[str, Any]:
    """Return `model.json`."""
    entries = [{"name": name, "shape": list(w.shape), "dtype": "float32"} for name, w in weights().items()]
    manifest = [{"paths": ["weights.bin"], "weights": entries}]
    return {"modelTopology": topology(), "weightsManifest": manifest, **changes}


def weights_bin() -> bytes:
    """Return `weights.bin`."""
    return b"".join(values.tobytes() for values in weights().values())


def teachable_metadata(**changes: object) -> dict[str, Any]:
    """Return `metadata.json` as Teachable Machine writes it."""
    return {
        "tfjsVersion": "1.3.1",
        "tmVersion": "2.4.7",
        "packageVersion": "0.8.4-alpha2",
        "packageName": "@teachablemachine/image",
        "timeStamp": "2024-07-27T09:33:51.222Z",
        "userMetadata": {},
        "modelName": "tm-my-image-model",
        "labels": list(LABELS),
        "imageSize": SIZE,
        **changes,
    }


def write_teachable(folder: Path) -> Path:
    """Write the three files of an export, and return their folder."""
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_bytes(to_json(document()))
    (folder / "weights.bin").write_bytes(weights_bin())
    (folder / "metadata.json").write_bytes(to_json(teachable_metadata()))
    return folder


def phone_model(nodes: Sequence[NodeProto] = (), result: str = "pooled") -> bytes:
    """Return an ORT model of three labels, which may compute something before it answers.

    Args:
        nodes: they may read `pooled` [1, 3], and put out `result` of the same shape.
    """
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Mul", ["mean", "scale"], ["pooled"]),
            *nodes,
            helper.make_node("Softmax", [result], ["probabilities"]),
        ],
        "phone",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, SIZE, SIZE, 3))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.array([0.01], np.float32), "scale")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return to_ort(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def description(model: bytes, **changes: object) -> dict[str, Any]:
    """Return a phone's description of a model, with labels."""
    return {
        "version": "v1.0.0",
        "architecture": "efficientnet-lite0",
        "quantization": "INT8",
        "inputShape": [1, SIZE, SIZE, 3],
        "delegates": ["xnnpack"],
        "checksumSha256": hashlib.sha256(model).hexdigest(),
        "description": "made elsewhere",
        "lastUpdated": "2025-01-02T03:04:05Z",
        "labels": list(LABELS),
        **changes,
    }


def write_phone(folder: Path, model: bytes | None = None, **changes: object) -> Path:
    """Write an ORT file with its description, and return their folder."""
    folder.mkdir(exist_ok=True)
    model = phone_model() if model is None else model
    (folder / "shop.ort").write_bytes(model)
    (folder / "shop_v1.0.0.json").write_bytes(to_json(description(model, **changes)))
    return folder


def endless() -> list[NodeProto]:
    """Return nodes that count for years before they answer."""
    true = helper.make_tensor_value_info("going", TensorProto.BOOL, ())
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, (1, 3))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Neg", ["value"], ["changed"]),
        ],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, ()), true, value],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("changed", TensorProto.FLOAT, (1, 3)),
        ],
    )
    turns = numpy_helper.from_array(np.array(2**50, np.int64))
    yes = numpy_helper.from_array(np.array(True))
    return [
        helper.make_node("Constant", [], ["turns"], value=turns),
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("Loop", ["turns", "yes", "pooled"], ["late"], body=body),
    ]


def gigantic() -> list[NodeProto]:
    """Return nodes that spread three numbers over 12 GB before they answer."""
    shape = numpy_helper.from_array(np.array([2**30, 3], np.int64))
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Expand", ["pooled", "shape"], ["spread"]),
        helper.make_node("ReduceMean", ["spread"], ["late"], axes=[0], keepdims=1),
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def document_of(folder: Path, name: str) -> dict[str, Any]:
    """Return a JSON file of a folder."""
    return json.loads((folder / name).read_bytes())  # type: ignore[no-any-return]


def to_json(found: Mapping[str, object]) -> bytes:
    """Return a document as its maker writes it."""
    return json.dumps(found, ensure_ascii=False).encode()


def _layer(kind: str, name: str, **config: object) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def _sequential(name: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers}}
