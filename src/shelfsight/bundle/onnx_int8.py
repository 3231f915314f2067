"""INT8 in the QDQ form of ONNX: int8 weights with one scale per channel, uint8 activations.

The ranges of the activations come with the backbone, so no calibration runs when a channel is trained. ReLU6 needs
no node: uint8 saturates at the end of its range. The mean over the last feature map, the head and the softmax stay
in float, because a discriminant head leans on small differences there; only their weights are held as integers.
Scheme: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.network import Conv, GlobalAveragePool, Layer
from shelfsight.bundle.onnx_model import Graph, conv_attributes, onnx_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.bundle.coding import Coded, Floats


@dataclass(frozen=True, slots=True)
class Int8:
    """Weights as int8 per channel, activations as uint8 over the backbone's ranges."""

    backbone: Backbone
    scales: dict[str, np.float32] = field(default_factory=dict)
    """Scale of each quantised value already written, by its ONNX name."""

    def conv(self, graph: Graph, layer: Conv, source: str) -> str:
        """Write a convolution on quantised input, weights and bias."""
        kernel, bias = onnx_kernel(self.backbone, layer), self.backbone.values(f"{layer.name}/bias")
        # A channel that is dead, or nearly, needs a scale that its bias fits into as well: as int32, with room.
        room = np.abs(bias) / 2**30 / self.scales[source]
        scale = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)) / 127, np.maximum(room, 1e-12)).astype(np.float32)
        bias_scale = scale * self.scales[source]
        bias_codes = np.rint(bias / bias_scale.astype(np.float64))
        codes = np.clip(np.rint(kernel / scale[:, None, None, None]), -127, 127)
        inputs = [
            source,
            _dequantised(graph, f"{layer.name}/kernel", codes.astype(np.int8), scale),
            _dequantised(graph, f"{layer.name}/bias", bias_codes.astype(np.int32), bias_scale),
        ]
        return graph.node("Conv", inputs, layer.name, **conv_attributes(layer, len(kernel)))

    def linear(self, graph: Graph, name: str, source: str, kernel: Coded, bias: Floats | None) -> str:
        """Write `source @ kernel + bias` in float, from integer weights, as a convolution of one pixel.

        Written as a matrix product, onnxruntime would make it a MatMulNBits, which older phones' builds do not have
        and which rounds the embedding to 8 bits.
        """
        if kernel.codes.dtype == np.uint8:  # as devices have it: (code - zero point) * scale is the same number
            zero = round(-kernel.minimum / kernel.scale)
            codes, scale = kernel.codes, np.full(kernel.codes.shape[1], kernel.scale, np.float32)
        else:
            values, zero = kernel.values(), 0
            scale = np.maximum(np.abs(values).max(axis=0) / 127, 1e-12).astype(np.float32)
            codes = np.rint(values / scale).astype(np.int8)
        pixels = codes.T[:, :, None, None]
        inputs = [
            graph.node("Unsqueeze", [source, graph.constant(f"{name}/axes", np.array([2, 3]))], f"{name}/pixel"),
            _dequantised(graph, f"{name}/kernel", pixels, scale, zero),
        ]
        if bias is not None:
            inputs.append(graph.constant(f"{name}/bias", bias))
        return graph.node("Flatten", [graph.node("Conv", inputs, f"{name}/conv")], name, axis=1)

    def output(self, graph: Graph, layer: Layer, value: str) -> str:
        """Quantise what a layer puts out, except the embedding."""
        if isinstance(layer, GlobalAveragePool):
            return value
        low, high = self.backbone.ranges[layer.name]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255 or 1.0)
        constants = [
            graph.constant(f"{value}/step", scale),
            graph.constant(f"{value}/zero", np.uint8(round(-low / float(scale)))),
        ]
        codes = graph.node("QuantizeLinear", [value, *constants], f"{value}/codes")
        decoded = graph.node("DequantizeLinear", [codes, *constants], f"{value}/decoded")
        self.scales[decoded] = scale
        return decoded


def _dequantised(
    graph: Graph,
    name: str,
    codes: NDArray[np.integer],
    scale: Floats,
    zero: int = 0,
) -> str:
    constants = [
        graph.constant(f"{name}/codes", codes),
        graph.constant(f"{name}/scale", scale),
        graph.constant(f"{name}/zero", np.full(len(scale), zero, codes.dtype)),
    ]
    return graph.node("DequantizeLinear", constants, name, axis=0)
