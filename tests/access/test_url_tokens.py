"""Tokens of signed URLs: what is granted, and everything that grants nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.access.keys import UrlSecret
from shelfsight.access.url_tokens import (
    LONGEST_TOKEN,
    MAX_LIFETIME_S,
    Grant,
    Use,
    expiry,
    is_url_token,
    issue,
    read,
    read_signed,
)
from shelfsight.errors import AuthenticationError, UsageError

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SECRET = UrlSecret(id="current", secret=b"1" * 32)
BEFORE = UrlSecret(id="before", secret=b"2" * 32)
MADE_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
GRANT = Grant(channel="T_1", made_at=MADE_AT, bucket="ml-models", path="T_1/v1.4.2", use=Use.VERSION)
HOUR = NOW + timedelta(hours=1)
CLAIMS = {
    "aud": "shelfsight-url",
    "exp": int(HOUR.timestamp()),
    "channel": "T_1",
    "made": "2026-01-02T03:04:05.678901+00:00",
    "bucket": "ml-models",
    "path": "T_1/v1.4.2",
    "use": "version",
    "upsert": False,
}
HEADER = {"kid": "current", "typ": "shelfsight-url+jwt"}


def token(secret: UrlSecret = SECRET, grant: Grant = GRANT) -> str:
    return issue(secret, grant, expires_at=HOUR)


def forged(
    claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, algorithm: str = "HS256"
) -> str:
    """Return a token rightly signed with our secret, with claims and header laid over the right ones."""
    parts = ({**HEADER, "alg": algorithm, **(header or {})}, {**CLAIMS, **(claims or {})})
    text = ".".join(
        encoded(json.dumps({name: value for name, value in part.items() if value is not None}).encode())
        for part in parts
    )
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return f"{text}.{encoded(hmac.digest(SECRET.secret, text.encode(), digest))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


GRANTS = st.builds(
    Grant,
    channel=st.text(max_size=20),
    made_at=st.datetimes(timezones=st.just(UTC)),
    bucket=st.text(max_size=20),
    path=st.text(max_size=100),
    use=st.sampled_from(Use),
    upsert=st.booleans(),
)


@given(GRANTS)
def test_what_was_signed_is_what_is_read(grant: Grant) -> None:
    signed = issue(SECRET, grant, expires_at=HOUR)
    assert is_url_token(signed)
    assert read([SECRET], signed, now=NOW) == grant


def test_forgeries_of_these_tests_would_be_tokens_but_for_what_is_wrong() -> None:
    assert read([SECRET], forged(), now=NOW) == GRANT


def test_token_counts_until_its_second_is_over() -> None:
    assert read([SECRET], token(), now=HOUR - timedelta(microseconds=1)) == GRANT
    with pytest.raises(AuthenticationError, match=r"has expired, at 2026-11-20 13:00:00 UTC: ask for another"):
        read([SECRET], token(), now=HOUR)


def test_what_has_expired_can_still_be_told_from_what_is_not_ours() -> None:
    signed = read_signed([SECRET], issue(SECRET, GRANT, expires_at=NOW - timedelta(days=400)))
    assert (signed.grant, signed.actor) == (GRANT, "url:current")


def test_secret_that_was_replaced_counts_and_one_that_was_retired_does_not() -> None:
    old = token(BEFORE)
    assert read([SECRET, BEFORE], old, now=NOW) == GRANT
    with pytest.raises(AuthenticationError, match="not one of this server's"):
        read([SECRET], old, now=NOW)


def test_every_changed_byte_is_noticed() -> None:
    good = token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last_bits = len(good) - 1  # of its six bits two are no part of the signature
    for position in range(last_bits):
        other = letters[(letters.find(good[position]) + 1) % 64]
        with pytest.raises(AuthenticationError):
            read([SECRET], good[:position] + other + good[position + 1 :], now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        forged(header={"kid": "unknown"}),
        forged(header={"kid": None}),
        forged(header={"kid": ["current"]}),
        forged(header={"typ": "JWT"}),
        forged(header={"typ": None}),
        forged(algorithm="HS384"),
        forged(algorithm="HS512"),
        forged({"aud": "authenticated"}),
        forged({"aud": None}),
        forged({"exp": None}),
        forged({"exp": 1e300}),
        forged({"use": "everything"}),
        forged({"use": None}),
        forged({"channel": None}),
        forged({"made": None}),  # as tokens were before they named it
        forged({"made": "yesterday"}),
        forged({"upsert": None}),
        "",
        "..",
        "a.b.c",
        "a.b",
        "a.b.c.d",
        "ä.ö.ü",
        f"a.{'b' * 5000}.c",
    ],
)
def test_what_is_no_token_of_ours_grants_nothing(wrong: str) -> None:
    with pytest.raises(AuthenticationError, match="not one of this server's"):
        read([SECRET], wrong, now=NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_token_that_says_it_needs_no_signature_grants_nothing(algorithm: str) -> None:
    parts = [{**HEADER, "alg": algorithm}, CLAIMS]
    head, body = (encoded(json.dumps(part).encode()) for part in parts)
    signature = token().rpartition(".")[2]
    for text in (f"{head}.{body}.", f"{head}.{body}.{signature}"):
        with pytest.raises(AuthenticationError):
            read([SECRET], text, now=NOW)


def test_another_algorithms_key_is_not_taken_for_the_secret() -> None:
    # A token that names itself RS256 must not be checked with the secret as a public key, nor the other way round.
    head = encoded(json.dumps({**HEADER, "alg": "RS256"}).encode())
    _, body, signature = token().split(".")
    with pytest.raises(AuthenticationError):
        read([SECRET], f"{head}.{body}.{signature}", now=NOW)


@pytest.mark.parametrize(("seconds", "ends"), [(1, 1), (3600, 3600), (1.2, 2), (MAX_LIFETIME_S, 604_800)])
def test_lifetime_is_whole_seconds_and_never_too_short(seconds: float, ends: int) -> None:
    assert expiry(seconds, now=NOW) == NOW + timedelta(seconds=ends)
    half_past = NOW + timedelta(seconds=0.5)
    assert expiry(1, now=half_past) == NOW + timedelta(seconds=2)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 604_801, 31_536_000, float("inf"), float("nan")])
def test_lifetime_is_a_second_to_a_week(seconds: float) -> None:
    with pytest.raises(UsageError, match=r"1 to 604800 seconds \(7 days\)"):
        expiry(seconds, now=NOW)


def test_path_that_makes_too_long_a_token_is_not_signed() -> None:
    assert len(token(grant=replace(GRANT, path="p" * 1024))) < LONGEST_TOKEN
    with pytest.raises(UsageError, match="too long a path"):
        token(grant=replace(GRANT, path="\N{SNOWMAN}" * 1024))


def test_secret_does_not_show() -> None:
    assert "1111" not in repr(SECRET)
    assert "1111" not in token()
