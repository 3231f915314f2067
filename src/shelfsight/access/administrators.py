"""Administrators: set up by a link, logged in by name and password, known by a session from then on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shelfsight.access import audit, store
from shelfsight.access.passwords import hash_password, is_password_of
from shelfsight.access.rate import Rate, network_of
from shelfsight.access.rules import check_administrator_name, check_password, split_token
from shelfsight.access.store import Administrator, TokenKind
from shelfsight.access.tokens import IssuedToken, find_valid, make_token
from shelfsight.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    TooManyRequestsError,
    UsageError,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.access.rules import Caller
    from shelfsight.database.engine import Database

SESSION_LASTS = timedelta(hours=12)
SETUP_LINK_LASTS = timedelta(hours=24)
_PER_NAME_THERE = 10
_PER_ADDRESS = 30
_PER_NAME = 100
_SETUP = "setup"
_LONGEST_LOGIN = 1000
_WRONG = "name and password do not belong together: check both"


class LoginLimit:
    """How often passwords may be tried in a minute, counted by this process.

    From one address (of IPv6 a /64) 10 for one name, and 30 in all. For one name 100 from everywhere together, so
    that many addresses are of little help; not counting addresses where its password was right since the process
    began, so that strangers who use them up keep the owner out of new places only.
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._per_name_there = Rate(_PER_NAME_THERE)
        self._per_address = Rate(_PER_ADDRESS)
        self._per_name = Rate(_PER_NAME)
        self._known: set[tuple[str, str]] = set()

    def check(self, name: str, address: str | None) -> None:
        """Count a try.

        Raises:
            TooManyRequestsError: there were too many.
        """
        network = network_of(address)
        is_fine = self._per_address.allows(network) and self._per_name_there.allows(network, name)
        if not (is_fine and ((network, name) in self._known or self._per_name.allows(name))):
            raise TooManyRequestsError("too many passwords were tried: wait a minute")

    def was_right(self, name: str, address: str | None) -> None:
        """Remember that the password of this name was typed there."""
        self._known.add((network_of(address), name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A name and a password, as somebody typed them, and from where."""

    name: str
    password: str
    address: str | None = None


def has_administrator(database: Database) -> bool:
    """Return whether anybody can log in."""
    with database.read() as connection:
        return store.count_administrators(connection) > 0


def list_administrators(database: Database, *, after: str | None = None, limit: int) -> list[Administrator]:
    """Return administrators by name, those after that name, `limit` of them at most."""
    with database.read() as connection:
        return store.list_administrators(connection, after=after, limit=limit)


def change_password(database: Database, login: Login, new_password: str, *, limit: LoginLimit, session: str) -> None:
    """Change the password of who is logged in by `session`, and end their other sessions.

    Raises:
        AuthenticationError: the present password is not that of `login`, or was changed or removed meanwhile.
        TooManyRequestsError: too many were tried.
        UsageError: the new one cannot be used.
    """
    check_password(new_password)
    verified = _verify(database, login, limit)
    hashed = hash_password(new_password)  # slow: outside the transaction
    kept, actor = split_token(session), f"admin:{login.name}"
    with database.write(actor=actor) as connection:
        _check_still(connection, login, verified)
        store.update_password(connection, login.name, password_hash=hashed)
        store.revoke_sessions(connection, login.name, but=kept.id if kept else None, now=datetime.now(UTC))
        audit.record(connection, actor=actor, action="password_changed", subject=login.name, address=login.address)


def log_in(database: Database, login: Login, *, limit: LoginLimit) -> IssuedToken:
    """Return a session of 12 hours.

    Raises:
        AuthenticationError: name and password do not belong together.
        TooManyRequestsError: too many were tried.
    """
    verified = _verify(database, login, limit)
    now = datetime.now(UTC)
    actor = f"admin:{login.name}"
    session = make_token(kind=TokenKind.SESSION, name=login.name, created_by=actor, expires_at=now + SESSION_LASTS)
    with database.write(actor=actor) as connection:
        _check_still(connection, login, verified)
        store.drop_sessions(connection, before=now - SESSION_LASTS)
        store.insert_token(connection, session.token)
        audit.record(
            connection, actor=actor, action="session_started", subject=session.token.id, address=login.address
        )
    return session


def log_out(database: Database, session: str, *, by: Caller, address: str | None = None) -> None:
    """End the session with the text `session`; nothing happens where it has ended."""
    parts = split_token(session)
    if parts is None:
        return
    with database.write(actor=by.actor) as connection:
        if store.revoke_token(connection, parts.id, kind=TokenKind.SESSION, now=datetime.now(UTC)):
            audit.record(connection, actor=by.actor, action="session_ended", subject=parts.id, address=address)


def issue_setup_link(database: Database) -> str | None:
    """Return a token with which the first administrator sets name and password; None where there is one already.

    The link before, if nobody used it, is worth nothing from now on.
    """
    link = _setup_link("", by=_SETUP)
    with database.write() as connection:
        if store.count_administrators(connection):
            return None
        store.drop_setup_links(connection, "")
        store.insert_token(connection, link.token)
        audit.record(connection, actor="system", action="setup_link_issued")
    return link.text


def invite(database: Database, name: str, *, by: Caller, address: str | None = None) -> IssuedToken:
    """Return a setup link with which `name` becomes an administrator and sets a password of their own.

    Raises:
        UsageError: the name cannot be used.
        ConflictError: there is an administrator of that name.
    """
    check_administrator_name(name)
    link = _setup_link(name, by=by.actor)
    with database.write(actor=by.actor) as connection:
        if store.password_hash_of(connection, name) is not None:
            raise ConflictError(f"administrator {name} exists: choose another name")
        store.drop_setup_links(connection, name)
        store.insert_token(connection, link.token)
        audit.record(connection, actor=by.actor, action="setup_link_issued", subject=name, address=address)
    return link


def invited_name(database: Database, link: str) -> str:
    """Return for whom a setup link was made; the empty name is the first administrator's, who chooses one.

    Raises:
        AuthenticationError: the link is unknown, used or expired.
    """
    return _valid_link(database, link)


def set_up(database: Database, link: str, login: Login) -> None:
    """Make the administrator whom `link` is for. It works once: of two at the same time one is refused.

    Raises:
        AuthenticationError: the link is unknown, used or expired.
        UsageError: name or password cannot be used.
    """
    invited = _valid_link(database, link)
    if invited and invited != login.name:
        raise UsageError(f"this setup link is for {invited}: use that name")
    name = check_administrator_name(login.name)
    hashed = hash_password(check_password(login.password))  # slow: outside the transaction
    parts = split_token(link)
    with database.write(actor=f"admin:{name}") as connection:
        won = parts and store.revoke_token(connection, parts.id, kind=TokenKind.SETUP, now=datetime.now(UTC))
        if not won or (not invited and store.count_administrators(connection)):
            raise AuthenticationError("the setup link has been used: ask for a new one")
        store.insert_administrator(connection, name, password_hash=hashed)
        audit.record(
            connection, actor=f"admin:{name}", action="administrator_added", subject=name, address=login.address
        )


def remove_administrator(database: Database, name: str, *, by: Caller, address: str | None = None) -> None:
    """Remove an administrator and end their sessions.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is the last one.
    """
    with database.write(actor=by.actor) as connection:
        store.lock_administrators(connection)  # two who remove each other must not both find another one left
        if store.password_hash_of(connection, name) is None:
            raise NotFoundError(f"administrator {name[:80]} does not exist")
        if store.count_administrators(connection) == 1:
            raise ConflictError(f"{name} is the last administrator: add another first")
        store.delete_administrator(connection, name)
        store.revoke_sessions(connection, name, but=None, now=datetime.now(UTC))
        audit.record(connection, actor=by.actor, action="administrator_removed", subject=name, address=address)


def _setup_link(name: str, *, by: str) -> IssuedToken:
    expires_at = datetime.now(UTC) + SETUP_LINK_LASTS
    return make_token(kind=TokenKind.SETUP, name=name, created_by=by, expires_at=expires_at)


def _valid_link(database: Database, link: str) -> str:
    token = find_valid(database, link, kind=TokenKind.SETUP)
    if not token.name and has_administrator(database):
        raise AuthenticationError("the setup link has been used: ask for a new one")
    return token.name


def _verify(database: Database, login: Login, limit: LoginLimit) -> str:
    """Return the hash that the password of `login` is right by; to find that out takes a while."""
    limit.check(login.name[:_LONGEST_LOGIN], login.address)
    with database.read() as connection:
        hashed = store.password_hash_of(connection, login.name)
    is_right = len(login.password) <= _LONGEST_LOGIN and is_password_of(login.password, hashed)
    if hashed is None or not is_right:
        raise AuthenticationError(_WRONG)
    limit.was_right(login.name, login.address)
    return hashed


def _check_still(connection: Connection, login: Login, verified: str) -> None:
    """Check that the password is what it was, and keep it so until the transaction ends.

    Raises:
        AuthenticationError: it was changed since it was verified, or the administrator removed.
    """
    if store.lock_password(connection, login.name) != verified:
        raise AuthenticationError(_WRONG)
