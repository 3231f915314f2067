"""The JSON files of a bundle, as they go out and come in: metadata.json, manifest.json, the phone's description."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime  # noqa: TC003 (pydantic reads the annotation)
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = "1.0"
"""Version of the bundle's files; a reader refuses another major version."""

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE_RELEASE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION_PATTERN = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRE_RELEASE}(?:\.{_PRE_RELEASE})*)?$"
"""A model's version: semver, without build metadata, which storage paths could not hold."""

FILE_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"
"""Names of a bundle's files: plain in every storage, URL and shell."""

PRIVATE_FILES = frozenset({"report.json", "report.html"})
"""Files that a training writes beside the bundle and nobody serves: they list the training images."""

MAX_IMAGE_SIZE = 1024
"""Largest height and width of a picture that a model may ask for, in pixels."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Kind = Literal["shelfsight", "teachable-machine", "ort"]
"""Who made a bundle: we, Teachable Machine (a layers model alone), or somebody with an ORT file for phones."""


class Document(BaseModel):
    """Base of all files: camelCase outside, unknown fields kept out of the way of newer writers."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Return the document as it is written: indented UTF-8 with a newline at the end."""
        return (self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n").encode()


class Metadata(Document):
    """`metadata.json`: what a client needs beside the weights. Product ids only, never names or prices."""

    format_version: str = FORMAT_VERSION
    version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    trained_at: datetime
    channel_id: Annotated[str, Field(pattern=CHANNEL_PATTERN)]
    product_count: int
    image_count: int
    training_duration: float
    labels: tuple[str, ...]
    image_size: int = Field(ge=1, le=MAX_IMAGE_SIZE)
    model_type: str
    accuracy: float | None = None
    backbone: str | None = None  # of a bundle made elsewhere, nobody knows
    threshold: float = Field(ge=0, le=1)
    # What Teachable Machine's loader reads or checks:
    tfjs_version: str = "1.3.1"
    tm_version: str = "2.4.5"
    package_name: str = "@teachablemachine/image"
    package_version: str = "0.8.5"
    model_name: str
    time_stamp: datetime
    user_metadata: dict[str, Any] = Field(default_factory=dict)


class FileEntry(Document):
    """One file of a bundle."""

    name: str
    size: int
    media_type: str
    sha256: Sha256

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """Return the entry of a file that holds `data`."""
        kind = "application/json" if name.endswith(".json") else "application/octet-stream"
        return cls(name=name, size=len(data), media_type=kind, sha256=hashlib.sha256(data).hexdigest())


class BlobEntry(Document):
    """One immutable part of the sharded form, kept under its hash."""

    part: Literal["backbone", "projection", "head"]
    size: int
    sha256: Sha256


class BackboneEntry(Document):
    """Which backbone a bundle was made with."""

    name: str
    sha256: Sha256


class Manifest(Document):
    """`manifest.json`: every file with size, media type and hash; what it was made with."""

    format_version: str = FORMAT_VERSION
    kind: Kind = "shelfsight"
    version: str
    channel_id: str
    created_at: datetime
    code_version: str
    backbone: BackboneEntry | None = None
    settings: dict[str, Any]
    files: tuple[FileEntry, ...]
    blobs: tuple[BlobEntry, ...] = ()

    @model_validator(mode="after")
    def _ours_names_its_backbone(self) -> Self:
        if self.kind == "shelfsight" and self.backbone is None:
            raise ValueError("backbone: Field required")
        return self


class PhoneDescription(Document):
    """`{name}_v{version}.json`: what a phone app reads beside the ORT file."""

    version: str
    architecture: str
    quantization: Literal["INT8", "UINT8", "FP16", "FP32"] = "INT8"
    input_shape: tuple[int, int, int, int]
    delegates: tuple[str, ...] = ("xnnpack", "nnapi", "coreml")
    checksum_sha256: Sha256
    description: str
    last_updated: datetime


D = TypeVar("D", bound=Document)


def description_name(channel: str, version: str) -> str:
    """Return the file name of the phone's description."""
    return f"{channel}_v{version}.json"


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object in a file that anybody may have written, read as a browser reads it.

    Raises:
        BundleError: it is not UTF-8, no JSON, no object, nested too deep, or holds half a character.
    """
    try:
        found = json.loads(data.decode(), parse_constant=_refuse_constant)
        json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate could not be written again
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"{name} is no JSON document ({exc}): export it again") from exc
    if not isinstance(found, dict):
        raise BundleError(f"{name} holds no JSON object: export it again")
    return found


def parse_document(found: bytes | Mapping[str, Any], name: str, kind: type[D]) -> D:
    """Return a document of a kind, from the bytes of a file or from what was parsed of it.

    Raises:
        BundleError: a field is missing, or not what it should be.
    """
    try:
        return kind.model_validate(parse_object(found, name) if isinstance(found, bytes) else found)
    except ValidationError as exc:
        problem = exc.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "document"
        raise BundleError(f"{name} is damaged: {where}: {problem['msg']}") from exc


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
