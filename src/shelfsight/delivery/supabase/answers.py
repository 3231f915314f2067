"""Answers in the shapes that Supabase's clients read: documents, and errors of storage and of PostgREST."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shelfsight.delivery.answers import Answer
from shelfsight.delivery.supabase.rules import NO_BUCKET
from shelfsight.errors import (
    AccessError,
    AuthenticationError,
    ConflictError,
    NotFoundError,
    QueryError,
    ShelfsightError,
    TooLargeError,
    TooManyRequestsError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from shelfsight.delivery.answers import Headers

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
# No cookie counts here, so whatever page asks, it can send nothing that it does not hold itself.
_HEADERS = (
    b"authorization, apikey, x-client-info, content-type, accept, accept-profile, content-profile, cache-control,"
    b" prefer, range, range-unit, if-none-match, if-range, x-upsert, x-metadata, x-retry-count, *"
)
EXPOSED = b"ETag, Content-Range, Accept-Ranges, Content-Length, Content-Disposition, Last-Modified, Retry-After"
_CROSS_ORIGIN: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", EXPOSED),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_PREFLIGHT: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", _HEADERS),
    (b"access-control-max-age", b"86400"),
    (b"allow", _METHODS),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
)
_JSON = b"application/json; charset=utf-8"
_AGAIN_S = {429: 60, 503: 5}
_STORAGE_CODES: tuple[tuple[type[ShelfsightError], int, str], ...] = (  # Supabase's, the first that fits
    (NotFoundError, 404, "not_found"),
    (ConflictError, 409, "Duplicate"),
    (TooLargeError, 413, "Payload too large"),
    (AuthenticationError, 401, "InvalidJWT"),
    (AccessError, 403, "Unauthorized"),
    (TooManyRequestsError, 429, "too_many_requests"),
    (UsageError, 400, "InvalidRequest"),
    (UnavailableError, 503, "unavailable"),
)
_REST_CODES: tuple[tuple[type[ShelfsightError], int, str], ...] = (
    (NotFoundError, 404, "PGRST205"),
    (AuthenticationError, 401, "PGRST301"),
    (AccessError, 403, "42501"),
    (TooManyRequestsError, 429, "PGRST429"),
    (UsageError, 400, "PGRST100"),
    (UnavailableError, 503, "PGRST001"),
)


def preflight() -> Answer:
    """Return what a browser asks before it sends a request of another origin."""
    return Answer(204, _PREFLIGHT)


def document(content: Any, *, status: int = 200, media_type: bytes = _JSON, headers: Headers = ()) -> Answer:
    """Return a JSON document, which nobody keeps."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    fixed = (
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Answer(status, (*fixed, *headers, *_CROSS_ORIGIN), body)


def storage_error(error: Exception, detail: str, *, wait_s: int | None = None) -> Answer:
    """Return an error of storage: HTTP 400 whatever is wrong, as Supabase has it, with the status in the document.

    Args:
        detail: the sentence.
        wait_s: when to ask again.
    """
    status, code = _code(error, _STORAGE_CODES, "InternalError")
    if str(error) == NO_BUCKET:
        code = NO_BUCKET
    content = {"statusCode": str(status), "error": code, "message": detail}
    sent = status if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR else 400
    return document(content, status=sent, headers=_retry_after(status, wait_s))


def rest_error(error: Exception, detail: str, *, wait_s: int | None = None) -> Answer:
    """Return an error as PostgREST has it; `detail` and `wait_s` as above."""
    if isinstance(error, QueryError):
        status, code, details, hint = error.http_status, error.reason, error.details, error.hint
    else:
        (status, code), details, hint = _code(error, _REST_CODES, "XX000"), None, None
    content = {"code": code, "details": details, "hint": hint, "message": detail}
    proxy_status = (b"proxy-status", f"PostgREST; error={code}".encode())  # for HEAD, which has no body
    return document(content, status=status, headers=(*_retry_after(status, wait_s), proxy_status))


def _code(error: Exception, codes: tuple[tuple[type[ShelfsightError], int, str], ...], other: str) -> tuple[int, str]:
    return next(((status, code) for kind, status, code in codes if isinstance(error, kind)), (500, other))


def _retry_after(status: int, wait_s: int | None) -> Headers:
    seconds = wait_s or _AGAIN_S.get(status)
    return () if seconds is None else ((b"retry-after", b"%d" % seconds),)
