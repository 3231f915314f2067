"""One call of a layer of a TensorFlow.js model: its options, checked, its weights, and where its nodes go.

A value has the shape that TensorFlow.js gives it, without the batch. One of three dimensions (height, width and
channels) lies in the graph as ONNX wants it, channels first; all others lie as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfsight.bundle.onnx_model import Graph
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.layers_topology import Step

Pair = tuple[int, int]

MAX_WINDOW = 512
"""Most pixels of a kernel, pool, stride or padding."""

_SPATIAL = 3  # dimensions of a value that is a picture: height, width, channels


@dataclass(frozen=True, slots=True)
class Value:
    """A value in the graph: its name there, and its shape in TensorFlow.js without the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def spatial(self) -> bool:
        """Whether it is (height, width, channels), and lies channels first."""
        return len(self.shape) == _SPATIAL

    def axis(self, index: int) -> int:
        """Return the axis in the graph of a dimension of `shape`, counted from 0."""
        return (2, 3, 1)[index] if self.spatial else index + 1


@dataclass(slots=True)
class Layers:
    """A graph being written, and the weights that its layers take by their names."""

    weights: Mapping[str, Floats]
    graph: Graph = field(default_factory=Graph)
    taken: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def weight(self, step: Step, part: str, shape: tuple[int, ...]) -> Floats:
        """Return a weight of a layer, which TensorFlow.js names by the layer, and sometimes by models around it."""
        names = ("/".join((*step.path[start:], part)) for start in reversed(range(len(step.path))))
        name = next((name for name in names if name in self.weights), None)
        if name is None:
            raise refusal(step, f"has no weight {part!r}")
        if self.taken.setdefault(name, step.path) != step.path:
            raise refusal(step, f"shares the weight {name!r:.80} with another layer")
        if self.weights[name].shape != shape:
            raise refusal(step, f"has {part} of shape {list(self.weights[name].shape)}, wanted {list(shape)}")
        return self.weights[name]


def refusal(step: Step, problem: str) -> BundleError:
    """Return the error of a layer that cannot be run."""
    return BundleError(f"the layer {step.name!r:.80} ({step.kind}) in model.json {problem}: export the model again")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, as its writer sees it: options read and checked, nodes named by the step."""

    layers: Layers
    step: Step

    def name(self, part: str = "") -> str:
        return f"{self.step.result}{part}"  # numbers: a layer's own name may be anything, and run twice

    def node(self, op: str, inputs: list[str], part: str = "", **attributes: Any) -> str:
        return self.layers.graph.node(op, inputs, self.name(part), **attributes)

    def constant(self, part: str, value: Any) -> str:
        return self.layers.graph.constant(self.name(part), np.asarray(value))

    def weight(self, part: str, shape: tuple[int, ...]) -> Floats:
        return self.layers.weight(self.step, part, shape)

    def option(self, name: str, default: object = None) -> Any:
        found = self.step.config.get(name)
        return default if found is None else found

    def refuse(self, problem: str) -> BundleError:
        return refusal(self.step, problem)

    def flag(self, name: str, *, default: bool) -> bool:
        found = self.option(name, default)
        if not isinstance(found, bool):
            raise self.refuse(f"has {name} {found!r:.40}")
        return found

    def integer(self, name: str, value: object, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(f"has {name} {value!r:.40}, wanted {low} to {high}")
        return value

    def pair(self, name: str, default: object, high: int = MAX_WINDOW) -> tuple[int, int]:
        """Return an option that is one number for both axes, or one for each."""
        found = self.option(name, default)
        both = found if isinstance(found, list) else [found, found]
        if len(both) == 1:
            both *= 2
        if len(both) != 2:
            raise self.refuse(f"has {name} {found!r:.40}")
        return self.integer(name, both[0], 1, high), self.integer(name, both[1], 1, high)

    def expect(self, **wanted: object) -> None:
        """Refuse options that would make it another layer: TensorFlow.js versions do not agree on them."""
        for name, only in wanted.items():
            found = self.option(name, only)
            if found not in (only, [only], [only, only]):
                raise self.refuse(f"has {name} {found!r:.40}, wanted {only!r}")

    def spatial(self, value: Value) -> tuple[int, int, int]:
        self.expect(data_format="channels_last")
        if not value.spatial:
            raise self.refuse(f"reads {list(value.shape)!r:.80}, wanted height, width and channels")
        height, width, channels = value.shape
        return height, width, channels


@dataclass(frozen=True, slots=True)
class Window:
    """Where a kernel or pool goes: ONNX's attributes, and the height and width of what comes out."""

    attributes: dict[str, Any]
    size: tuple[int, int]


def window_of(call: Call, value: Value, kernel: Pair, strides: Pair, dilation: int = 1) -> Window:
    """Return the window of a layer with TensorFlow's `same`, which pads more after than before, or `valid`."""
    padding = call.option("padding", "valid")
    before, after, sizes = [], [], []
    for size, side, stride in zip(call.spatial(value)[:2], kernel, strides, strict=True):
        reach = (side - 1) * dilation + 1
        if padding == "same":
            out = -(-size // stride)
            total = max(0, (out - 1) * stride + reach - size)
        elif padding == "valid":
            out, total = (size - reach) // stride + 1, 0
        else:
            raise call.refuse(f"has padding {padding!r:.40}, wanted 'same' or 'valid'")
        if out < 1:
            raise call.refuse(f"is larger than the {size} pixels that it reads")
        before.append(total // 2)
        after.append(total - total // 2)
        sizes.append(out)
    attributes = {"kernel_shape": list(kernel), "strides": list(strides), "pads": before + after}
    return Window(attributes, (sizes[0], sizes[1]))
