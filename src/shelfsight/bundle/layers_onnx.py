"""Write the layers of a TensorFlow.js model as ONNX, each as TensorFlow.js computes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.layers_call import MAX_WINDOW, Call, Layers, Value, Window, refusal, window_of
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.layers_topology import Step

    Writer = Callable[[Call, Sequence[Value]], Value]

MAX_VALUES = 2**26
"""Most numbers that a layer may put out for one picture: 256 MiB of float32."""

_MAX_DILATION = 64


def write_layer(layers: Layers, step: Step, inputs: Sequence[Value]) -> Value:
    """Write one call of a layer, and return its value.

    Raises:
        BundleError: the layer is unknown, says what cannot be, or its weights are of another shape.
    """
    writer = _LAYERS.get(step.kind)
    if writer is None:
        raise BundleError(
            f"the layer {step.name!r:.80} in model.json is a {step.kind!r:.40}, which is not run here: "
            f"use {', '.join(sorted(_LAYERS))}"
        )
    if len(inputs) != 1 and step.kind not in _MERGING:
        raise refusal(step, f"has {len(inputs)} inputs")
    value = writer(Call(layers, step), inputs)
    if min(value.shape, default=0) < 1 or math.prod(value.shape) > MAX_VALUES:
        raise refusal(step, f"puts out {list(value.shape)!r:.80}, which is too large or nothing")
    return value


def _activation(call: Call, value: Value, kind: object) -> Value:
    """Write an activation function after what a layer computed."""
    name, part = value.name, "/activation"
    match kind:
        case None | "linear":
            return value
        case "relu" | "sigmoid" | "tanh":
            name = call.node(kind.capitalize(), [name], part)
        case "relu6":
            name = _clipped(call, name, 6.0)
        case "softmax":
            name = call.node("Softmax", [name], part, axis=value.axis(len(value.shape) - 1))
        case "swish":
            name = call.node("Mul", [name, call.node("Sigmoid", [name], "/gate")], part)
        case _:
            raise call.refuse(f"has the activation {kind!r:.40}: use relu, relu6, softmax, sigmoid, tanh or swish")
    return Value(name, value.shape)


def _clipped(call: Call, name: str, high: float) -> str:
    limits = [call.constant("/low", np.float32(0)), call.constant("/high", np.float32(high))]
    return call.node("Clip", [name, *limits], "/clipped")


def _convolution(call: Call, value: Value, kernel: Floats, window: Window, *, group: int = 1) -> Value:
    """Write a convolution whose kernel lies as ONNX wants it, then bias and activation as the layer says."""
    weights = [call.constant("/kernel", kernel)]
    if call.flag("use_bias", default=True):
        weights.append(call.constant("/bias", call.weight("bias", (len(kernel),))))
    name = call.node("Conv", [value.name, *weights], "/conv", group=group, **window.attributes)
    return _activation(call, Value(name, (*window.size, len(kernel))), call.option("activation"))


def _conv(call: Call, inputs: Sequence[Value]) -> Value:
    call.expect(groups=1)
    channels = call.spatial(inputs[0])[2]
    size, strides = call.pair("kernel_size", None), call.pair("strides", 1)
    dilations = call.pair("dilation_rate", 1, _MAX_DILATION)
    if dilations[0] != dilations[1] or (dilations[0] > 1 and strides != (1, 1)):
        raise call.refuse(f"has strides {strides} with dilation_rate {dilations}")
    filters = call.integer("filters", call.option("filters"), 1, MAX_VALUES)
    kernel = call.weight("kernel", (*size, channels, filters)).transpose(3, 2, 0, 1)
    window = window_of(call, inputs[0], size, strides, dilations[0])
    window.attributes["dilations"] = list(dilations)
    return _convolution(call, inputs[0], kernel, window)


def _depthwise_kernel(call: Call, value: Value) -> tuple[Floats, Window]:
    """Return a depthwise kernel as ONNX wants it: the outputs of each channel one after the other."""
    call.expect(dilation_rate=1)  # which TensorFlow.js 1.3.1 ignores
    channels, size = call.spatial(value)[2], call.pair("kernel_size", None)
    many = call.integer("depth_multiplier", call.option("depth_multiplier", 1), 1, MAX_VALUES)
    kernel = call.weight("depthwise_kernel", (*size, channels, many))
    window = window_of(call, value, size, call.pair("strides", 1))
    return kernel.transpose(2, 3, 0, 1).reshape(channels * many, 1, *size), window


def _depthwise(call: Call, inputs: Sequence[Value]) -> Value:
    kernel, window = _depthwise_kernel(call, inputs[0])
    return _convolution(call, inputs[0], kernel, window, group=inputs[0].shape[-1])


def _separable(call: Call, inputs: Sequence[Value]) -> Value:
    kernel, window = _depthwise_kernel(call, inputs[0])
    filters = call.integer("filters", call.option("filters"), 1, MAX_VALUES)
    weights = [inputs[0].name, call.constant("/depthwise", kernel)]
    name = call.node("Conv", weights, "/spread", group=inputs[0].shape[-1], **window.attributes)
    points = call.weight("pointwise_kernel", (1, 1, len(kernel), filters)).transpose(3, 2, 0, 1)
    spread = Value(name, (*window.size, len(kernel)))
    return _convolution(call, spread, points, window_of(call, spread, (1, 1), (1, 1)))


def _normalisation(call: Call, inputs: Sequence[Value]) -> Value:
    value, axis, rank = inputs[0], call.option("axis", -1), len(inputs[0].shape)
    if axis not in (-1, rank, [rank], [-1]):
        raise call.refuse(f"normalises axis {axis!r:.40}, wanted the last one")
    shape, epsilon = value.shape[-1:], call.option("epsilon", 1e-3)
    if type(epsilon) not in {int, float} or not 0 <= epsilon <= 1:
        raise call.refuse(f"has epsilon {epsilon!r:.40}")
    gamma = call.weight("gamma", shape) if call.flag("scale", default=True) else np.ones(shape, np.float32)
    beta = call.weight("beta", shape) if call.flag("center", default=True) else np.zeros(shape, np.float32)
    mean, variance = (call.weight(part, shape).astype(np.float64) for part in ("moving_mean", "moving_variance"))
    if (variance + epsilon <= 0).any():
        raise call.refuse("has a negative variance")
    with np.errstate(over="ignore"):  # infinite ones show in the answer
        scale = gamma / np.sqrt(variance + epsilon)
        numbers = {"/scale": scale.astype(np.float32), "/offset": (beta - mean * scale).astype(np.float32)}
    factors = [call.constant(part, _channels(value, found)) for part, found in numbers.items()]
    scaled = call.node("Mul", [value.name, factors[0]], "/scaled")
    return Value(call.node("Add", [scaled, factors[1]]), value.shape)


def _channels(value: Value, numbers: Floats) -> Floats:
    """Return one number per channel so that it is broadcast over a value."""
    return numbers.reshape(-1, 1, 1) if value.spatial else numbers


def _relu(call: Call, inputs: Sequence[Value]) -> Value:
    call.expect(negative_slope=0, threshold=0)
    high = call.option("max_value")
    if high is None:
        return Value(call.node("Relu", [inputs[0].name]), inputs[0].shape)
    if type(high) not in {int, float} or not 0 <= high <= 1e30:
        raise call.refuse(f"has max_value {high!r:.40}")
    return Value(_clipped(call, inputs[0].name, float(high)), inputs[0].shape)


def _softmax(call: Call, inputs: Sequence[Value]) -> Value:
    if call.option("axis", 1) not in (-1, len(inputs[0].shape)):
        raise call.refuse("runs over another axis than the last")
    return _activation(call, inputs[0], "softmax")


def _padding(call: Call, inputs: Sequence[Value]) -> Value:
    height, width, channels = call.spatial(inputs[0])
    found = call.option("padding", 1)
    sides = found if isinstance(found, list) else [found, found]
    pads = [side if isinstance(side, list) else [side, side] for side in sides]
    if len(pads) != 2 or any(len(side) != 2 for side in pads):
        raise call.refuse(f"has padding {found!r:.40}")
    (top, bottom), (left, right) = ([call.integer("padding", n, 0, MAX_WINDOW) for n in side] for side in pads)
    shape = (height + top + bottom, width + left + right, channels)
    constant = call.constant("/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return Value(call.node("Pad", [inputs[0].name, constant]), shape)


def _pool(op: str, **attributes: int) -> Writer:
    def write(call: Call, inputs: Sequence[Value]) -> Value:
        size = call.pair("pool_size", 2)
        window = window_of(call, inputs[0], size, call.pair("strides", list(size)))
        name = call.node(op, [inputs[0].name], **{**window.attributes, **attributes})
        return Value(name, (*window.size, inputs[0].shape[-1]))

    return write


def _global_pool(op: str) -> Writer:
    def write(call: Call, inputs: Sequence[Value]) -> Value:
        call.expect(keepdims=False)
        channels = call.spatial(inputs[0])[2]
        return Value(call.node("Flatten", [call.node(op, [inputs[0].name], "/4d")], axis=1), (channels,))

    return write


def _merge(op: str) -> Writer:
    def write(call: Call, inputs: Sequence[Value]) -> Value:
        shapes = [value.shape for value in inputs]
        if len(inputs) < 2 or len({len(shape) for shape in shapes}) > 1:
            raise call.refuse(f"reads {shapes!r:.80}, wanted two or more alike")
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise call.refuse(f"reads {shapes!r:.80}, which do not fit") from None
        name = inputs[0].name
        for number, value in enumerate(inputs[1:]):
            name = call.node(op, [name, value.name], f"/{number}")
        return Value(name, shape)

    return write


def _concatenation(call: Call, inputs: Sequence[Value]) -> Value:
    rank, axis = len(inputs[0].shape), call.option("axis", -1)
    if type(axis) is not int or not (-rank <= axis < 0 or 1 <= axis <= rank):
        raise call.refuse(f"has axis {axis!r:.40}")
    index = axis - 1 if axis > 0 else axis + rank
    shapes = [list(value.shape) for value in inputs]
    total = sum(shape[index] for shape in shapes if len(shape) == rank)
    alike = {(*shape[:index], total, *shape[index + 1 :]) for shape in shapes}
    if len(inputs) < 2 or len(alike) > 1:
        raise call.refuse(f"reads {shapes!r:.80}, which do not fit")
    return Value(call.node("Concat", [value.name for value in inputs], axis=inputs[0].axis(index)), alike.pop())


def _reshape(call: Call, inputs: Sequence[Value]) -> Value:
    wanted, total = call.option("target_shape"), math.prod(inputs[0].shape)
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= 4:
        raise call.refuse(f"has target_shape {wanted!r:.40}")
    sides = [-1 if side in (None, -1) else call.integer("target_shape", side, 1, MAX_VALUES) for side in wanted]
    known = math.prod(side for side in sides if side != -1)
    if sides.count(-1) > 1 or known > total or total % known or (-1 not in sides and known != total):
        raise call.refuse(f"makes {wanted!r:.40} of {list(inputs[0].shape)!r:.40}, which does not fit")
    return _shaped(call, inputs[0], tuple(total // known if side == -1 else side for side in sides))


def _flatten(call: Call, inputs: Sequence[Value]) -> Value:
    call.expect(data_format="channels_last")
    return _shaped(call, inputs[0], (math.prod(inputs[0].shape),))


def _shaped(call: Call, value: Value, shape: tuple[int, ...]) -> Value:
    """Write a change of shape: in TensorFlow.js's order of numbers, channels last."""
    name = call.node("Transpose", [value.name], "/last", perm=[0, 2, 3, 1]) if value.spatial else value.name
    name = call.node("Reshape", [name, call.constant("/shape", np.array([0, *shape], np.int64))], "/shaped")
    if Value(name, shape).spatial:
        name = call.node("Transpose", [name], "/first", perm=[0, 3, 1, 2])
    return Value(name, shape)


def _dense(call: Call, inputs: Sequence[Value]) -> Value:
    if len(inputs[0].shape) != 1:
        raise call.refuse(f"reads {list(inputs[0].shape)!r:.80}: put a Flatten or a pooling before it")
    units = call.integer("units", call.option("units"), 1, MAX_VALUES)
    weights = [call.constant("/kernel", call.weight("kernel", (*inputs[0].shape, units)))]
    if call.flag("use_bias", default=True):
        weights.append(call.constant("/bias", call.weight("bias", (units,))))
    name = call.node("Gemm", [inputs[0].name, *weights], "/product")
    return _activation(call, Value(name, (units,)), call.option("activation"))


def _input(call: Call, inputs: Sequence[Value]) -> Value:
    shape = call.option("batch_input_shape", [None, *inputs[0].shape])
    fits = isinstance(shape, list) and len(shape) == len(inputs[0].shape) + 1
    if not fits or any(side not in (None, found) for side, found in zip(shape[1:], inputs[0].shape, strict=True)):
        raise call.refuse(f"takes {shape!r:.80} and gets {list(inputs[0].shape)!r:.80}")
    call.expect(dtype="float32", sparse=False)
    return inputs[0]


_MERGING = frozenset({"Add", "Multiply", "Concatenate"})
_LAYERS: dict[str, Writer] = {
    "InputLayer": _input,
    "ZeroPadding2D": _padding,
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalisation,
    "ReLU": _relu,
    "Activation": lambda call, inputs: _activation(call, inputs[0], call.option("activation")),
    "Softmax": _softmax,
    "Add": _merge("Add"),
    "Multiply": _merge("Mul"),
    "Concatenate": _concatenation,
    "MaxPooling2D": _pool("MaxPool"),
    "AveragePooling2D": _pool("AveragePool", count_include_pad=0),
    "GlobalAveragePooling2D": _global_pool("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pool("GlobalMaxPool"),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Dropout": lambda _call, inputs: inputs[0],
    "Dense": _dense,
}
