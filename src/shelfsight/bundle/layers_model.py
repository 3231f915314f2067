"""Read a TensorFlow.js layers model that anybody may have made, as an ONNX model that gives the same answers.

Nothing of it is executed: its topology names layers, and the ones known here are written as ONNX. What TensorFlow.js
would refuse is refused, and so is what could cost more than a recogniser is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto, checker, helper

from shelfsight.bundle.documents import MAX_IMAGE_SIZE, parse_object
from shelfsight.bundle.layers_call import Layers, Value
from shelfsight.bundle.layers_onnx import write_layer
from shelfsight.bundle.layers_topology import PICTURE, read_plan
from shelfsight.bundle.layers_weights import read_weights, shard_names
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConvertedModel", "convert_layers_model", "shard_names"]

_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvertedModel:
    """A layers model as ONNX.

    Attributes:
        onnx: input `image`, float32 [N, size, size, 3], RGB as x/127 - 1; output `probabilities` [N, outputs].
        image_size: height and width of a picture, in pixels.
    """

    onnx: bytes
    image_size: int
    outputs: int


def convert_layers_model(document: bytes, shards: Mapping[str, bytes]) -> ConvertedModel:
    """Return the ONNX model of a `model.json`.

    Args:
        shards: bytes of the files that its weights manifest names, by name; others are not read.

    Raises:
        BundleError: it is no layers model for pictures, has unknown layers, or its weights do not belong to it.
    """
    found = parse_object(document, "model.json")
    plan = read_plan(found)
    size = _image_size(plan.input_shape)
    layers = Layers(read_weights(found, shards))
    values = {PICTURE: Value(layers.graph.node("Transpose", ["image"], "0", perm=[0, 3, 1, 2]), (size, size, 3))}
    for step in plan.steps:
        values[step.result] = write_layer(layers, step, [values[source] for source in step.sources])
    unused = sorted(set(layers.weights) - set(layers.taken))
    if unused:
        raise BundleError(f"model.json has the weight {unused[0]!r:.80}, which no layer reads: export it again")
    answer = values[plan.output]
    if len(answer.shape) != 1:
        raise BundleError(f"model.json puts out {list(answer.shape)}: end the model in one probability per label")
    layers.graph.node("Identity", [answer.name], "probabilities")
    return ConvertedModel(onnx=_model(layers, size, answer.shape[0]), image_size=size, outputs=answer.shape[0])


def _image_size(shape: object) -> int:
    """Return the height and width in a declared input shape, batch first."""
    if isinstance(shape, list) and len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3:
        size = shape[1]
        if type(size) is int and 1 <= size <= MAX_IMAGE_SIZE and type(shape[3]) is int:
            return size
    raise BundleError(
        f"model.json takes {shape!r:.80}, wanted square RGB pictures, [null, size, size, 3] of up to {MAX_IMAGE_SIZE}"
    )


def _model(layers: Layers, size: int, outputs: int) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", size, size, 3))
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("N", outputs))
    graph = helper.make_graph(layers.graph.nodes, "layers", [image], [result], layers.graph.constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, producer_name="shelfsight", opset_imports=opsets, ir_version=_IR_VERSION)
    checker.check_model(model)
    return bytes(model.SerializeToString())
