"""What a request for a file asks for, and which answer it gets. Pure: values in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from shelfsight.access.rules import DEVICE_SCOPE, readable_channels
from shelfsight.bundle.documents import FILE_NAME_PATTERN, PRIVATE_FILES, VERSION_PATTERN
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.registry.layout import ROOT, SERVED_AT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.access.rules import Caller

PREFIX = f"{SERVED_AT}/{ROOT}/"
MANIFEST = "manifest.json"
LONGEST_PATH_BYTES = 1024
NO_MODEL = "No active model found"
"""What clients compare the `error` of a 404 with: they then show that recognition is not set up."""

_LONGEST_TOKEN_BYTES = 4096
_LONGEST_QUERY_BYTES = 6144
_LONGEST_LIST_BYTES = 4096  # of a header that holds a list; a longer one is as good as none
_LONGEST_RANGE_BYTES = 100
_CHANNEL, _VERSION, _NAME = (
    pattern.removeprefix("^").removesuffix("$") for pattern in (CHANNEL_PATTERN, VERSION_PATTERN, FILE_NAME_PATTERN)
)
_VERSION_FILE = re.compile(rf"{PREFIX}({_CHANNEL})/(?:latest|v({_VERSION}))/({_NAME})", re.ASCII)
_BLOB_FILE = re.compile(rf"{PREFIX}blobs/([0-9a-f]{{64}})\.bin", re.ASCII)
_POINTED = re.compile(rf"v({_VERSION})", re.ASCII)
_SAFE_NAME = re.compile(_NAME, re.ASCII)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_HOSTILE = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|//|[\\%\x00-\x1f\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFile:
    """A file of a version; `version` None is whichever `latest` points to."""

    channel: str
    version: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFile:
    """A part of the sharded form, by its hash."""

    sha256: str


class NoFile(StrEnum):
    """Why a path names no file that could exist; the last three are not asked for by accident."""

    UNKNOWN = "not_found"
    MALFORMED = "malformed_path"
    HOSTILE = "hostile_path"
    TOO_LONG = "path_too_long"


Target: TypeAlias = VersionFile | BlobFile | NoFile


def parse_path(raw: bytes) -> Target:
    """Return what a request's path names, given as it was sent. Percent-encoding is undone once."""
    return NoFile.TOO_LONG if len(raw) > LONGEST_PATH_BYTES else _parse_path(raw)


@lru_cache(maxsize=1024)
def _parse_path(raw: bytes) -> Target:
    if b"%" in raw and _BAD_ESCAPE.search(raw):
        return NoFile.MALFORMED
    if _ENCODED_SLASH.search(raw):  # a slash that a proxy in front takes for a part of a name
        return NoFile.HOSTILE
    path = unquote_to_bytes(raw).decode("latin-1")
    if found := _VERSION_FILE.fullmatch(path):
        return VersionFile(channel=found[1], version=found[2], name=found[3])
    if found := _BLOB_FILE.fullmatch(path):
        return BlobFile(sha256=found[1])
    return NoFile.HOSTILE if _HOSTILE.search(path) else NoFile.UNKNOWN


def pointed_version(name: str | None) -> str | None:
    """Return the version in a pointer's `v1.4.2`, None where it names none."""
    found = _POINTED.fullmatch(name or "")
    return found[1] if found else None


def is_public_name(name: str) -> bool:
    """Return whether a file may be asked for by `name`, if the manifest has it."""
    return name not in PRIVATE_FILES and _SAFE_NAME.fullmatch(name) is not None


_PHONE_MODEL = "model.ort"


def checksum_fits(hashes: Mapping[str, str], checksum_sha256: str) -> bool:
    """Return whether a row's checksum is that of a version with these files ("" is that of any).

    It is the hash of `model.ort`; of a bundle without one, that of any file.
    """
    phone_model = hashes.get(_PHONE_MODEL)
    fitting = hashes.values() if phone_model is None else (phone_model,)
    return not checksum_sha256 or checksum_sha256 in fitting


class Encoding(StrEnum):
    """How an answer's body is compressed."""

    IDENTITY = "identity"
    GZIP = "gzip"
    ZSTD = "zstd"


_PREFERENCE = (Encoding.ZSTD, Encoding.GZIP, Encoding.IDENTITY)  # among those a client likes equally


def acceptable_encodings(accept: bytes | None) -> tuple[Encoding, ...]:
    """Return the encodings that an Accept-Encoding header takes, best first; empty when it takes none of ours.

    Without a header, or with one that is no list, identity alone is taken. Identity is taken unless it is refused,
    but only by name is it ever better than another.
    """
    if accept is None or len(accept) > _LONGEST_LIST_BYTES:
        return (Encoding.IDENTITY,)
    return _acceptable_encodings(accept)


@lru_cache(maxsize=256)
def _acceptable_encodings(accept: bytes) -> tuple[Encoding, ...]:
    weights: dict[str, float] = {}
    for item in accept.decode("latin-1").lower().split(","):
        coding, _, parameters = item.partition(";")
        weights.setdefault(coding.strip(), _weight(parameters))
    if "x-gzip" in weights:
        weights.setdefault("gzip", weights["x-gzip"])
    others = weights.get("*", 0.0)
    liked = {encoding: weights.get(encoding, others) for encoding in _PREFERENCE}
    if "identity" not in weights:
        liked[Encoding.IDENTITY] = 0.0 if weights.get("*") == 0.0 else 1e-9
    return tuple(sorted((one for one in _PREFERENCE if liked[one] > 0), key=lambda one: -liked[one]))


def _weight(parameters: str) -> float:
    """Return the q of an item, 0..1; one that is no number takes nothing."""
    name, equals, value = parameters.strip().partition("=")
    if not equals or name.strip() != "q":
        return 1.0
    found = re.fullmatch(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", value.strip(), re.ASCII)
    return float(found[0]) if found else 0.0


def pays(media_type: str, size_bytes: int, compressed_bytes: int) -> bool:
    """Return whether a compressed form is worth keeping: less than 90 %; of JSON, anything less than all."""
    return compressed_bytes < size_bytes * (1.0 if media_type == "application/json" else 0.9)


def etag_of(sha256: str, encoding: Encoding) -> bytes:
    """Return the strong entity tag of a file in one encoding."""
    return f'"{sha256}"'.encode() if encoding is Encoding.IDENTITY else f'"{sha256}-{encoding}"'.encode()


_TAGS = re.compile(rb'[ \t,]*(?:(\*)|(W/)?("[\x21\x23-\x7e\x80-\xff]*"))[ \t]*(?=,|$)')


def parse_etags(header: bytes) -> frozenset[bytes]:
    """Return the tags of an If-None-Match header without their W/; `*` is one. What follows a mistake is left out."""
    tags: set[bytes] = set()
    position = 0
    header = header[:_LONGEST_LIST_BYTES]
    while found := _TAGS.match(header, position):
        tags.add(found[1] or found[3])
        position = found.end()
    return frozenset(tags)


def known_encoding(if_none_match: bytes, sha256: str, acceptable: tuple[Encoding, ...]) -> Encoding | None:
    """Return the encoding in which the client has the file already, the best that it takes; None where it has none.

    Any encoding of the same content counts, not only the one that would be sent now: whether the compressed form is
    ready must not make a client that has it download the file again.
    """
    tags = parse_etags(if_none_match)
    if b"*" in tags:
        return next(iter(sorted(acceptable, key=_PREFERENCE.index, reverse=True)), None)  # identity, if it is taken
    return next((encoding for encoding in acceptable if etag_of(sha256, encoding) in tags), None)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to but not including `end`."""

    start: int
    end: int


class NoRange(StrEnum):
    """Why an answer has no part: the whole file is sent, or 416."""

    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


_RANGE = re.compile(rb"bytes[ \t]*=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)


def parse_range(header: bytes | None, size_bytes: int) -> ByteRange | NoRange:
    """Return which bytes a Range header wants of a file; anything but a single range of bytes wants the whole."""
    found = _RANGE.fullmatch(header) if header and len(header) <= _LONGEST_RANGE_BYTES else None
    if found is None or not (found[1] or found[2]):
        return NoRange.WHOLE
    if not found[1]:
        start, end = max(0, size_bytes - int(found[2])), size_bytes
    else:
        start, end = int(found[1]), int(found[2]) + 1 if found[2] else size_bytes
        if end <= start and found[2]:
            return NoRange.WHOLE
    end = min(end, size_bytes)
    return ByteRange(start, end) if start < end else NoRange.UNSATISFIABLE


def range_applies(if_range: bytes | None, sha256: str) -> bool:
    """Return whether a Range header counts: If-Range is absent, or the strong tag of the uncompressed file."""
    return if_range is None or if_range.strip() == etag_of(sha256, Encoding.IDENTITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How an answer may be kept: `private` by the client alone, `immutable` without ever asking again."""

    private: bool
    immutable: bool


def cache_control(policy: Policy) -> bytes:
    """Return the Cache-Control of a file."""
    if policy.immutable:
        return (b"private" if policy.private else b"public") + b", max-age=31536000, immutable"
    return b"private, no-cache" if policy.private else b"no-cache"


def vary(policy: Policy, *, compressible: bool) -> bytes:
    """Return the names of the request's headers that the answer depends on; empty for none."""
    names = [b"Accept-Encoding"] if compressible else []
    if policy.private:
        names += [b"Authorization", b"apikey"]
    return b", ".join(names)


_HARMLESS_TYPES = frozenset({"application/json", "application/octet-stream", "application/wasm", "text/plain"})


def served_type(media_type: str) -> str:
    """Return the Content-Type for a manifest's media type.

    A bundle can come from elsewhere: what a browser would show as a page, or run, is bytes to be downloaded.
    """
    return media_type if media_type in _HARMLESS_TYPES else "application/octet-stream"


def bearer_tokens(authorization: bytes | None, apikey: bytes | None, query: bytes) -> tuple[str, ...]:
    """Return the tokens that a request brings, each once: of Authorization, of apikey, of `?token=`."""
    given: list[bytes] = []
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        given.append(authorization[7:])
    if apikey is not None:
        given.append(apikey)
    in_query = query_value(query, b"token")
    if in_query is not None:
        given.append(in_query)
    tokens = (one.strip().decode("latin-1") for one in given if len(one) <= _LONGEST_TOKEN_BYTES)
    return tuple(dict.fromkeys(token for token in tokens if token))


def channel_named_by(caller: Caller) -> str | None:
    """Return the channel that a token is about: that of a device, or the only one that a program may read.

    None for a token of several, and for an administrator's.
    """
    if DEVICE_SCOPE in caller.scopes:
        return caller.channel
    readable = readable_channels(caller)
    return next(iter(readable)) if readable is not None and len(readable) == 1 else None


def query_value(query: bytes, name: bytes) -> bytes | None:
    """Return the first value of a parameter, None without one, or where the query is too long to be looked at."""
    if not query or len(query) > _LONGEST_QUERY_BYTES:
        return None
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if key == name:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None


_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9 ._()-]")
_LONGEST_FILE_NAME = 200


def attachment(name: str) -> bytes:
    """Return a Content-Disposition that makes a browser save a file; under `name`, unless that is empty.

    Whatever the name holds, the header is one line of ASCII: RFC 6266, with the name as RFC 8187 has it beside the
    one for old clients.
    """
    short = name[:_LONGEST_FILE_NAME].encode("utf-8", "replace").decode()
    if not short:
        return b"attachment"
    plain = _UNSAFE_IN_NAMES.sub("_", short)
    header = f'attachment; filename="{plain}"'
    if plain != short:
        header += f"; filename*=UTF-8''{quote(short, safe='')}"
    return header.encode("ascii")
