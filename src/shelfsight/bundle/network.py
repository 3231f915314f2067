"""The one description of a convolutional network; ONNX, TF.js and INT8 are all written from it.

A network is a list of layers in the order they run. Each names the layer whose output it reads; `INPUT` is the
picture as x/127 - 1, NHWC. BatchNorm is folded into the convolutions before a network is described.
A new architecture is new data in this form, never a new branch in a writer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shelfsight.errors import BackboneError

INPUT = "input"
"""Name of the network's input: float, NHWC, RGB pixels as x/127 - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Per channel `x * scale + offset`; tensors `{name}/scale` and `{name}/offset`, both (channels,)."""

    name: str
    source: str
    op: Literal["affine"] = "affine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A square convolution; tensors `{name}/kernel` and `{name}/bias` (channels out,).

    The kernel is laid out as TensorFlow.js has it: (k, k, channels in, channels out), or for a depthwise
    convolution (k, k, channels, 1). `padding` is zeros before and after, on both axes.
    """

    name: str
    source: str
    kernel: int
    stride: int
    padding: tuple[int, int]
    depthwise: bool
    relu6: bool
    op: Literal["conv"] = "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """The sum of two outputs of the same shape."""

    name: str
    sources: tuple[str, str]
    op: Literal["add"] = "add"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAveragePool:
    """The mean over both spatial axes; its output, (n, channels), is the embedding."""

    name: str
    source: str
    op: Literal["pool"] = "pool"


Layer = Affine | Conv | Add | GlobalAveragePool
LAYERS: dict[str, type[Layer]] = {"affine": Affine, "conv": Conv, "add": Add, "pool": GlobalAveragePool}


def sources(layer: Layer) -> tuple[str, ...]:
    """Return the names of the outputs that `layer` reads."""
    return layer.sources if isinstance(layer, Add) else (layer.source,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Layers in running order, from a picture of `input_size` x `input_size` x 3 to an embedding."""

    input_size: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        seen = {INPUT}
        for layer in self.layers:
            missing = [name for name in sources(layer) if name not in seen]
            if missing or layer.name in seen:
                problem = f"reads {missing[0]!r}, which does not run before it" if missing else "is named twice"
                raise BackboneError(f"layer {layer.name!r} {problem}")
            seen.add(layer.name)
        if not self.layers or not isinstance(self.layers[-1], GlobalAveragePool):
            raise BackboneError("a network ends in a global average pool")

    @property
    def output(self) -> str:
        """Name of the last layer, whose output is the embedding."""
        return self.layers[-1].name

    def input_sizes(self) -> dict[str, int]:
        """Return for every convolution the height (= width) of what it reads, in pixels."""
        size = {INPUT: self.input_size}
        read: dict[str, int] = {}
        for layer in self.layers:
            size[layer.name] = incoming = size[sources(layer)[0]]
            if isinstance(layer, Conv):
                read[layer.name] = incoming
                size[layer.name] = (incoming + sum(layer.padding) - layer.kernel) // layer.stride + 1
        return read


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after that TensorFlow calls "same" for an input of `size` pixels."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2
