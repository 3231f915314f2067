"""Tokens for programs and devices: made, revoked, and turned into the caller they stand for."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from shelfsight.access import audit, store
from shelfsight.access.rules import (
    ADMIN_SCOPE,
    DEVICE_SCOPE,
    Caller,
    TokenParts,
    channels_of,
    check_scopes,
    digest_of,
    is_secret_of,
    join_token,
    split_token,
)
from shelfsight.access.store import Token, TokenKind
from shelfsight.errors import AuthenticationError, ConflictError, DatabaseError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from shelfsight.database.engine import Database

MAX_SCOPES = 100
_TOUCH_EVERY = timedelta(minutes=1)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token to be made.

    Attributes:
        name: what it is for, in somebody's own words.
        channel: of the device, for the scope `device`; else None.
        expires_at: None for a token that is valid until it is revoked.
    """

    name: str
    scopes: Collection[str]
    channel: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token and its text, which is never to be had again."""

    token: Token
    text: str


def create_token(database: Database, new: NewToken, *, by: Caller, address: str | None = None) -> IssuedToken:
    """Make a token for a program or a device.

    Raises:
        UsageError: its scopes or its end are wrong.
        NotFoundError: there is no such channel.
    """
    now = datetime.now(UTC)
    if len(new.scopes) > MAX_SCOPES:
        raise UsageError(f"a token has {MAX_SCOPES} scopes at most, this one would have {len(new.scopes)}")
    scopes = check_scopes(new.scopes, channel=new.channel)
    if new.expires_at is not None and new.expires_at <= now:
        raise UsageError(f"a token cannot expire at {new.expires_at.isoformat()}, which is past")
    issued = make_token(
        kind=TokenKind.API,
        name=new.name,
        scopes=tuple(sorted(scopes)),
        channel=new.channel,
        created_by=by.actor,
        expires_at=new.expires_at,
    )
    with database.write(actor=by.actor) as connection:
        for channel in sorted(channels_of(scopes, new.channel)):
            if not store.has_channel(connection, channel):
                raise NotFoundError(f"channel {channel} does not exist")
        store.insert_token(connection, issued.token)
        audit.record(
            connection,
            actor=by.actor,
            action="token_created",
            channel=new.channel,
            subject=issued.token.id,
            address=address,
            details={"name": new.name, "scopes": list(issued.token.scopes)},
        )
    return issued


def make_token(
    *,
    kind: TokenKind,
    name: str,
    created_by: str,
    scopes: tuple[str, ...] = (),
    channel: str | None = None,
    expires_at: datetime | None = None,
) -> IssuedToken:
    """Return a new token with a secret of 256 random bits; it is not stored yet."""
    token_id = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    secret = secrets.token_urlsafe(32)
    token = Token(
        id=token_id,
        kind=kind,
        name=name,
        secret_sha256=digest_of(secret),
        scopes=scopes,
        channel=channel,
        created_at=datetime.now(UTC),
        created_by=created_by,
        expires_at=expires_at,
    )
    return IssuedToken(token=token, text=join_token(TokenParts(id=token_id, secret=secret)))


def list_tokens(database: Database, *, after: tuple[datetime, str] | None = None, limit: int) -> list[Token]:
    """Return tokens for programs and devices, revoked ones too, newest first.

    Args:
        after: time and id of the last one already seen.
        limit: that many at most.
    """
    with database.read() as connection:
        return store.list_api_tokens(connection, after=after, limit=limit)


def revoke_token(database: Database, token_id: str, *, by: Caller, address: str | None = None) -> None:
    """Make a token worth nothing from now on; for one that is so already, nothing happens.

    Raises:
        NotFoundError: there is no such token.
    """
    with database.write(actor=by.actor) as connection:
        token = store.find_token(connection, token_id)
        if token is None or token.kind is not TokenKind.API:
            raise NotFoundError(f"token {token_id[:80]} does not exist")
        if store.revoke_token(connection, token_id, kind=TokenKind.API, now=datetime.now(UTC)):
            audit.record(
                connection,
                actor=by.actor,
                action="token_revoked",
                channel=token.channel,
                subject=token_id,
                address=address,
                details={"name": token.name},
            )


def authenticate(database: Database, text: str) -> Caller:
    """Return who a token stands for: one made by `create_token`, or the public key of a channel.

    Raises:
        AuthenticationError: it is unknown, expired or revoked; the message says which.
    """
    if split_token(text) is None:
        with database.read() as connection:
            channel = store.channel_of_key(connection, text) if text.isprintable() else None
        if channel is None:
            raise AuthenticationError("the token is unknown: check that all of it was copied")
        return Caller(actor=f"channel:{channel}", scopes=frozenset({DEVICE_SCOPE}), channel=channel)
    token = find_valid(database, text, kind=TokenKind.API)
    return Caller(actor=f"token:{token.id}", scopes=frozenset(token.scopes), channel=token.channel)


def authenticate_session(database: Database, text: str) -> Caller:
    """Return the administrator whose session it is.

    Raises:
        AuthenticationError: the session is unknown or has ended, or its administrator is gone.
    """
    session = find_valid(database, text, kind=TokenKind.SESSION)
    with database.read() as connection:
        if store.password_hash_of(connection, session.name) is None:
            raise AuthenticationError(f"administrator {session.name} is gone: log in as another")
    return Caller(actor=f"admin:{session.name}", scopes=frozenset({ADMIN_SCOPE}))


def find_valid(database: Database, text: str, *, kind: TokenKind) -> Token:
    """Return the token of that text and kind, and note that it has been used.

    Raises:
        AuthenticationError: it is unknown, expired or revoked.
    """
    called, remedy = _WORDS[kind]
    parts = split_token(text)
    with database.read() as connection:
        token = store.find_token(connection, parts.id) if parts else None
    # Whether it exists, and what became of it, is told to who has its secret only.
    if (
        parts is None
        or token is None
        or token.kind is not kind
        or not is_secret_of(parts.secret, token.secret_sha256)
    ):
        raise AuthenticationError(f"the {called} is unknown: check that all of it was copied")
    now = datetime.now(UTC)
    if token.revoked_at is not None:
        raise AuthenticationError(f"the {called} {_ENDED[kind]}: {remedy}")
    if token.expires_at is not None and token.expires_at <= now:
        raise AuthenticationError(f"the {called} has expired: {remedy}")
    if token.last_used_at is None or now - token.last_used_at >= _TOUCH_EVERY:
        _touch(database, token.id, now)
    return token


_WORDS = {
    TokenKind.API: ("token", "ask an administrator for another"),
    TokenKind.SESSION: ("session", "log in again"),
    TokenKind.SETUP: ("setup link", "ask for a new one"),
}
_ENDED = {
    TokenKind.API: "has been revoked",
    TokenKind.SESSION: "has ended",
    TokenKind.SETUP: "has been used",
}


def _touch(database: Database, token_id: str, now: datetime) -> None:
    try:
        with database.write() as connection:
            store.touch_token(connection, token_id, now=now)
    except (ConflictError, DatabaseError):
        _log.warning("token_not_touched", token=token_id)  # the request it came with matters more
