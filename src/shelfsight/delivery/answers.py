"""Answers as ASGI sends them: status, headers as bytes, a body."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from shelfsight.delivery.rules import Encoding, cache_control, etag_of, served_type, vary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shelfsight.delivery.downloads import Source
    from shelfsight.delivery.rules import ByteRange, Policy

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

METHODS = b"GET, HEAD, OPTIONS"
_FOR_EVERYONE: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Content-Range, Accept-Ranges, Content-Length, Retry-After"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_PREFLIGHT: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", METHODS),
    (b"access-control-allow-headers", b"authorization, apikey, range, if-none-match, if-range"),
    (b"access-control-max-age", b"86400"),
    (b"allow", METHODS),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
)
_SAME_FOR_EVERY_TOKEN = (b"no-vary-search", b'params=("token")')
"""Lets a browser that has a file use it whatever `?token=` it is asked for with: tokens change each hour."""
_LONGEST_INSTANCE = 200
_PROBLEM_HEADERS: dict[int, Headers] = {
    401: ((b"www-authenticate", b'Bearer realm="shelfsight"'),),
    405: ((b"allow", METHODS),),
    503: ((b"retry-after", b"5"),),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # found by identity in the caches of headers
class ServedFile:
    """A file that may be served: where it lies, and what its manifest says of it."""

    path: str
    size_bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        is_public: anybody who asks the same may have the same, for a moment.
        source: what its bytes count as; None: they are no file's.
    """

    status: int
    headers: Headers
    body: bytes | memoryview = b""
    is_public: bool = False
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer of `size_bytes` whose body is in storage, but for the `first` bytes; `source` as of `Answer`."""

    status: int
    headers: Headers
    size_bytes: int
    first: bytes
    rest: AsyncGenerator[bytes, None]
    source: Source | None = None


@lru_cache(maxsize=4096)
def whole_headers(
    file: ServedFile, policy: Policy, encoding: Encoding, size_bytes: int, *, compressible: bool
) -> Headers:
    """Return the headers of a file as a whole, `size_bytes` long in this encoding."""
    headers = [
        (b"content-type", served_type(file.media_type).encode()),
        (b"content-length", b"%d" % size_bytes),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if encoding is not Encoding.IDENTITY:
        headers.append((b"content-encoding", encoding.encode()))
    return *headers, *not_modified_headers(file, policy, encoding, compressible=compressible)


def part_headers(file: ServedFile, policy: Policy, part: ByteRange, *, compressible: bool) -> Headers:
    """Return the headers of a part of a file, which is never compressed."""
    headers = whole_headers(file, policy, Encoding.IDENTITY, part.end - part.start, compressible=compressible)
    return *headers, (b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, file.size_bytes))


@lru_cache(maxsize=4096)
def not_modified_headers(file: ServedFile, policy: Policy, encoding: Encoding, *, compressible: bool) -> Headers:
    """Return the headers that an answer has even when the client has the file already."""
    headers = [(b"etag", etag_of(file.sha256, encoding)), (b"cache-control", cache_control(policy))]
    names = vary(policy, compressible=compressible)
    if names:
        headers.append((b"vary", names))
    if policy.private and policy.immutable:
        headers.append(_SAME_FOR_EVERY_TOKEN)
    return *headers, *_FOR_EVERYONE


def preflight() -> Answer:
    """Return what a browser asks before it sends a request of another origin."""
    return Answer(204, _PREFLIGHT)


def problem(status: int, detail: str, *, code: str, instance: str, headers: Headers = ()) -> Answer:
    """Return an error as RFC 9457 has it, as the API's are; `error` is the sentence for clients that look there."""
    document = {
        "type": f"urn:shelfsight:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": instance[:_LONGEST_INSTANCE],
        "error": detail,
    }
    body = json.dumps(document).encode()
    fixed = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Answer(status, (*fixed, *headers, *_PROBLEM_HEADERS.get(status, ()), *_FOR_EVERYONE), body)
