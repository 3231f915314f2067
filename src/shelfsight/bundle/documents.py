"""The JSON files of a bundle, as they go out and come in: metadata.json, manifest.json, the phone's description."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 (pydantic reads the annotation)
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

FORMAT_VERSION = "1.0"
"""Version of the bundle's files; a reader refuses another major version."""

_NUMBER = r"(0|[1-9][0-9]*)"
_PRE_RELEASE = rf"({_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION_PATTERN = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE_RELEASE}(\.{_PRE_RELEASE})*)?$"
"""A model's version: semver, without build metadata, which storage paths could not hold."""

CHANNEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""A channel's id: safe in a path, a URL and a file name everywhere."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
    image_size: int
    model_type: str
    accuracy: float | None = None
    backbone: str
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
    version: str
    channel_id: str
    created_at: datetime
    code_version: str
    backbone: BackboneEntry
    settings: dict[str, Any]
    files: tuple[FileEntry, ...]
    blobs: tuple[BlobEntry, ...]


class PhoneDescription(Document):
    """`{name}_v{version}.json`: what a phone app reads beside the ORT file."""

    version: str
    architecture: str
    quantization: Literal["INT8"] = "INT8"
    input_shape: tuple[int, int, int, int]
    delegates: tuple[str, ...] = ("xnnpack", "nnapi", "coreml")
    checksum_sha256: Sha256
    description: str
    last_updated: datetime
