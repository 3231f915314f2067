"""How a model is cut into the three files that Vendure keeps, and what they are called there. Pure.

A page loads a layers model by the URL of its `model.json`, and finds the weights by putting a path in that file
behind the folder of that URL: a relative path, never a whole URL. Vendure gives every file a folder of its own.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from shelfsight.bundle.documents import parse_object
from shelfsight.errors import BundleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODEL_TAG = "ml-model"
ARRANGEMENTS_MOST = 5
_ZEROS = bytes(8)
_TO_ROOT = "../" * 8
_USER = "userDefinedMetadata"
_TOLD = ("metadata", "metadataSha256", "weightsSha256")
_BYTES = {"float32": 4, "int32": 4, "float16": 2, "uint16": 2, "uint8": 1, "bool": 1}
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
_NUMBERED = re.compile(r"v[0-9]")
_DEPLOYMENT = re.compile(r"-([0-9a-f]{12})\.(?:json|bin)$")


class Role(StrEnum):
    """What a file is to a model."""

    MODEL = "model"
    WEIGHTS = "weights"
    METADATA = "metadata"

    @property
    def ending(self) -> str:
        """How its name ends."""
        return "bin" if self is Role.WEIGHTS else "json"

    @property
    def media_type(self) -> str:
        """What it is called on the web."""
        return "application/octet-stream" if self is Role.WEIGHTS else "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A layers model as its maker wrote it.

    Attributes:
        weights: the files of weights by name.
    """

    model: bytes
    weights: Mapping[str, bytes]
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a deployed `model.json` tells of the other two files, in TensorFlow.js' `userDefinedMetadata`.

    Attributes:
        metadata_path: of `metadata.json`, relative to `model.json`.
    """

    metadata_path: str
    metadata_sha256: str
    weights_sha256: str

    @property
    def document(self) -> dict[str, str]:
        """As it is written."""
        return dict(zip(_TOLD, (self.metadata_path, self.metadata_sha256, self.weights_sha256), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """A layers model whose weights are one file, in some order.

    Attributes:
        entries: what the weights are, in the order of their bytes.
    """

    document: Mapping[str, Any]
    entries: tuple[Mapping[str, Any], ...]
    weights: bytes

    def model_json(self, weights_path: str, told: Told | None = None) -> bytes:
        """Return a `model.json` that finds its weights at a path relative to itself, and tells of the other files."""
        changed = {**self.document, "weightsManifest": [{"paths": [weights_path], "weights": list(self.entries)}]}
        if told is not None:
            changed[_USER] = {**_of_user(self.document), **told.document}
        return json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode()


def arranged(files: ModelFiles) -> Arrangement:
    """Return a model with all of its weights in one file: Vendure would put each file of them into another folder.

    Raises:
        UsageError: a file of weights is missing, or is one too many.
        BundleError: `model.json` is damaged, or the weights do not fill it.
    """
    document = parse_object(files.model, "model.json")
    groups = document.get("weightsManifest")
    if not isinstance(groups, list) or not groups or not all(isinstance(group, dict) for group in groups):
        raise BundleError("model.json reads no weights: export the model as a layers model, with its weights")
    waiting = _by_path(weight_paths(document), files.weights)
    entries: list[Mapping[str, Any]] = []
    weights = b""
    for group in groups:
        data = b"".join(waiting[path] for path in group["paths"])
        needed = sum(_size(entry) for entry in _entries(group))
        if len(data) != needed:
            raise BundleError(f"the weights have {len(data):,} bytes, model.json wants {needed:,}: export both again")
        entries += _entries(group)
        weights += data
    return Arrangement(document=document, entries=tuple(entries), weights=weights)


def weight_paths(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the files that a `model.json` reads its weights from, in order.

    Raises:
        BundleError: it names none.
    """
    groups = document.get("weightsManifest")
    paths: list[str] = []
    for group in groups if isinstance(groups, list) else []:
        found = group.get("paths") if isinstance(group, dict) else None
        if not isinstance(found, list) or not all(isinstance(path, str) and path for path in found):
            raise BundleError("model.json names no files of weights: export the model again as a layers model")
        paths += found
    if not paths:
        raise BundleError("model.json reads no weights: export the model as a layers model, with its weights")
    if len(set(paths)) < len(paths):
        raise BundleError("model.json reads a file of weights twice: export the model again")
    return tuple(paths)


def arrangements(first: Arrangement) -> Iterator[Arrangement]:
    """Yield a model with its weights in other orders, each beginning with other bytes; as it is, first.

    Vendure guesses a file's kind by its first bytes, and weights may look like anything. Those that begin with zeros
    look like nothing, so they come next. TensorFlow.js finds weights by name, and refuses ones that no layer has: a
    few bytes of our own in front of them would not do.
    """
    yield first
    parts = _parts(first)
    begun = {first.weights[: len(_ZEROS)]}
    tried = 1
    for index in sorted(range(len(parts)), key=lambda one: not parts[one][1].startswith(_ZEROS)):
        beginning = parts[index][1][: len(_ZEROS)]
        if beginning in begun or len(beginning) < len(_ZEROS):
            continue
        if tried == ARRANGEMENTS_MOST:
            return
        begun.add(beginning)
        tried += 1
        order = [parts[index], *parts[:index], *parts[index + 1 :]]
        yield Arrangement(
            document=first.document,
            entries=tuple(entry for entry, _ in order),
            weights=b"".join(data for _, data in order),
        )


def is_same_model(wanted: Arrangement, model: bytes, weights: bytes) -> bool:
    """Return whether what is deployed is this model, in whatever order and under whatever paths."""
    try:
        there = arranged(ModelFiles(model=model, weights={"weights.bin": weights}, metadata=b""))
    except (BundleError, UsageError):
        return False
    return (
        _of_maker(there) == _of_maker(wanted)
        and len(there.entries) == len(wanted.entries)
        and _by_name(there) == _by_name(wanted)
    )


def version_name(version: str) -> str:
    """Return a version as tags and fields hold it: `v1.4.2`, `v3fa81c2` of a commit.

    Raises:
        UsageError: it is none.
    """
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{version[:80]!r} is no version: use letters, digits, dots and hyphens, such as 1.4.2")
    return version if _NUMBERED.match(version) else f"v{version}"


def tags_of(channel_id: str, version: str, trained_at: datetime) -> tuple[str, ...]:
    """Return the tags of a version's assets; `version` as `version_name` returns it."""
    return (*channel_tags(channel_id), version, f"trained-{trained_at.astimezone(UTC):%Y-%m-%d}")


def channel_tags(channel_id: str) -> tuple[str, str]:
    """Return the tags that all of a channel's models have."""
    return MODEL_TAG, f"channel-{channel_id}"


def file_name(role: Role, version: str, deployment: str) -> str:
    """Return a name that no other asset has: Vendure mixes up the contents of equal names.

    Args:
        deployment: twelve hexadecimal digits.
    """
    return f"{role}-{re.sub(r'[^a-z0-9.]+', '-', version.lower())}-{deployment}.{role.ending}"


def deployment_of(name: str) -> str:
    """Return which deployment an asset of that name is of, empty where somebody else named it."""
    found = _DEPLOYMENT.search(name)
    return found[1] if found else ""


def role_of(name: str) -> Role:
    """Return what the asset of that name is to its model."""
    if name.endswith(f".{Role.WEIGHTS.ending}"):
        return Role.WEIGHTS
    return Role.METADATA if "metadata" in name else Role.MODEL


def rooted_path(url: str) -> str:
    """Return the path to a file from any other of the same server, wherever Vendure puts that: by way of the root.

    There is no way up from the root, so more steps up than there are folders lead there, too.
    """
    return _TO_ROOT + urlsplit(url).path.removeprefix("/")


def told_in(document: Mapping[str, Any]) -> Told | None:
    """Return what a deployed `model.json` tells of the other two files; None of one that we did not deploy."""
    user = _of_user(document)
    path, metadata, weights = (user.get(name) for name in _TOLD)
    if not (isinstance(path, str) and isinstance(metadata, str) and isinstance(weights, str)):
        return None
    return Told(metadata_path=path, metadata_sha256=metadata, weights_sha256=weights)


def found_from(model_url: str, path: str) -> str:
    """Return the URL that a page reads for a path in the `model.json` at a URL."""
    return urljoin(model_url.partition("?")[0], path)


def trained_at_of(metadata: Mapping[str, Any]) -> datetime | None:
    """Return when a model was trained, as its `metadata.json` says, UTC; None where it does not."""
    for name in ("trainedAt", "timeStamp"):
        try:
            found = datetime.fromisoformat(str(metadata.get(name)))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _by_path(paths: tuple[str, ...], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the bytes of every path; of one path and one file, the names may differ."""
    if len(paths) == len(files) == 1:
        return {paths[0]: next(iter(files.values()))}
    names = {path: posixpath.basename(path) for path in paths}
    missing = sorted(set(names.values()) - set(files))
    if missing:
        raise UsageError(f"File not found: model.json reads its weights from {missing[0]}: name that file, too")
    others = sorted(set(files) - set(names.values()))
    if others:
        raise UsageError(f"model.json does not read {others[0]}: name the files of its weights only")
    return {path: files[name] for path, name in names.items()}


def _entries(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = group.get("weights")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BundleError("model.json does not say what its weights are: export the model again")
    return entries


def _size(entry: Mapping[str, Any]) -> int:
    """Return how many bytes a weight has."""
    try:
        coding = entry.get("quantization") or entry
        return math.prod(int(side) for side in entry["shape"]) * _BYTES[coding["dtype"]]
    except (KeyError, TypeError, ValueError) as exc:
        name = str(entry.get("name"))[:80]
        raise BundleError(f"model.json has a weight {name!r} of unknown size: export the model again") from exc


def _parts(arrangement: Arrangement) -> list[tuple[Mapping[str, Any], bytes]]:
    parts, start = [], 0
    for entry in arrangement.entries:
        end = start + _size(entry)
        parts.append((entry, arrangement.weights[start:end]))
        start = end
    return parts


def _by_name(arrangement: Arrangement) -> dict[str, tuple[Mapping[str, Any], bytes]]:
    return {str(entry.get("name")): (entry, data) for entry, data in _parts(arrangement)}


def _of_maker(arrangement: Arrangement) -> dict[str, Any]:
    """Return a model's document without what a deployment changes."""
    kept = {name: value for name, value in arrangement.document.items() if name not in {"weightsManifest", _USER}}
    user = {name: value for name, value in _of_user(arrangement.document).items() if name not in _TOLD}
    return {**kept, _USER: user}


def _of_user(document: Mapping[str, Any]) -> dict[str, Any]:
    found = document.get(_USER)
    return found if isinstance(found, dict) else {}
