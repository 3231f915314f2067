"""SQL of access: tokens of every kind, administrators, and which channel a public key names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, or_, select, update

from shelfsight.database.tables import administrators, channels, tokens

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, Row


class TokenKind(StrEnum):
    """What a row of `tokens` is: a token for programs, a session of a browser, or a link to set up with."""

    API = "api"
    SESSION = "session"
    SETUP = "setup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token; its secret is not."""

    id: str
    kind: TokenKind
    name: str
    secret_sha256: str
    scopes: tuple[str, ...] = ()
    channel: str | None = None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrator:
    """A person who may do everything."""

    name: str
    created_at: datetime


def insert_token(connection: Connection, token: Token) -> None:
    """Add a token."""
    connection.execute(
        insert(tokens).values(
            id=token.id,
            kind=token.kind.value,
            name=token.name,
            secret_sha256=token.secret_sha256,
            scopes=list(token.scopes),
            channel_id=token.channel,
            created_at=token.created_at,
            created_by=token.created_by,
            expires_at=token.expires_at,
        )
    )


def find_token(connection: Connection, token_id: str) -> Token | None:
    """Return the token, whatever its kind and state."""
    row = connection.execute(select(tokens).where(tokens.c.id == token_id)).one_or_none()
    return None if row is None else _token(row)


def list_api_tokens(connection: Connection, *, after: tuple[datetime, str] | None, limit: int) -> list[Token]:
    """Return tokens for programs, newest first, those after the one made at that time with that id."""
    query = select(tokens).where(tokens.c.kind == TokenKind.API.value)
    if after is not None:
        at, token_id = after
        query = query.where(
            or_(tokens.c.created_at < at, (tokens.c.created_at == at) & (tokens.c.id > token_id)),
        )
    return [
        _token(row)
        for row in connection.execute(query.order_by(tokens.c.created_at.desc(), tokens.c.id).limit(limit))
    ]


def revoke_token(connection: Connection, token_id: str, *, kind: TokenKind, now: datetime) -> bool:
    """Revoke a token that is valid; return False where there is none. Of two at once, one gets True."""
    changed = connection.execute(
        update(tokens)
        .where(tokens.c.id == token_id, tokens.c.kind == kind.value, tokens.c.revoked_at.is_(None), _unexpired(now))
        .values(revoked_at=now)
    )
    return changed.rowcount == 1


def revoke_sessions(connection: Connection, name: str, *, but: str | None, now: datetime) -> None:
    """Revoke every session of an administrator, except the one with the id `but`."""
    query = update(tokens).where(
        tokens.c.kind == TokenKind.SESSION.value, tokens.c.name == name, tokens.c.revoked_at.is_(None)
    )
    if but is not None:
        query = query.where(tokens.c.id != but)
    connection.execute(query.values(revoked_at=now))


def drop_setup_links(connection: Connection, name: str) -> None:
    """Delete the unused setup links for `name`; the empty one is that of the first administrator."""
    connection.execute(
        delete(tokens).where(
            tokens.c.kind == TokenKind.SETUP.value, tokens.c.name == name, tokens.c.revoked_at.is_(None)
        )
    )


def drop_sessions(connection: Connection, *, before: datetime) -> None:
    """Delete sessions that ended before then."""
    connection.execute(
        delete(tokens).where(tokens.c.kind == TokenKind.SESSION.value, tokens.c.expires_at < before),
    )


def touch_token(connection: Connection, token_id: str, *, now: datetime) -> None:
    """Say that a token has been used."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=now))


def channel_of_key(connection: Connection, key: str) -> str | None:
    """Return the channel whose public key it is."""
    return connection.scalar(select(channels.c.id).where(channels.c.token == key))


def has_channel(connection: Connection, channel: str) -> bool:
    """Return whether there is such a channel."""
    return connection.scalar(select(channels.c.id).where(channels.c.id == channel)) is not None


def insert_administrator(connection: Connection, name: str, *, password_hash: str) -> None:
    """Add an administrator."""
    connection.execute(insert(administrators).values(name=name, password_hash=password_hash))


def update_password(connection: Connection, name: str, *, password_hash: str) -> None:
    """Change an administrator's password; nobody is added."""
    connection.execute(
        update(administrators).where(administrators.c.name == name).values(password_hash=password_hash)
    )


def delete_administrator(connection: Connection, name: str) -> None:
    """Delete an administrator."""
    connection.execute(delete(administrators).where(administrators.c.name == name))


def password_hash_of(connection: Connection, name: str) -> str | None:
    """Return the hash of an administrator's password."""
    return connection.scalar(select(administrators.c.password_hash).where(administrators.c.name == name))


def lock_password(connection: Connection, name: str) -> str | None:
    """Return the hash of an administrator's password, which nobody else changes until the transaction ends."""
    found = select(administrators.c.password_hash).where(administrators.c.name == name)
    return connection.scalar(found.with_for_update())


def count_administrators(connection: Connection) -> int:
    """Return how many there are."""
    return connection.scalar(select(func.count()).select_from(administrators)) or 0


def lock_administrators(connection: Connection) -> None:
    """Keep anybody else from removing one until the transaction ends."""
    connection.execute(select(administrators.c.name).order_by(administrators.c.name).with_for_update())


def list_administrators(connection: Connection, *, after: str | None, limit: int) -> list[Administrator]:
    """Return administrators by name, those after that name."""
    query = select(administrators.c.name, administrators.c.created_at).order_by(administrators.c.name).limit(limit)
    if after is not None:
        query = query.where(administrators.c.name > after)
    return [Administrator(name=row.name, created_at=row.created_at) for row in connection.execute(query)]


def _unexpired(now: datetime) -> ColumnElement[bool]:
    return or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)


def _token(row: Row[Any]) -> Token:
    return Token(
        id=row.id,
        kind=TokenKind(row.kind),
        name=row.name,
        secret_sha256=row.secret_sha256,
        scopes=tuple(row.scopes),
        channel=row.channel_id,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def delete_expired(connection: Connection, before: datetime) -> int:
    """Delete sessions and setup links that expired before then, and return how many; tokens stay, to be looked at."""
    passing = tokens.c.kind.in_((TokenKind.SESSION.value, TokenKind.SETUP.value))
    return connection.execute(delete(tokens).where(passing, tokens.c.expires_at < before)).rowcount
