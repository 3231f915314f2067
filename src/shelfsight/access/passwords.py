"""Passwords: hashed with Argon2id, a few at a time, for each hash takes 64 MiB."""

from __future__ import annotations

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shelfsight.access.rules import normal_password

_HASHER = PasswordHasher()
_AT_ONCE = BoundedSemaphore(4)


def hash_password(password: str) -> str:
    """Return the hash of a password that `rules.check_password` has let pass, with its salt and settings."""
    with _AT_ONCE:
        return _HASHER.hash(password)


def is_password_of(password: str, hashed: str | None) -> bool:
    """Return whether `hashed` is a hash of `password`; without one False, after the same work."""
    stand_in = _hash_of_nothing()
    try:
        with _AT_ONCE:
            _HASHER.verify(hashed or stand_in, normal_password(password))
    except (InvalidHashError, VerificationError):
        return False
    return hashed is not None


@cache
def _hash_of_nothing() -> str:
    return hash_password("")
