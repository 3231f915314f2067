"""What a caller may do, and what tokens, names and passwords look like. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

ADMIN_SCOPE = "admin"
DEVICE_SCOPE = "device"
MIN_PASSWORD_LENGTH = 12
_MAX_PASSWORD_LENGTH = 1000
_CHANNEL_SCOPE = re.compile(r"channel:([A-Za-z0-9][A-Za-z0-9._-]{0,63}):(read|write)", re.ASCII)
_TOKEN = re.compile(r"ss_([a-z2-7]{8})_([A-Za-z0-9_-]{43,86})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)


class Right(StrEnum):
    """What a caller wants to do.

    ADMIN is about the whole service. The others are about one channel, and each holds those after it: WRITE changes
    it, READ sees all of it, DEVICE sees what a till needs: its product list and its files.
    """

    ADMIN = "admin"
    WRITE = "write"
    READ = "read"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks for something, and from which address, for the audit."""

    actor: str
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        actor: as the audit shows it: `admin:anna`, `token:ab2cdefg`, `channel:T_1` (came with the channel's own
            token), `cli`, `nobody`.
        scopes: of `admin`, `channel:{id}:read`, `channel:{id}:write`, `device`.
        channel: the one that `device` is about.
    """

    actor: str
    scopes: frozenset[str]
    channel: str | None = None


COMMAND_LINE = Caller(actor="cli", scopes=frozenset({ADMIN_SCOPE}))
NOBODY = Caller(actor="nobody", scopes=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenParts:
    """A token taken apart: the id finds it, the secret proves it."""

    id: str
    secret: str


def may(caller: Caller, right: Right, channel: str | None) -> bool:
    """Return whether `caller` has `right` on `channel`; None is the whole service, which is an administrator's."""
    if ADMIN_SCOPE in caller.scopes:
        return True
    if channel is None:
        return False
    writes = f"channel:{channel}:write" in caller.scopes
    reads = writes or f"channel:{channel}:read" in caller.scopes
    match right:
        case Right.ADMIN:
            return False
        case Right.WRITE:
            return writes
        case Right.READ:
            return reads
        case Right.DEVICE:
            return reads or (DEVICE_SCOPE in caller.scopes and caller.channel == channel)
    assert_never(right)


def may_report(caller: Caller, channel: str) -> bool:
    """Return whether `caller` may say what happened in a channel: its devices, and who may change it; no reader."""
    is_device = DEVICE_SCOPE in caller.scopes and caller.channel == channel
    return is_device or may(caller, Right.WRITE, channel)


def may_more_than_devices(caller: Caller) -> bool:
    """Return whether `caller` has any right beyond a device's, whose key lies open in every browser of a till."""
    return not caller.scopes <= {DEVICE_SCOPE}


def readable_channels(caller: Caller) -> frozenset[str] | None:
    """Return the ids of the channels that `caller` may READ; None means every one."""
    if ADMIN_SCOPE in caller.scopes:
        return None
    found = (_CHANNEL_SCOPE.fullmatch(scope) for scope in caller.scopes)
    return frozenset(match[1] for match in found if match)


def parse_scope(text: str) -> tuple[Right, str | None]:
    """Return what a scope allows, and on which channel (None: all, or that of the token).

    Raises:
        UsageError: it is none.
    """
    match = _CHANNEL_SCOPE.fullmatch(text)
    if match:
        return Right(match[2]), match[1]
    if text in {ADMIN_SCOPE, DEVICE_SCOPE}:
        return Right(text), None
    raise UsageError(f"{text[:80]!r} is no scope: use admin, channel:ID:read, channel:ID:write or device")


def channels_of(scopes: Iterable[str], bound_to: str | None) -> frozenset[str]:
    """Return the channels that the scopes of a token name, and the one that it is bound to."""
    named = {parse_scope(scope)[1] for scope in scopes} | {bound_to}
    return frozenset(channel for channel in named if channel is not None)


def check_scopes(scopes: Iterable[str], *, channel: str | None) -> frozenset[str]:
    """Return the scopes of a new token that is bound to `channel`.

    Raises:
        UsageError: there are none, one of them is none, or `device` and `channel` do not go together.
    """
    checked = frozenset(scopes)
    if not checked:
        raise UsageError("a token needs a scope: admin, channel:ID:read, channel:ID:write or device")
    rights = [parse_scope(scope)[0] for scope in sorted(checked)]
    if Right.DEVICE in rights and channel is None:
        raise UsageError("a token of scope device needs the channel that its device belongs to")
    if Right.DEVICE not in rights and channel is not None:
        raise UsageError("only a token of scope device has a channel; others name theirs in the scope")
    return checked


def join_token(parts: TokenParts) -> str:
    """Return the token as people copy it: `ss_{id}_{secret}`."""
    return f"ss_{parts.id}_{parts.secret}"


def split_token(text: str) -> TokenParts | None:
    """Return the parts of a token, None where `text` cannot be one of ours."""
    match = _TOKEN.fullmatch(text)
    return TokenParts(id=match[1], secret=match[2]) if match else None


def digest_of(secret: str) -> str:
    """Return what is stored of a secret. It has 256 random bits, so nothing slower than SHA-256 is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret_of(secret: str, digest: str) -> bool:
    """Return whether `digest` is that of `secret`, in a time that tells nothing."""
    return hmac.compare_digest(digest_of(secret), digest)


def check_administrator_name(name: str) -> str:
    """Return `name`, which may be an administrator's.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("a name has 1 to 64 characters: letters, digits and . _ @ + -, a letter or digit first")
    return name


def check_password(password: str) -> str:
    """Return `password` in the form that is hashed, the same on every keyboard.

    Raises:
        UsageError: it is too short, or too long.
    """
    normal = normal_password(password)
    if not MIN_PASSWORD_LENGTH <= len(normal) <= _MAX_PASSWORD_LENGTH:
        raise UsageError(
            f"a password has {MIN_PASSWORD_LENGTH} to {_MAX_PASSWORD_LENGTH} characters: three or four words will do"
        )
    return normal


def normal_password(password: str) -> str:
    """Return `password` with each character in one form: an é typed as two is the é typed as one."""
    return unicodedata.normalize("NFKC", password)
