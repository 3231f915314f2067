"""What is answered: a config with its headers, that it has not changed, or why there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.delivery.answers import Answer, Headers
from shelfsight.delivery.rules import NO_MODEL

if TYPE_CHECKING:
    from shelfsight.delivery.config.prepare import Config

_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (b"access-control-expose-headers", b"ETag, Retry-After")
ALLOWED_HEADERS = (
    b"authorization, apikey, x-client-info, content-type, x-app-platform, x-device-tier, x-locale, x-device-id, "
    b"if-none-match, x-region, cache-control, pragma"
)
PUBLIC = b"public, max-age=21600, stale-while-revalidate=86400"
_PUBLIC = (b"cache-control", PUBLIC)
_PRIVATE = (b"cache-control", b"private, max-age=21600, stale-while-revalidate=86400")
_VARY = (b"vary", b"X-App-Platform, X-Device-Tier, X-Device-Id")
_VARY_BY_KEY = (b"vary", b"X-App-Platform, X-Device-Tier, X-Device-Id, apikey, Authorization")
_JSON = (b"content-type", b"application/json")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_TRY_AGAIN_S = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent of a config: all of it, or to who has it already, that it is unchanged."""

    etag: bytes
    whole: Answer
    unchanged: Answer


def reply(config: Config, *, private: bool, by_key: bool) -> Reply:
    """Return a config with its headers.

    Args:
        private: whether nobody but the one who asks may keep it.
        by_key: whether it depends on the key that came with the request.
    """
    unchanged = (
        (b"etag", config.etag),
        _PRIVATE if private else _PUBLIC,
        _VARY_BY_KEY if by_key else _VARY,
        _ANY_ORIGIN,
        _EXPOSED,
    )
    length = (b"content-length", b"%d" % len(config.body))
    whole = Answer(200, (_JSON, length, _NO_SNIFFING, *unchanged), config.body)
    return Reply(config.etag, whole, Answer(304, unchanged))


def preflight(methods: bytes) -> Answer:
    """Return what a browser asks before it sends a request of another origin."""
    headers = (
        _ANY_ORIGIN,
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", ALLOWED_HEADERS),
        (b"access-control-max-age", b"86400"),
        (b"allow", methods),
    )
    return Answer(204, headers)


def error(status: int, sentence: str, *, headers: Headers = ()) -> Answer:
    """Return an error as clients of Supabase's functions expect it: `{"error": …}`."""
    body = json.dumps({"error": sentence}).encode()
    fixed = (_JSON, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"), _NO_SNIFFING)
    return Answer(status, (*fixed, *headers, _ANY_ORIGIN, _EXPOSED), body)


def method_not_allowed(methods: bytes) -> Answer:
    """Return the answer to a method that a path does not have."""
    return error(405, f"the config is had by {methods.decode()}", headers=((b"allow", methods),))


def too_many(wait_s: int, whose: str) -> Answer:
    """Return the answer to who asks too often; `whose` says what is counted."""
    sentence = f"too many requests {whose}: try again in {wait_s} seconds"
    return error(429, sentence, headers=((b"retry-after", b"%d" % wait_s),))


NO_FUNCTION = error(404, "there is no such function")
NOT_FOUND = error(404, NO_MODEL)
NEEDS_A_KEY = error(
    401,
    "this channel is private: send its key, or a token that may read it, as apikey or as Authorization: Bearer",
    headers=((b"www-authenticate", b'Bearer realm="shelfsight"'),),
)
OTHER_CHANNEL = error(403, "this token is not for this channel")
UNAVAILABLE = error(
    500, "the config is not to be had at the moment: try again", headers=((b"retry-after", b"%d" % _TRY_AGAIN_S),)
)
