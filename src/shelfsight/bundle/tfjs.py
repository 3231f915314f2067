"""Write a recogniser as a TensorFlow.js layers model (Keras 2 topology), readable from tfjs 1.3.1 on.

Weights go out in groups: backbone, projection (where there is one), head. One file of all groups is `weights.bin`;
one blob per group is the sharded form, in which a retrain changes only the head's blob. Only the kinds of layers
that Teachable Machine's loader knows are used, and no float16, which tfjs 1.3.1 does not decode. What is Keras'
default is left out: the topology is part of what a device downloads after every retrain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from shelfsight.bundle.coding import Coded
from shelfsight.bundle.network import (
    INPUT,
    Add,
    Affine,
    Conv,
    GlobalAveragePool,
    Layer,
    Network,
    same_padding,
    sources,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.head import Head

_EPSILON = 1e-3  # of every BatchNormalization we write: its variance is 1 - epsilon, so that it divides by 1


@dataclass(slots=True)
class WeightGroup:
    """Weights that change together: their entries in the manifest, and their bytes one after the other."""

    part: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    def add(self, name: str, tensor: Coded | Floats) -> None:
        """Append a tensor."""
        array = tensor.codes if isinstance(tensor, Coded) else tensor
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if isinstance(tensor, Coded):
            entry["quantization"] = {
                "dtype": array.dtype.name,
                "min": tensor.minimum,
                "scale": tensor.scale,
            }
        self.entries.append(entry)
        self.data += np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersModel:
    """A TensorFlow.js layers model: its topology, and its weights in groups."""

    topology: dict[str, Any]
    groups: tuple[WeightGroup, ...]

    def document(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return `model.json`, its weights in one file where there is one path, else in one file per group."""
        if len(paths) == 1:
            entries = [entry for group in self.groups for entry in group.entries]
            manifest = [{"paths": list(paths), "weights": entries}]
        else:
            manifest = [
                {"paths": [path], "weights": group.entries} for path, group in zip(paths, self.groups, strict=True)
            ]
        return {
            "format": "layers-model",
            "generatedBy": "keras v2.3.1",
            "convertedBy": "Shelfsight",
            "modelTopology": self.topology,
            "weightsManifest": manifest,
        }


def layers_model(backbone: Backbone, head: Head) -> LayersModel:
    """Return the recogniser as a layers model; input NHWC, RGB as x/127 - 1, output one probability per label."""
    keras = _Keras()
    size = backbone.network.input_size
    keras.layer("InputLayer", INPUT, (), batch_input_shape=[None, size, size, 3], dtype="float32", sparse=False)
    groups = [WeightGroup("backbone")]
    reads = backbone.network.input_sizes()
    for layer in backbone.network.layers:
        _write_layer(keras, groups[0], backbone, layer, reads)
    value = backbone.network.output
    if head.projection is not None:
        groups.append(WeightGroup("projection"))
        keras.dense("projection", value, head.projection.codes.shape[1], "linear", use_bias=False)
        groups[-1].add("projection/kernel", head.projection)
        value = "projection"
    groups.append(WeightGroup("head"))
    keras.dense("probabilities", value, len(head.labels), "softmax", use_bias=True)
    groups[-1].add("probabilities/kernel", head.kernel)
    groups[-1].add("probabilities/bias", head.bias)
    return LayersModel(topology=keras.topology(backbone.network), groups=tuple(groups))


@dataclass(slots=True)
class _Keras:
    layers: list[dict[str, Any]] = field(default_factory=list)

    def layer(self, kind: str, name: str, inputs: Sequence[str], **config: Any) -> None:
        inbound = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
        self.layers.append(
            {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}
        )

    def dense(self, name: str, source: str, units: int, activation: str, *, use_bias: bool) -> None:
        self.layer("Dense", name, (source,), units=units, activation=activation, use_bias=use_bias)

    def topology(self, network: Network) -> dict[str, Any]:
        config = {
            "name": f"shelfsight_{network.input_size}",
            "layers": self.layers,
            "input_layers": [[INPUT, 0, 0]],
            "output_layers": [[self.layers[-1]["name"], 0, 0]],
        }
        model = {"class_name": "Model", "config": config}
        return {"keras_version": "2.3.1", "backend": "tensorflow", "model_config": model}


def _write_layer(keras: _Keras, group: WeightGroup, backbone: Backbone, layer: Layer, reads: dict[str, int]) -> None:
    match layer:
        case Affine():
            _write_affine(keras, group, backbone, layer)
        case Conv():
            _write_conv(keras, group, backbone, layer, reads[layer.name])
        case Add(name=name):
            keras.layer("Add", name, sources(layer))
        case GlobalAveragePool(name=name, source=source):
            keras.layer("GlobalAveragePooling2D", name, (source,))
        case _:
            assert_never(layer)


def _write_affine(keras: _Keras, group: WeightGroup, backbone: Backbone, layer: Affine) -> None:
    """Write an affine map as a BatchNormalization.

    Its mean comes first, so a weights file whose network begins with an affine map begins with zeros: Vendure
    guesses a file's type by its first bytes, and refuses one that happens to look like something else.
    """
    scale, offset = backbone.values(f"{layer.name}/scale"), backbone.values(f"{layer.name}/offset")
    keras.layer("BatchNormalization", layer.name, (layer.source,), epsilon=_EPSILON)
    group.add(f"{layer.name}/moving_mean", np.zeros_like(scale))
    group.add(f"{layer.name}/moving_variance", np.full_like(scale, 1 - _EPSILON))
    group.add(f"{layer.name}/gamma", scale)
    group.add(f"{layer.name}/beta", offset)


def _write_conv(keras: _Keras, group: WeightGroup, backbone: Backbone, layer: Conv, input_size: int) -> None:
    name, source, padding = layer.name, layer.source, "same"
    if layer.padding != same_padding(input_size, layer.kernel, layer.stride):
        source, padding = f"{name}_pad", "valid"
        keras.layer("ZeroPadding2D", source, (layer.source,), padding=[list(layer.padding)] * 2)
    kernel = backbone.tensors[f"{name}/kernel"]
    config: dict[str, Any] = {"kernel_size": layer.kernel, "padding": padding}
    if not layer.depthwise:
        config["filters"] = backbone.values(f"{name}/bias").size
    if layer.stride != 1:
        config["strides"] = layer.stride
    if layer.relu6:
        config["activation"] = "relu6"
    kind, kernel_name = ("DepthwiseConv2D", "depthwise_kernel") if layer.depthwise else ("Conv2D", "kernel")
    keras.layer(kind, name, (source,), **config)
    group.add(f"{name}/{kernel_name}", kernel)
    group.add(f"{name}/bias", backbone.values(f"{name}/bias"))
