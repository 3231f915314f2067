"""Backbones: the shared convolutional part, kept as one safetensors file each.

The file holds the weights as uint16 codes, the network's description, the ranges its activations take (for INT8),
and the projection that belongs to this generation (for heads of thousands of products). Its SHA-256 is the
backbone's identity: embeddings are cached under it, and devices share its blob by it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shelfsight.bundle.coding import Coded, decoded
from shelfsight.bundle.network import LAYERS, Affine, Conv, Layer, Network
from shelfsight.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shelfsight.bundle.coding import Floats

DEFAULT = "mobilenet_v2_224"
"""Name of the backbone that is shipped with the package."""

PROJECTION = "projection/kernel"
_FORMAT = "backbone-1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backbone:
    """A convolutional network with its weights.

    Attributes:
        name: file name without ending, such as `mobilenet_v2_224`.
        model_type: family, as `metadata.json` names it, such as `mobilenet`.
        digest: SHA-256 of the backbone's file, hexadecimal.
        tensors: weights by `layer/part`, kernels as codes, vectors as float32; and `projection/kernel`.
        ranges: lowest and highest value of each layer's output on calibration pictures, for INT8.
    """

    name: str
    model_type: str
    digest: str
    network: Network
    tensors: Mapping[str, Coded | Floats]
    ranges: Mapping[str, tuple[float, float]]

    @property
    def embedding_size(self) -> int:
        """Length of an embedding."""
        last = [layer for layer in self.network.layers if isinstance(layer, Conv)][-1]
        return int(self.values(f"{last.name}/bias").shape[0])

    @property
    def projection(self) -> Coded:
        """The projection of this generation, (embedding size, projected size).

        Raises:
            BackboneError: this backbone has none.
        """
        projection = self.tensors.get(PROJECTION)
        if not isinstance(projection, Coded):
            raise BackboneError(f"backbone {self.name} has no projection, which a head of so many products needs")
        return projection

    def values(self, tensor: str) -> Floats:
        """Return a weight tensor as float32.

        Raises:
            BackboneError: there is no tensor of that name.
        """
        try:
            return decoded(self.tensors[tensor])
        except KeyError:
            raise BackboneError(f"backbone {self.name} has no tensor {tensor!r}") from None


def read_backbone(data: bytes, *, name: str) -> Backbone:
    """Return the backbone held in `data`, the bytes of a backbone file.

    Raises:
        BackboneError: the bytes are damaged or are no backbone of this format.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        about = json.loads(header["shelfsight"])
        if about["format"] != _FORMAT:
            raise BackboneError(f"backbone {name} has format {about['format']!r}, this version reads {_FORMAT!r}")
        backbone = Backbone(
            name=name,
            model_type=about["model_type"],
            digest=hashlib.sha256(data).hexdigest(),
            network=Network(input_size=about["input_size"], layers=tuple(map(_layer, about["layers"]))),
            tensors={key: _tensor(array, about["coding"].get(key)) for key, array in load(data).items()},
            ranges={key: (low, high) for key, (low, high) in about["ranges"].items()},
        )
    except (SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise BackboneError(f"backbone {name} is damaged ({exc}): install the package again") from exc
    for layer in backbone.network.layers:
        for part in _parts(layer):
            backbone.values(f"{layer.name}/{part}")
        if layer.name != backbone.network.output and layer.name not in backbone.ranges:
            raise BackboneError(f"backbone {name} has no range for layer {layer.name!r}, which INT8 needs")
    return backbone


def write_backbone(backbone: Backbone) -> bytes:
    """Return the bytes of a backbone file; the same backbone always gives the same bytes."""
    about = {
        "format": _FORMAT,
        "model_type": backbone.model_type,
        "input_size": backbone.network.input_size,
        "layers": [asdict(layer) for layer in backbone.network.layers],
        "coding": {
            key: {"minimum": tensor.minimum, "scale": tensor.scale}
            for key, tensor in sorted(backbone.tensors.items())
            if isinstance(tensor, Coded)
        },
        "ranges": backbone.ranges,
    }
    arrays = {  # safetensors writes an array's memory as it lies, so it has to lie in C order
        key: np.ascontiguousarray(tensor.codes if isinstance(tensor, Coded) else tensor)
        for key, tensor in backbone.tensors.items()
    }
    # One entry: with several, safetensors writes them in an order that changes from run to run.
    return save(arrays, metadata={"shelfsight": json.dumps(about, separators=(",", ":"))})


@lru_cache(maxsize=4)
def load_backbone(name: str = DEFAULT) -> Backbone:
    """Return a backbone by the name of a shipped one, or by the path of a backbone file.

    Raises:
        BackboneError: there is no such backbone, or its file is damaged.
    """
    shipped = resources.files("shelfsight.data") / f"{name}.safetensors"
    place = Path(name)
    if place.suffix == ".safetensors" and place.is_file():
        return read_backbone(place.read_bytes(), name=place.stem)
    if not shipped.is_file():
        raise BackboneError(f"there is no backbone {name!r}: name a shipped one or a .safetensors file")
    return read_backbone(shipped.read_bytes(), name=name)


def _layer(fields: dict[str, Any]) -> Layer:
    kind: Callable[..., Layer] = LAYERS[fields.pop("op")]
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


def _tensor(array: Any, coding: dict[str, float] | None) -> Coded | Floats:
    return array if coding is None else Coded(codes=array, minimum=coding["minimum"], scale=coding["scale"])


def _parts(layer: object) -> tuple[str, ...]:
    match layer:
        case Conv():
            return ("kernel", "bias")
        case Affine():
            return ("scale", "offset")
        case _:
            return ()
