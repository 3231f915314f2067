"""Refuse models that reach outside themselves, before anything runs them: other files, and code of others."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto

from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Operators that onnxruntime itself brings; any other would have to be loaded as a library."""

_MAX_NODES = 100_000


def parse_onnx(model: bytes, name: str) -> onnx.ModelProto:
    """Return an ONNX model that has all of its data in itself and no operators of others.

    Raises:
        BundleError: it is none, or reaches outside.
    """
    try:
        found = onnx.load_model_from_string(model)
    except Exception as exc:  # protobuf's errors are not exported where type checkers see them
        raise BundleError(f"{name} is no ONNX model ({exc}): train again") from exc
    for message in _messages(found):
        if isinstance(message, TensorProto) and (message.data_location or message.external_data):
            raise BundleError(f"{name} keeps {message.name!r:.80} in another file: save the model as one file")
        if isinstance(message, (onnx.NodeProto, onnx.OperatorSetIdProto)) and message.domain not in DOMAINS:
            raise _foreign(name, message.domain)
    return found


def check_ort(model: bytes, name: str) -> None:
    """Check that a model in ORT format has no operators of others.

    Raises:
        BundleError: it has, or it is no ORT file.
    """
    if model[4:8] != b"ORTM":
        raise BundleError(f"{name} is not in ORT format: convert the model to it")
    try:
        domains = set(_ort_domains(model))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, RecursionError, AssertionError) as exc:
        raise BundleError(f"{name} is damaged ({type(exc).__name__}): convert the model again") from exc
    unknown = domains - DOMAINS
    if unknown:
        raise _foreign(name, min(unknown))


def _foreign(name: str, domain: str) -> BundleError:
    return BundleError(f"{name} needs operators of {domain!r:.80}: convert it with standard operators only")


def _messages(root: Any) -> Iterator[Any]:
    """Yield a protobuf message and all that it contains; protobuf itself bounds how deep they are nested."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting.extend([value] if hasattr(value, "ListFields") else value)


def _ort_domains(model: bytes) -> Iterator[str]:
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (  # noqa: PLC0415 (slow)
        InferenceSession,
    )

    graphs = [InferenceSession.GetRootAs(model, 0).Model().Graph()]
    count = 0
    while graphs:
        graph = graphs.pop()
        for index in range(graph.NodesLength()):
            node = graph.Nodes(index)
            count += 1
            if count > _MAX_NODES:
                raise ValueError("too many nodes")
            yield (node.Domain() or b"").decode()
            graphs += _subgraphs(node)


def _subgraphs(node: Any) -> list[Any]:
    attributes = [node.Attributes(index) for index in range(node.AttributesLength())]
    nested = [attribute.Graphs(index) for attribute in attributes for index in range(attribute.GraphsLength())]
    return nested + [attribute.G() for attribute in attributes if attribute.G() is not None]
