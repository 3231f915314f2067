"""What Supabase's clients ask of storage, which values of theirs are kept, and how they are sent back. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from shelfsight.bundle.documents import VERSION_PATTERN, description_name
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.errors import NotFoundError, UsageError
from shelfsight.registry.layout import ROOT, phone_file

STORAGE_PREFIX = "/storage/v1/"
MODELS = ROOT
"""The bucket of published files, `{channel}/v{version}/{file}`; read only."""
PHONES = "assessment-models"
"""The bucket of a channel: its phone files, and what the channel uploads."""
BUCKETS = (PHONES, MODELS)

MAX_OBJECT_BYTES = 50 * 2**20
LONGEST_PATH = 1024

# What Supabase itself answers, word for word: apps compare them.
NO_BUCKET = "Bucket not found"
NO_OBJECT = "Object not found"
NOT_SIGNED = "Either the object does not exist or you do not have access to it"
DUPLICATE = "The resource already exists"
TOO_LARGE = "The object exceeded the maximum allowed size"

PRIVATE = "this channel is private: send a key that may read it"

_LONGEST_RAW = 4 * LONGEST_PATH
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9_/!\-.*'() &$@=;:+,]+", re.ASCII)  # Supabase's own, but for the question mark


class Call(StrEnum):
    """What is asked of storage."""

    LIST_BUCKETS = "list_buckets"
    BUCKET = "bucket"
    MAKE_BUCKET = "make_bucket"
    DOWNLOAD = "download"
    PUBLIC = "public"
    SIGNED = "signed"
    INFO = "info"
    SIGN = "sign"
    SIGN_MANY = "sign_many"
    SIGN_UPLOAD = "sign_upload"
    UPLOAD = "upload"
    UPLOAD_SIGNED = "upload_signed"
    LIST = "list"
    LIST_V2 = "list_v2"
    REMOVE = "remove"
    COPY = "copy"
    MOVE = "move"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCall:
    """A request's method and path, taken apart; `path` is within the bucket, and may be the key of an object."""

    call: Call
    bucket: str = ""
    path: str = ""


_READS, _ONE, _MANY = ("GET", "HEAD"), r"(?P<bucket>[^/]+)/(?P<path>.+)", r"(?P<bucket>[^/]+)/?"
_CALLS: tuple[tuple[tuple[str, ...], re.Pattern[str], Call], ...] = tuple(
    (methods, re.compile(pattern, re.DOTALL), call)
    for methods, pattern, call in (
        (_READS, r"bucket/?", Call.LIST_BUCKETS),
        (_READS, rf"bucket/{_MANY}", Call.BUCKET),
        (("POST",), r"bucket/?", Call.MAKE_BUCKET),
        (_READS, rf"object/sign/{_ONE}", Call.SIGNED),
        (_READS, rf"object/public/{_ONE}", Call.PUBLIC),
        (_READS, rf"object/info/(?:public/|authenticated/)?{_ONE}", Call.INFO),
        (_READS, rf"object/(?:authenticated/)?{_ONE}", Call.DOWNLOAD),
        (("POST",), rf"object/sign/{_ONE}", Call.SIGN),
        (("POST",), rf"object/sign/{_MANY}", Call.SIGN_MANY),
        (("POST",), rf"object/upload/sign/{_ONE}", Call.SIGN_UPLOAD),
        (("PUT",), rf"object/upload/sign/{_ONE}", Call.UPLOAD_SIGNED),
        (("POST",), rf"object/list/{_MANY}", Call.LIST),
        (("POST",), rf"object/list-v2/{_MANY}", Call.LIST_V2),
        (("POST",), r"object/copy", Call.COPY),
        (("POST",), r"object/move", Call.MOVE),
        (("POST", "PUT"), rf"object/{_ONE}", Call.UPLOAD),
        (("DELETE",), rf"object/{_MANY}", Call.REMOVE),
    )
)


def parse_call(method: str, raw: bytes) -> StorageCall:
    """Return what a request asks of storage; UNSUPPORTED is what Supabase has and this server has not.

    Args:
        raw: the path as it was sent, percent-encoded, which is undone once; a bucket's name is not checked.

    Raises:
        UsageError: the path is not encoded as it should be, or holds no key of an object.
    """
    path = _decoded(raw).removeprefix(STORAGE_PREFIX)
    for methods, pattern, call in _CALLS:
        found = pattern.fullmatch(path) if method in methods else None
        if found is not None:
            parts = found.groupdict()
            if "path" in parts:
                check_key(parts["path"])
            return StorageCall(call=call, **parts)
    return StorageCall(call=Call.UNSUPPORTED)


def _decoded(raw: bytes) -> str:
    if len(raw) > _LONGEST_RAW or _BAD_ESCAPE.search(raw) or _ENCODED_SLASH.search(raw):
        raise UsageError("the path is too long, or not percent-encoded as it should be")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise UsageError("the path is not UTF-8") from None


def is_key(path: str) -> bool:
    """Return whether `path` can be the key of an object: Supabase's letters, no empty segments, no dots alone."""
    if len(path) > LONGEST_PATH or not _KEY.fullmatch(path):
        return False
    return not any(segment in {"", ".", ".."} for segment in path.split("/"))


def is_prefix(text: str) -> bool:
    """Return whether a key can begin with `text`, which may be empty."""
    return not text or (len(text) <= LONGEST_PATH and _KEY.fullmatch(text) is not None)


def check_key(path: str) -> str:
    """Return `path`, which can be the key of an object.

    Raises:
        UsageError: it cannot.
    """
    if not is_key(path):
        raise UsageError(f"Invalid key: {path[:100].encode('unicode_escape').decode()}")
    return path


def check_bucket(bucket: str) -> str:
    """Return `bucket`, if there is such a one.

    Raises:
        NotFoundError: there is not.
    """
    if bucket not in BUCKETS:
        raise NotFoundError(NO_BUCKET)
    return bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneName:
    """What `models/T_1_v1.4.2.ort` or `.json` stands for: a file of a version, by its name there."""

    channel: str
    version: str
    file: str


_PHONE_MODEL = "model.ort"
_CHANNEL, _VERSION = (text.removeprefix("^").removesuffix("$") for text in (CHANNEL_PATTERN, VERSION_PATTERN))
# A version has no underscore, so the last `_v` is the one between.
_PHONE_NAME = re.compile(rf"models/({_CHANNEL})_v({_VERSION})\.(ort|json)", re.ASCII)


def phone_name(path: str) -> PhoneName | None:
    """Return which published file a path of PHONES would be the second name of, None for any other path."""
    found = _PHONE_NAME.fullmatch(path)
    if found is None:
        return None
    channel, version, kind = found[1], found[2], found[3]
    file = _PHONE_MODEL if kind == "ort" else description_name(channel, version)
    return PhoneName(channel=channel, version=version, file=file)


def phone_names(channel: str, version: str) -> dict[str, str]:
    """Return the second names of a version's files, each with the file's own name there."""
    ort = phone_file(channel, version)
    return {ort: _PHONE_MODEL, f"models/{description_name(channel, version)}": description_name(channel, version)}


_LOADERS = frozenset({"model.json", "model.shards.json"})


def loads_others(name: str) -> bool:
    """Return whether a file makes its reader load others of its version, so that one URL must open them all."""
    return name in _LOADERS


_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,100}"  # noqa: S105 (HTTP's word)
_VALUE = r'(?:[A-Za-z0-9!#$&^_.+:/-]{1,100}|"[ !#-\[\]-~]{0,100}")'
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}={_VALUE}){{0,5}}", re.ASCII)
_BYTES = "application/octet-stream"
_RUN_BY_BROWSERS = re.compile(r"html|script|css|^(?:text|application)/(?:xml|xsl)|\+xml")
_DRAWN = "image/svg+xml"  # harmless as a picture; as a page it is in a sandbox


def check_media_type(text: str | None) -> str:
    """Return a media type that may be kept: `text`, or bytes when there is none.

    Raises:
        UsageError: it is no media type.
    """
    if text is None or not text.strip():
        return _BYTES
    if len(text) > 255 or not _MEDIA_TYPE.fullmatch(text.strip()):
        raise UsageError(f"mime type {text[:80].encode('unicode_escape').decode()} is not supported")
    return text.strip()


def sent_media_type(kept: str) -> str:
    """Return as what an object is sent: what a browser would run, as text."""
    essence = kept.partition(";")[0].strip().lower()
    runs = essence != _DRAWN and _RUN_BY_BROWSERS.search(essence) is not None
    return "text/plain; charset=utf-8" if runs else kept


_DIRECTIVES = re.compile(r"[a-z0-9=, -]{1,200}", re.ASCII)
_NO_CACHE = "no-cache"
_SECONDS = re.compile(r"[0-9]{1,10}", re.ASCII)


def kept_cache_control(text: str | None) -> str:
    """Return what is kept of a Cache-Control, or of the seconds alone that forms have; `no-cache` of nonsense."""
    plain = (text or "").strip().lower()
    if _SECONDS.fullmatch(plain):
        return f"max-age={plain}"
    return plain if _DIRECTIVES.fullmatch(plain) else _NO_CACHE


def sent_cache_control(kept: str, *, private: bool) -> str:
    """Return the Cache-Control of an object; no shared cache may keep what not everybody may see."""
    if not private:
        return kept
    own = (part.strip() for part in kept.split(","))
    mine = (part for part in own if part not in {"", "public", "private"} and not part.startswith("s-maxage"))
    return ", ".join(["private", *mine])


def seconds_of(value: float | str | None, default: int) -> float:
    """Return how long a URL shall last: a number, or a text that holds one, as the Python client sends it.

    Raises:
        UsageError: it is neither.
    """
    if value is None:
        return default
    if isinstance(value, str):
        if not _SECONDS.fullmatch(value):
            raise UsageError("expiresIn is no number of seconds")
        return int(value)
    return value
