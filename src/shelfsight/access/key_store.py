"""SQL of the keys that sign: configs with ECDSA, URLs with a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text, update

from shelfsight.database.tables import SCHEMA, channels, signing_keys

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Row


class KeyKind(StrEnum):
    """What a key signs."""

    CONFIG = "config"
    URL = "url"


class KeyState(StrEnum):
    """What a key is good for: CURRENT signs, REPLACED is still accepted, RETIRED is worth nothing any more."""

    CURRENT = "current"
    REPLACED = "replaced"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What anybody may know of a key.

    Attributes:
        id: the SHA-256 of the public key, of the secret where there is none; hexadecimal.
        public_key: SubjectPublicKeyInfo, DER; None for a secret.
    """

    id: str
    kind: KeyKind
    public_key: bytes | None
    created_at: datetime
    created_by: str
    replaced_at: datetime | None = None
    retired_at: datetime | None = None

    @property
    def state(self) -> KeyState:
        """Return what it is good for."""
        if self.retired_at is not None:
            return KeyState.RETIRED
        return KeyState.CURRENT if self.replaced_at is None else KeyState.REPLACED


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A key with the half that nobody may know: PKCS 8 as DER, or a secret."""

    key: Key
    private: bytes = field(repr=False)


_KNOWN = tuple(column for column in signing_keys.c if column is not signing_keys.c.private_key)


def insert_key(connection: Connection, made: PrivateKey) -> None:
    """Add a current key; the database refuses a second one of its kind."""
    connection.execute(
        insert(signing_keys).values(
            id=made.key.id,
            kind=made.key.kind.value,
            public_key=made.key.public_key,
            private_key=made.private,
            created_at=made.key.created_at,
            created_by=made.key.created_by,
        )
    )


def list_keys(connection: Connection) -> list[Key]:
    """Return every key there ever was, the newest first."""
    query = select(*_KNOWN).order_by(signing_keys.c.created_at.desc(), signing_keys.c.id)
    return [_key(row) for row in connection.execute(query)]


def valid_keys(connection: Connection, kind: KeyKind) -> list[PrivateKey]:
    """Return the keys of a kind that are not retired: the current one first, then the last replaced."""
    query = (
        select(signing_keys)
        .where(signing_keys.c.kind == kind.value, signing_keys.c.retired_at.is_(None))
        .order_by(signing_keys.c.replaced_at.is_not(None), signing_keys.c.replaced_at.desc())
    )
    return [PrivateKey(key=_key(row), private=row.private_key) for row in connection.execute(query)]


def lock_keys(connection: Connection) -> None:
    """Keep anybody else from changing keys until the transaction ends; they can still be read.

    Not row by row: who waits for the rows of one moment would lock those of the next in another order.
    """
    if connection.dialect.name == "postgresql":  # a writer of SQLite is alone anyhow
        connection.execute(text(f"LOCK TABLE {SCHEMA}.signing_keys IN SHARE ROW EXCLUSIVE MODE"))


def replace_key(connection: Connection, key_id: str, *, now: datetime) -> None:
    """Say that another key signs from now on."""
    connection.execute(update(signing_keys).where(signing_keys.c.id == key_id).values(replaced_at=now))


def retire_keys(connection: Connection, key_ids: Collection[str], *, now: datetime) -> None:
    """Say that keys are worth nothing any more, and erase what they signed with."""
    connection.execute(
        update(signing_keys).where(signing_keys.c.id.in_(key_ids)).values(retired_at=now, private_key=b"")
    )


def count_up(connection: Connection) -> None:
    """Count the sequence of every channel up that has given its devices anything: what they are given changes."""
    connection.execute(update(channels).where(channels.c.sequence > 0).values(sequence=channels.c.sequence + 1))


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        kind=KeyKind(row.kind),
        public_key=row.public_key,
        created_at=row.created_at,
        created_by=row.created_by,
        replaced_at=row.replaced_at,
        retired_at=row.retired_at,
    )
