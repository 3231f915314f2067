"""The JSON of storage's wire, as the clients send and read it; names and letters are Supabase's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError
from pydantic.alias_generators import to_camel

from shelfsight.delivery.supabase.rules import MAX_OBJECT_BYTES, NOT_SIGNED
from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from shelfsight.delivery.supabase.found import FoundObject

MOST_AT_ONCE = 1000
"""Paths of one call that signs or removes."""
MOST_SKIPPED = 100_000
"""Entries in front of a page of a list."""
_MOST_LISTED = 1000
_Paths = Annotated[list[StrictStr], Field(min_length=1, max_length=MOST_AT_ONCE)]


class Body(BaseModel):
    """Base of what clients send; what is not known is left alone, as Supabase does."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


B = TypeVar("B", bound=Body)


class SignBody(Body):
    """How long a signed URL shall last, in seconds."""

    expires_in: StrictInt | StrictFloat | StrictStr | None = None
    transform: dict[str, Any] | None = None


class SignManyBody(SignBody):
    """The same for several objects."""

    paths: _Paths


class RemoveBody(Body):
    """The objects to be removed; no folders, whatever the name says."""

    prefixes: _Paths


class SortBy(Body):
    """In which order to list."""

    column: Literal["name", "created_at", "updated_at", "last_accessed_at"] | None = None
    order: Literal["asc", "desc"] | None = None


class ListBody(Body):
    """Which part of one folder to list."""

    prefix: StrictStr = ""
    limit: StrictInt | None = Field(default=None, ge=1)
    offset: StrictInt | None = Field(default=None, ge=0, le=MOST_SKIPPED)
    search: StrictStr | None = None
    sort_by: SortBy | None = None

    @property
    def most(self) -> int:
        """How many entries to give."""
        return min(self.limit or 100, _MOST_LISTED)


class ListV2Body(Body):
    """Which page of all that begins with a prefix to list; `cursor` comes from the page before."""

    prefix: StrictStr | None = None
    limit: StrictInt | None = Field(default=None, ge=1)
    cursor: StrictStr | None = None
    with_delimiter: StrictBool | None = Field(default=None, alias="with_delimiter")
    sort_by: SortBy | None = None

    @property
    def most(self) -> int:
        """How many entries to give."""
        return min(self.limit or _MOST_LISTED, _MOST_LISTED)


class MoveBody(Body):
    """Which object to copy or move, and where to."""

    bucket_id: StrictStr
    source_key: StrictStr
    destination_key: StrictStr
    destination_bucket: StrictStr | None = None


class BucketBody(Body):
    """A bucket that somebody wants to make."""

    id: StrictStr = ""
    name: StrictStr = ""


def parse_body(kind: type[B], data: bytes) -> B:
    """Return what a client sent.

    Raises:
        UsageError: it is no such document.
    """
    try:
        return kind.model_validate_json(data or b"{}")
    except ValidationError as exc:
        problem = exc.errors()[0]
        where = ".".join(map(str, problem["loc"]))[:80] or "body"
        raise UsageError(f"{where}: {problem['msg']}") from exc


def iso(at: datetime) -> str:
    """Return an instant as Supabase writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def bucket_document(bucket: str, *, public: bool, created_at: datetime) -> dict[str, Any]:
    """Return a bucket."""
    return {
        "id": bucket,
        "name": bucket,
        "owner": "",
        "public": public,
        "type": "STANDARD",
        "file_size_limit": MAX_OBJECT_BYTES,
        "allowed_mime_types": None,
        "created_at": iso(created_at),
        "updated_at": iso(created_at),
    }


def info_document(found: FoundObject) -> dict[str, Any]:
    """Return what `info` says of an object."""
    return {
        "id": found.id,
        "name": found.path,
        "version": found.file.sha256,
        "bucket_id": found.bucket,
        "size": found.file.size_bytes,
        "content_type": found.media_type,
        "cache_control": found.cache_control,
        "etag": found.etag,
        "metadata": found.metadata,
        "last_modified": iso(found.updated_at),
        "created_at": iso(found.created_at),
    }


def object_document(found: FoundObject, *, name: str) -> dict[str, Any]:
    """Return an object as it is listed under `name`."""
    return {
        "name": name,
        "id": found.id,
        "updated_at": iso(found.updated_at),
        "created_at": iso(found.created_at),
        "last_accessed_at": iso(found.updated_at),
        "metadata": {
            "eTag": found.etag,
            "size": found.file.size_bytes,
            "mimetype": found.media_type,
            "cacheControl": found.cache_control,
            "lastModified": iso(found.updated_at),
            "contentLength": found.file.size_bytes,
            "httpStatusCode": 200,
        },
    }


def folder_document(name: str) -> dict[str, Any]:
    """Return a folder as it is listed."""
    times = dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata"))
    return {"name": name, **times}


def removed_document(found: FoundObject) -> dict[str, Any]:
    """Return an object that is no more."""
    return {**object_document(found, name=found.path), "bucket_id": found.bucket, "owner": ""}


def signed_document(path: str, url: str | None) -> dict[str, Any]:
    """Return one of several signed URLs; None for what cannot be signed."""
    return {"error": None if url else NOT_SIGNED, "path": path, "signedURL": url}
