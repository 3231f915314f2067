"""Read the weights of a TensorFlow.js layers model: bytes that anybody may have written, as `model.json` says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfsight.bundle.coding import Coded
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shelfsight.bundle.coding import Floats

MAX_PARAMETERS = 60_000_000
"""Most weights of a model: 15 times those of MobileNet."""

_SHARD = re.compile(r"(?:\./)?([A-Za-z0-9][A-Za-z0-9_.-]{0,199}\.bin)")
_CODES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}
_FLOAT = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    minimum: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def values(self, data: bytes) -> Floats:
        codes = np.frombuffer(data, self.dtype).reshape(self.shape)
        if self.dtype == _FLOAT:
            return codes.astype(np.float32)
        return Coded(codes=codes, minimum=self.minimum, scale=self.scale).values()


def shard_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the files that `weightsManifest` of a `model.json` reads, in order.

    Raises:
        BundleError: it has none, or one that is no plain `.bin` file beside it.
    """
    names: list[str] = []
    for group in _groups(document):
        for path in _list(group.get("paths"), "paths"):
            found = _SHARD.fullmatch(path) if isinstance(path, str) else None
            if found is None:
                raise BundleError(f"model.json reads its weights from {path!r:.80}: name a .bin file beside it")
            names.append(found[1])
    if not names:
        raise BundleError("model.json reads no weights: export the model with its weights")
    if len(set(names)) < len(names):
        raise BundleError("model.json reads the same file of weights twice: export the model again")
    return tuple(names)


def read_weights(document: Mapping[str, Any], shards: Mapping[str, bytes]) -> dict[str, Floats]:
    """Return every weight by its name, decoded as TensorFlow.js decodes it.

    Args:
        shards: bytes of the files that `shard_names` returns, by name.

    Raises:
        BundleError: the manifest is damaged, too large, does not fill its files, or a weight is no number.
    """
    waiting = iter(shard_names(document))
    described = [(_list(group.get("paths"), "paths"), _entries(group)) for group in _groups(document)]
    if sum(entry.size for _, entries in described for entry in entries) > MAX_PARAMETERS:
        raise BundleError(f"model.json has more than {MAX_PARAMETERS:,} weights: upload a smaller model")
    weights: dict[str, Floats] = {}
    for paths, entries in described:
        data = b"".join(_shard(shards, next(waiting)) for _ in paths)
        needed = sum(entry.size * entry.dtype.itemsize for entry in entries)
        if len(data) != needed:
            raise BundleError(f"the weights have {len(data):,} bytes, model.json wants {needed:,}: upload them again")
        for name, values in _decoded(entries, data):
            if name in weights:
                raise BundleError(f"model.json has the weight {name!r:.80} twice: export the model again")
            weights[name] = values
    return weights


def _groups(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_dict(group, "weightsManifest") for group in _list(document.get("weightsManifest"), "weightsManifest")]


def _shard(shards: Mapping[str, bytes], name: str) -> bytes:
    if name not in shards:
        raise BundleError(f"model.json reads its weights from {name}, which is not there: upload that file too")
    return shards[name]


def _decoded(entries: list[_Entry], data: bytes) -> Iterator[tuple[str, Floats]]:
    start = 0
    for entry in entries:
        end = start + entry.size * entry.dtype.itemsize
        values = entry.values(data[start:end])
        if not np.isfinite(values).all():
            raise BundleError(f"the weight {entry.name!r:.80} is not a number everywhere: train the model again")
        yield entry.name, values
        start = end


def _entries(group: Mapping[str, Any]) -> list[_Entry]:
    return [_entry(_dict(entry, "weights")) for entry in _list(group.get("weights"), "weights")]


def _entry(entry: Mapping[str, Any]) -> _Entry:
    name, shape = entry.get("name"), _list(entry.get("shape"), "shape")
    if not isinstance(name, str) or not all(type(side) is int and 1 <= side <= MAX_PARAMETERS for side in shape):
        raise BundleError(f"model.json has a weight {name!r:.80} of shape {shape!r:.80}: export the model again")
    if len(shape) > 8:
        raise BundleError(f"the weight {name!r:.80} has {len(shape)} dimensions: no supported layer has such a one")
    if entry.get("dtype") != "float32":
        raise BundleError(f"the weight {name!r:.80} is {entry.get('dtype')!r:.40}: layers read float32 weights")
    if "quantization" not in entry:
        return _Entry(name=name, shape=tuple(shape), dtype=_FLOAT)
    coding = _dict(entry["quantization"], "quantization")
    minimum, scale = (_number(coding.get(part)) for part in ("min", "scale"))
    dtype = next((dtype for name, dtype in _CODES.items() if coding.get("dtype") == name), None)
    if dtype is None or minimum is None or scale is None:
        raise BundleError(f"the weight {name!r:.80} is coded as {coding!r:.80}: use uint8 or uint16, min and scale")
    return _Entry(name=name, shape=tuple(shape), dtype=dtype, minimum=minimum, scale=scale)


def _number(value: object) -> float | None:
    """Return a number that stays finite when it is multiplied by a code."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e30 else None


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise BundleError(f"model.json has no list {name}: export the model again as a layers model")
    return value


def _dict(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError(f"model.json has something else than objects in {name}: export the model again")
    return value
