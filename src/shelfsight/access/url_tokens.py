"""Tokens of signed URLs: what one grants, until when, proved by a secret of this service."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import jwt

from shelfsight.access.keys import LONGEST_SIGNED_URL
from shelfsight.errors import AuthenticationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shelfsight.access.keys import UrlSecret

LIFETIME_S = 3600
MAX_LIFETIME_S = int(LONGEST_SIGNED_URL.total_seconds())
LONGEST_TOKEN = 4096
_ALGORITHM = "HS256"
_AUDIENCE = "shelfsight-url"
_TYPE = "shelfsight-url+jwt"
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_OPTIONS: Any = {  # PyJWT would compare times with a clock of its own
    "require": ["aud", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
_UNKNOWN = "the signed URL's token is not one of this server's: check that all of the URL was copied"


class Use(StrEnum):
    """What may be done with a token: read one file, read a version and the blobs it uses, or write one file."""

    FILE = "file"
    VERSION = "version"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a signed URL allows.

    Attributes:
        made_at: when the channel was made: one that is made later with the same id is another.
        path: within the bucket; of VERSION the folder, without a slash at its end.
        upsert: UPLOAD may replace a file that is there.
    """

    channel: str
    made_at: datetime
    bucket: str
    path: str
    use: Use
    upsert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedGrant:
    """A grant as a token holds it: by whose secret, and until when."""

    grant: Grant
    key_id: str
    expires_at: datetime

    @property
    def actor(self) -> str:
        """Who uses it, as audits show it: nobody knows more than which secret signed it."""
        return f"url:{self.key_id}"


def expiry(seconds: float, *, now: datetime) -> datetime:
    """Return when a URL signed now for that long ends: at a whole second, not before its time.

    Raises:
        UsageError: it would last less than a second, or more than a week.
    """
    if not 1 <= seconds <= MAX_LIFETIME_S:
        raise UsageError(f"a signed URL lasts 1 to {MAX_LIFETIME_S} seconds (7 days), not {seconds:g}")
    return datetime.fromtimestamp(math.ceil(now.timestamp() + seconds), UTC)


def issue(secret: UrlSecret, grant: Grant, *, expires_at: datetime) -> str:
    """Return a token for `grant`, of letters that a URL takes as they are; it ends at a whole second.

    Raises:
        UsageError: the path is too long to be signed.
    """
    claims = {
        "aud": _AUDIENCE,
        "exp": math.ceil(expires_at.timestamp()),
        "channel": grant.channel,
        "made": grant.made_at.astimezone(UTC).isoformat(),
        "bucket": grant.bucket,
        "path": grant.path,
        "use": grant.use.value,
        "upsert": grant.upsert,
    }
    token = jwt.encode(claims, secret.secret, algorithm=_ALGORITHM, headers={"kid": secret.id, "typ": _TYPE})
    if len(token) > LONGEST_TOKEN:
        raise UsageError(f"{grant.path[:80]}… is too long a path to be signed: use a shorter one")
    return token


def is_url_token(text: str) -> bool:
    """Return whether `text` has the shape of such a token: no other kind of token has."""
    return len(text) <= LONGEST_TOKEN and _SHAPE.fullmatch(text) is not None


def read(secrets: Iterable[UrlSecret], token: str, *, now: datetime) -> Grant:
    """Return what a token grants now.

    Raises:
        AuthenticationError: it is none of ours, was changed, or has expired.
    """
    signed = read_signed(secrets, token)
    check_not_expired(signed, now=now)
    return signed.grant


def read_signed(secrets: Iterable[UrlSecret], token: str) -> SignedGrant:
    """Return what a token says that one of `secrets` signed, even if it has expired.

    Raises:
        AuthenticationError: it is none of ours, or was changed.
    """
    if not is_url_token(token):
        raise AuthenticationError(_UNKNOWN)
    try:
        header = jwt.get_unverified_header(token)
        secret = next((one for one in secrets if one.id == header.get("kid")), None)
        if secret is None or header.get("typ") != _TYPE:
            raise AuthenticationError(_UNKNOWN)
        claims = jwt.decode(
            token, secret.secret, algorithms=[_ALGORITHM], audience=_AUDIENCE, leeway=0, options=_OPTIONS
        )
        return _signed(claims, secret.id)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise AuthenticationError(_UNKNOWN) from exc


def check_not_expired(signed: SignedGrant, *, now: datetime) -> None:
    """Check that a token has not expired.

    Raises:
        AuthenticationError: it has.
    """
    if now >= signed.expires_at:
        ended = signed.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        raise AuthenticationError(f"the signed URL has expired, at {ended}: ask for another")


def _signed(claims: dict[str, Any], key_id: str) -> SignedGrant:
    grant = Grant(
        channel=claims["channel"],
        made_at=datetime.fromisoformat(claims["made"]),
        bucket=claims["bucket"],
        path=claims["path"],
        use=Use(claims["use"]),
        upsert=claims["upsert"],
    )
    expires_at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=claims["exp"])
    return SignedGrant(grant=grant, key_id=key_id, expires_at=expires_at)
