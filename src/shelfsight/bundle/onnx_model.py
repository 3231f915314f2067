"""Write a backbone, with or without a head, as an ONNX model: fp32, or INT8 with one scale per channel.

Input `image`: float32 NHWC [N, size, size, 3], RGB 0..255. Output `probabilities` [N, labels], or `embedding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, assert_never

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from shelfsight.bundle.network import INPUT, Add, Affine, Conv, GlobalAveragePool, Layer, sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.bundle.coding import Coded, Floats
    from shelfsight.bundle.head import Head

Shape = tuple[str | int | None, ...]
_OPSET = 17
_IR_VERSION = 8  # what onnxruntime on phones of 2022 still reads


@dataclass(slots=True)
class Graph:
    """Nodes and constants of a model being written."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any] | np.generic[Any]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


class Writer(Protocol):
    """How one precision writes the parts that hold weights."""

    def conv(self, graph: Graph, layer: Conv, source: str) -> str: ...
    def linear(self, graph: Graph, name: str, source: str, kernel: Coded, bias: Floats | None) -> str: ...
    def output(self, graph: Graph, layer: Layer, value: str) -> str: ...


def write_embedder(backbone: Backbone, *, every_layer: bool = False) -> bytes:
    """Return an fp32 ONNX model from `image` to `embedding` (and every feature map, NCHW, for calibration)."""
    graph, values = _backbone_graph(backbone, Fp32(backbone))
    graph.node("Identity", [values[backbone.network.output]], "embedding")
    feature_maps = [values[layer.name] for layer in backbone.network.layers[:-1]] if every_layer else []
    outputs: dict[str, Shape] = dict.fromkeys(feature_maps, (None,) * 4)
    return _model(backbone, graph, {"embedding": ("N", backbone.embedding_size), **outputs})


def write_recogniser(backbone: Backbone, head: Head, writer: Writer) -> bytes:
    """Return an ONNX model from `image` to `probabilities`, in the precision of `writer`."""
    graph, values = _backbone_graph(backbone, writer)
    value = values[backbone.network.output]
    if head.projection is not None:
        value = writer.linear(graph, "projection", value, head.projection, None)
    value = writer.linear(graph, "head", value, head.kernel, head.bias)
    graph.node("Softmax", [value], "probabilities", axis=-1)
    return _model(backbone, graph, {"probabilities": ("N", len(head.labels))})


@dataclass(frozen=True, slots=True)
class Fp32:
    """Weights as float32."""

    backbone: Backbone

    def conv(self, graph: Graph, layer: Conv, source: str) -> str:
        """Write a convolution with its ReLU6."""
        kernel = onnx_kernel(self.backbone, layer)
        weights = [
            graph.constant(f"{layer.name}/kernel", kernel),
            graph.constant(f"{layer.name}/bias", self.backbone.values(f"{layer.name}/bias")),
        ]
        attributes = conv_attributes(layer, len(kernel))
        if not layer.relu6:
            return graph.node("Conv", [source, *weights], layer.name, **attributes)
        value = graph.node("Conv", [source, *weights], f"{layer.name}/conv", **attributes)
        limits = [
            graph.constant(f"{layer.name}/low", np.float32(0)),
            graph.constant(f"{layer.name}/high", np.float32(6)),
        ]
        return graph.node("Clip", [value, *limits], layer.name)

    def linear(self, graph: Graph, name: str, source: str, kernel: Coded, bias: Floats | None) -> str:
        """Write `source @ kernel + bias`."""
        weights = [graph.constant(f"{name}/kernel", kernel.values())]
        if bias is not None:
            weights.append(graph.constant(f"{name}/bias", bias))
        return graph.node("Gemm", [source, *weights], name)

    def output(self, graph: Graph, layer: Layer, value: str) -> str:  # noqa: ARG002 (the protocol's)
        """Leave every layer's output as it is."""
        return value


def onnx_kernel(backbone: Backbone, layer: Conv) -> Floats:
    """Return a convolution's kernel as ONNX has it: (channels out, channels in / group, k, k)."""
    order = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
    return backbone.values(f"{layer.name}/kernel").transpose(order)


def conv_attributes(layer: Conv, channels: int) -> dict[str, Any]:
    """Return the attributes of an ONNX Conv node."""
    before, after = layer.padding
    return {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "pads": [before, before, after, after],
        "group": channels if layer.depthwise else 1,
    }


def _backbone_graph(backbone: Backbone, writer: Writer) -> tuple[Graph, dict[str, str]]:
    """Return the graph up to the embedding, and the ONNX name of every layer's output."""
    graph = Graph()
    scaled = graph.node("Div", ["image", graph.constant("127", np.float32(127))], "image/127")
    shifted = graph.node("Sub", [scaled, graph.constant("1", np.float32(1))], "image/127-1")
    values = {INPUT: graph.node("Transpose", [shifted], INPUT, perm=[0, 3, 1, 2])}
    for layer in backbone.network.layers:
        value = _layer(graph, layer, [values[name] for name in sources(layer)], backbone, writer)
        values[layer.name] = writer.output(graph, layer, value)
    return graph, values


def _layer(graph: Graph, layer: Layer, inputs: list[str], backbone: Backbone, writer: Writer) -> str:
    match layer:
        case Affine(name=name):
            scale, offset = (
                graph.constant(f"{name}/{part}", backbone.values(f"{name}/{part}").reshape(1, -1, 1, 1))
                for part in ("scale", "offset")
            )
            product = graph.node("Mul", [*inputs, scale], f"{name}/scaled")
            return graph.node("Add", [product, offset], name)
        case Conv():
            return writer.conv(graph, layer, inputs[0])
        case Add(name=name):
            return graph.node("Add", inputs, name)
        case GlobalAveragePool(name=name):
            return graph.node("Flatten", [graph.node("GlobalAveragePool", inputs, f"{name}/4d")], name, axis=1)
        case _:
            assert_never(layer)


def _model(backbone: Backbone, graph: Graph, outputs: Mapping[str, Shape]) -> bytes:
    size = backbone.network.input_size
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", size, size, 3))
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    model: ModelProto = helper.make_model(
        helper.make_graph(graph.nodes, backbone.name, [image], results, graph.constants),
        producer_name="shelfsight",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
