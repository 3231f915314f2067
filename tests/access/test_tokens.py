"""Tokens of programs, devices and channels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from shelfsight.access import audit
from shelfsight.access.rules import COMMAND_LINE, Caller
from shelfsight.access.tokens import (
    NewToken,
    authenticate,
    authenticate_session,
    create_token,
    list_tokens,
    revoke_token,
)
from shelfsight.database.tables import tokens
from shelfsight.errors import AuthenticationError, NotFoundError, UsageError

if TYPE_CHECKING:
    from shelfsight.access.tokens import IssuedToken
    from shelfsight.database.engine import Database


def make(
    database: Database, *scopes: str, channel: str | None = None, expires_at: datetime | None = None
) -> IssuedToken:
    new = NewToken(name="test", scopes=scopes, channel=channel, expires_at=expires_at)
    return create_token(database, new, by=COMMAND_LINE)


def change(database: Database, token_id: str, **values: datetime | None) -> None:
    with database.write() as connection:
        connection.execute(update(tokens).where(tokens.c.id == token_id).values(**values))


def last_used_at(database: Database, token_id: str) -> datetime | None:
    with database.read() as connection:
        return connection.scalar(select(tokens.c.last_used_at).where(tokens.c.id == token_id))


def test_a_token_stands_for_who_it_was_made_for(database: Database) -> None:
    issued = make(database, "channel:T_1:write", "channel:default:read")
    assert authenticate(database, issued.text) == Caller(
        actor=f"token:{issued.token.id}", scopes=frozenset({"channel:T_1:write", "channel:default:read"})
    )


def test_a_token_of_a_device_is_bound_to_its_channel(database: Database) -> None:
    issued = make(database, "device", channel="T_1")
    caller = authenticate(database, issued.text)
    assert (caller.scopes, caller.channel) == (frozenset({"device"}), "T_1")


def test_the_public_key_of_a_channel_is_a_device_of_it(database: Database) -> None:
    caller = authenticate(database, "ck_of_t1")
    assert caller == Caller(actor="channel:T_1", scopes=frozenset({"device"}), channel="T_1")


def test_neither_secret_nor_text_of_a_token_is_stored(database: Database) -> None:
    issued = make(database, "admin")
    secret = issued.text.split("_", 2)[2]
    with database.read() as connection:
        stored = repr(connection.execute(select(tokens)).all())
    assert secret not in stored
    assert secret not in repr(audit_of(database))


def audit_of(database: Database) -> list[audit.AuditEntry]:
    with database.read() as connection:
        return audit.list_entries(connection, limit=100)


@pytest.mark.parametrize("text", ["", "nonsense", "ss_aaaaaaaa_" + "b" * 43, "ck_\x00", "ss_", "x" * 5000])
def test_an_unknown_token_is_refused(database: Database, text: str) -> None:
    with pytest.raises(AuthenticationError, match="the token is unknown"):
        authenticate(database, text)


def test_a_tampered_token_is_refused_like_an_unknown_one(database: Database) -> None:
    issued = make(database, "admin")
    other = "B" if issued.text[-2] == "A" else "A"
    with pytest.raises(AuthenticationError, match="the token is unknown"):
        authenticate(database, issued.text[:-2] + other + issued.text[-1])


def test_an_expired_token_is_refused_and_says_so(database: Database) -> None:
    issued = make(database, "admin", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert authenticate(database, issued.text).scopes == {"admin"}
    change(database, issued.token.id, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(AuthenticationError, match="the token has expired"):
        authenticate(database, issued.text)


def test_a_revoked_token_is_refused_at_once_and_says_so(database: Database) -> None:
    issued = make(database, "admin")
    revoke_token(database, issued.token.id, by=COMMAND_LINE)
    with pytest.raises(AuthenticationError, match="the token has been revoked"):
        authenticate(database, issued.text)
    revoke_token(database, issued.token.id, by=COMMAND_LINE)  # once more is fine
    actions = [entry.action for entry in audit_of(database)]
    assert actions == ["token_revoked", "token_created"]


def test_a_token_is_no_session(database: Database) -> None:
    with pytest.raises(AuthenticationError, match="the session is unknown"):
        authenticate_session(database, make(database, "admin").text)


def test_when_a_token_was_used_is_noted_once_a_minute(database: Database) -> None:
    issued = make(database, "admin")
    assert last_used_at(database, issued.token.id) is None
    authenticate(database, issued.text)
    first = last_used_at(database, issued.token.id)
    assert first is not None
    authenticate(database, issued.text)
    assert last_used_at(database, issued.token.id) == first
    change(database, issued.token.id, last_used_at=first - timedelta(minutes=1))
    authenticate(database, issued.text)
    assert (last_used_at(database, issued.token.id) or first) >= first


def test_a_token_for_a_channel_that_is_not_there_is_not_made(database: Database) -> None:
    with pytest.raises(NotFoundError, match="channel T_9 does not exist"):
        make(database, "device", channel="T_9")


def test_a_token_that_has_expired_already_is_not_made(database: Database) -> None:
    with pytest.raises(UsageError, match="which is past"):
        make(database, "admin", expires_at=datetime.now(UTC) - timedelta(days=1))


def test_revoking_what_is_no_token_says_so(database: Database) -> None:
    with pytest.raises(NotFoundError, match="token nothing does not exist"):
        revoke_token(database, "nothing", by=COMMAND_LINE)


def test_tokens_are_listed_page_by_page_newest_first(database: Database) -> None:
    made = [make(database, "admin").token for _ in range(5)]
    expected = [one.id for one in sorted(made, key=lambda one: (-one.created_at.timestamp(), one.id))]
    first = list_tokens(database, limit=2)
    rest = list_tokens(database, after=(first[-1].created_at, first[-1].id), limit=9)
    assert [one.id for one in (*first, *rest)] == expected
