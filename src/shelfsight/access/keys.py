"""Keys that sign configs and URLs: made when first needed, replaced one after the other, retired."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from shelfsight.access import audit, key_store
from shelfsight.access.key_store import Key, KeyKind, KeyState, PrivateKey
from shelfsight.database.engine import SYSTEM
from shelfsight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from shelfsight.access.rules import Caller
    from shelfsight.database.engine import Database

LONGEST_SIGNED_URL = timedelta(days=7)
"""No URL may be signed for longer; a replaced secret is accepted for that long, so that none breaks."""

_DEVICES_ASK_WITHIN = timedelta(minutes=30)
_SECRET_BYTES = 32
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKey:
    """A key that signs configs, ECDSA on P-256.

    Attributes:
        id: the SHA-256 of `public_key`, hexadecimal: by it devices know whom to trust.
        public_key: SubjectPublicKeyInfo, DER.
        private_key: PKCS 8, DER; in no repr, log or answer.
    """

    id: str
    public_key: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSecret:
    """A secret of 32 bytes that signs URLs; `id` is its SHA-256, hexadecimal."""

    id: str
    secret: bytes = field(repr=False)


def config_keys(database: Database) -> tuple[ConfigKey, ...]:
    """Return the key that signs configs, then the one that it replaces, if that signs as well; one query.

    The first key is made when there is none; of several processes that find none, all return the same.
    """
    return tuple(
        ConfigKey(id=found.key.id, public_key=found.key.public_key, private_key=found.private)
        for found in _valid(database, KeyKind.CONFIG)
        if found.key.public_key is not None
    )


def url_secrets(database: Database) -> tuple[UrlSecret, ...]:
    """Return the secret that signs URLs, then those it replaced whose URLs may not have expired yet; one query.

    The first secret is made when there is none; of several processes that find none, all return the same.
    """
    now = datetime.now(UTC)
    return tuple(
        UrlSecret(id=found.key.id, secret=found.private)
        for found in _valid(database, KeyKind.URL)
        if not _has_ended(found.key, now)
    )


def public_keys(database: Database) -> tuple[Key, ...]:
    """Return what anybody may know of the keys that `config_keys` returns."""
    return tuple(found.key for found in _valid(database, KeyKind.CONFIG))


def create(database: Database, kind: KeyKind, *, by: Caller) -> Key:
    """Make the first key of a kind.

    Raises:
        ConflictError: there is one.
    """
    return _create(database, kind, actor=by.actor)


def rotate(database: Database, kind: KeyKind, *, by: Caller, now_only: bool = False) -> Key:
    """Make a new key the current one. The one before stays valid beside it, until it is retired.

    Args:
        now_only: retire all older keys at once. Devices that trust those only must then be paired again.

    Raises:
        NotFoundError: there is no key yet.
        ConflictError: the one before the last is still valid, and configs have two signatures at most.
    """
    made, now = _make(kind, by.actor), datetime.now(UTC)
    with database.write(actor=by.actor) as connection:
        current, *replaced = _locked(connection, kind)
        if current.state is not KeyState.CURRENT:
            raise NotFoundError(f"there is no current {kind} key: make it with `shelfsight keys create`")
        if kind is KeyKind.CONFIG and replaced and not now_only:
            raise ConflictError(
                f"key {replaced[0].id[:_SHOWN]} is still valid beside the current one: retire it first "
                "(`shelfsight keys retire`), or rotate with --now, after which devices must be paired again"
            )
        key_store.replace_key(connection, current.id, now=now)
        key_store.insert_key(connection, made)
        details = {"kind": kind.value, "replaces": current.id}
        audit.record(connection, actor=by.actor, action="key_rotated", subject=made.key.id, details=details)
        ended = [key for key in replaced if _has_ended(key, now)]
        _retire(connection, [current, *replaced] if now_only else ended, by=by, now=now)
        _tell_devices(connection, kind)
    return made.key


def retire(database: Database, kind: KeyKind, *, by: Caller, early: bool = False) -> list[Key]:
    """Make keys that were replaced worth nothing, and return them; it cannot be undone, for what they sign with goes.

    Args:
        early: also a config key that devices which are on may not have forgotten yet: they must be paired again then.

    Raises:
        ConflictError: none was replaced, all are retired already, or it would be early.
    """
    now = datetime.now(UTC)
    with database.write(actor=by.actor) as connection:
        replaced = [key for key in _locked(connection, kind) if key.state is KeyState.REPLACED]
        if not replaced:
            raise ConflictError(
                f"no {kind} key is waiting to be retired: `shelfsight keys rotate --kind {kind}` replaces one"
            )
        if kind is KeyKind.CONFIG and not early:
            _check_not_early(replaced, now)
        _retire(connection, replaced, by=by, now=now)
        _tell_devices(connection, kind)
    return replaced


def _check_not_early(replaced: Collection[Key], now: datetime) -> None:
    last = max(key.replaced_at for key in replaced if key.replaced_at is not None)
    if now < last + _DEVICES_ASK_WITHIN:
        raise ConflictError(
            f"the key was replaced at {last:%H:%M} UTC, and devices hear of the new one within half an hour: those "
            "that have not would have to be paired again. "
            f"Wait until {last + _DEVICES_ASK_WITHIN:%H:%M} UTC, or add --yes"
        )


def show(database: Database) -> list[Key]:
    """Return every key there ever was, the newest first, without its private half."""
    with database.read() as connection:
        return key_store.list_keys(connection)


def accepted_until(key: Key) -> datetime | None:
    """Return when a replaced secret stops being accepted by itself; None for any other key."""
    if key.kind is not KeyKind.URL or key.state is not KeyState.REPLACED or key.replaced_at is None:
        return None
    return key.replaced_at + LONGEST_SIGNED_URL


def key_id_of(public: bytes) -> str:
    """Return the id of a public key in DER, or of a secret: its SHA-256, hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def pem_of(public_key: bytes) -> str:
    """Return a public key in DER as PEM."""
    public = load_der_public_key(public_key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _has_ended(key: Key, now: datetime) -> bool:
    until = accepted_until(key)
    return until is not None and until <= now


def _valid(database: Database, kind: KeyKind) -> list[PrivateKey]:
    """Return the keys that are not retired, the current one first, which is made where there is none."""
    found = _read(database, kind)
    if _has_current(found):
        return found
    try:
        _create(database, kind, actor=SYSTEM)
    except ConflictError:
        found = _read(database, kind)
        if not _has_current(found):  # then it was not somebody faster who made it
            raise
        return found
    return _read(database, kind)


def _read(database: Database, kind: KeyKind) -> list[PrivateKey]:
    with database.read() as connection:
        return key_store.valid_keys(connection, kind)


def _has_current(found: Sequence[PrivateKey]) -> bool:
    return bool(found) and found[0].key.state is KeyState.CURRENT


def _create(database: Database, kind: KeyKind, *, actor: str) -> Key:
    made = _make(kind, actor)
    with database.write(actor=actor) as connection:
        if _has_current(key_store.valid_keys(connection, kind)):
            raise ConflictError(f"there is a {kind} key already: `shelfsight keys rotate --kind {kind}` replaces it")
        key_store.insert_key(connection, made)
        audit.record(connection, actor=actor, action="key_created", subject=made.key.id, details={"kind": kind.value})
    return made.key


def _locked(connection: Connection, kind: KeyKind) -> list[Key]:
    """Return the valid keys, the current one first, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    key_store.lock_keys(connection)
    found = key_store.valid_keys(connection, kind)  # who waited for the lock sees what the other did
    if not found:
        raise NotFoundError(f"there is no {kind} key yet: make it with `shelfsight keys create --kind {kind}`")
    return [one.key for one in found]


def _retire(connection: Connection, retired: Sequence[Key], *, by: Caller, now: datetime) -> None:
    if not retired:
        return
    key_store.retire_keys(connection, [key.id for key in retired], now=now)
    for key in retired:
        details = {"kind": key.kind.value}
        audit.record(connection, actor=by.actor, action="key_retired", subject=key.id, details=details)


def _tell_devices(connection: Connection, kind: KeyKind) -> None:
    """Count every channel's sequence up, so that no config that names the keys before can be replayed."""
    if kind is KeyKind.CONFIG:
        key_store.count_up(connection)


def _make(kind: KeyKind, actor: str) -> PrivateKey:
    match kind:
        case KeyKind.CONFIG:
            pair = ec.generate_private_key(ec.SECP256R1())
            private = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            public: bytes | None = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case KeyKind.URL:
            private, public = secrets.token_bytes(_SECRET_BYTES), None
        case _:
            assert_never(kind)
    key = Key(
        id=key_id_of(public or private),
        kind=kind,
        public_key=public,
        created_at=datetime.now(UTC),
        created_by=actor,
    )
    return PrivateKey(key=key, private=private)
