"""Setup links, passwords, sessions."""

# ruff: noqa: S105 (what looks like a secret is made up)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from shelfsight.access import administrators, audit, passwords, store
from shelfsight.access.administrators import (
    Login,
    LoginLimit,
    issue_setup_link,
    log_in,
    remove_administrator,
    set_up,
)
from shelfsight.access.rules import COMMAND_LINE, Caller
from shelfsight.access.tokens import authenticate, authenticate_session
from shelfsight.database.tables import administrators as table
from shelfsight.database.tables import tokens
from shelfsight.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    TooManyRequestsError,
    UsageError,
)
from tests.people import add_administrator

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database

PASSWORD = "correct horse battery"
ANNA = Login(name="anna", password=PASSWORD, address="192.0.2.1")


@pytest.fixture
def with_anna(database: Database) -> Database:
    add_administrator(database, "anna", PASSWORD)
    return database


def first_link(database: Database) -> str:
    link = issue_setup_link(database)
    assert link is not None
    return link


def expire(database: Database) -> None:
    with database.write() as connection:
        connection.execute(update(tokens).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_a_setup_link_makes_the_first_administrator_who_then_logs_in(database: Database) -> None:
    set_up(database, first_link(database), ANNA)
    session = log_in(database, ANNA, limit=LoginLimit())
    assert authenticate_session(database, session.text) == Caller(actor="admin:anna", scopes=frozenset({"admin"}))
    assert issue_setup_link(database) is None


def test_a_setup_link_works_once(database: Database) -> None:
    link = first_link(database)
    set_up(database, link, ANNA)
    with pytest.raises(AuthenticationError, match="the setup link has been used"):
        set_up(database, link, Login(name="eve", password=PASSWORD))


def test_of_two_who_use_a_setup_link_at_once_one_wins(database: Database) -> None:
    link = first_link(database)

    def use(name: str) -> bool:
        try:
            set_up(database, link, Login(name=name, password=PASSWORD))
        except AuthenticationError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        won = list(threads.map(use, ["anna", "bob", "carl", "dora", "eve", "fay"]))
    assert won.count(True) == 1
    with database.read() as connection:
        assert len(connection.execute(select(table)).all()) == 1


def test_a_setup_link_that_was_replaced_is_worth_nothing(database: Database) -> None:
    older, newer = first_link(database), first_link(database)
    with pytest.raises(AuthenticationError, match="the setup link is unknown"):
        set_up(database, older, ANNA)
    set_up(database, newer, ANNA)


def test_a_setup_link_expires(database: Database) -> None:
    link = first_link(database)
    expire(database)
    with pytest.raises(AuthenticationError, match="the setup link has expired"):
        set_up(database, link, ANNA)


def test_a_setup_link_is_void_once_there_is_an_administrator(database: Database) -> None:
    link = first_link(database)
    add_administrator(database, "bob", PASSWORD)
    with pytest.raises(AuthenticationError, match="the setup link has been used"):
        set_up(database, link, ANNA)


def test_a_setup_link_survives_a_password_that_is_too_short(database: Database) -> None:
    link = first_link(database)
    with pytest.raises(UsageError, match="a password has 12 to 1000 characters"):
        set_up(database, link, Login(name="anna", password="too short"))
    set_up(database, link, ANNA)


def test_a_setup_link_opens_no_door(database: Database) -> None:
    link = first_link(database)
    for door in (authenticate, authenticate_session):
        with pytest.raises(AuthenticationError, match="is unknown"):
            door(database, link)


def test_an_invitation_is_for_the_name_it_was_made_for(with_anna: Database) -> None:
    link = administrators.invite(with_anna, "bob", by=COMMAND_LINE).text
    with pytest.raises(UsageError, match="this setup link is for bob"):
        set_up(with_anna, link, Login(name="eve", password=PASSWORD))
    set_up(with_anna, link, Login(name="bob", password=PASSWORD))
    with pytest.raises(ConflictError, match="administrator bob exists"):
        administrators.invite(with_anna, "bob", by=COMMAND_LINE)


@pytest.mark.parametrize(
    "login", [Login(name="anna", password="wrong horse battery"), Login(name="eve", password=PASSWORD)]
)
def test_a_wrong_password_and_an_unknown_name_read_the_same(with_anna: Database, login: Login) -> None:
    with pytest.raises(AuthenticationError, match="name and password do not belong together: check both"):
        log_in(with_anna, login, limit=LoginLimit())


def test_the_eleventh_password_in_a_minute_is_not_even_looked_at(with_anna: Database) -> None:
    limit = LoginLimit()
    for _ in range(10):
        with pytest.raises(AuthenticationError):
            log_in(with_anna, Login(name="anna", password="", address="192.0.2.1"), limit=limit)
    with pytest.raises(TooManyRequestsError, match="wait a minute"):
        log_in(with_anna, ANNA, limit=limit)
    elsewhere = Login(name="anna", password=PASSWORD, address="192.0.2.2")
    assert log_in(with_anna, elsewhere, limit=limit).token.name == "anna"


def test_many_addresses_together_try_one_name_a_hundred_times_a_minute() -> None:
    limit = LoginLimit()
    for number in range(100):
        limit.check("anna", f"192.0.2.{number}")
    with pytest.raises(TooManyRequestsError):
        limit.check("anna", "198.51.100.1")
    limit.check("bob", "198.51.100.1")


def test_one_address_cannot_use_up_the_tries_of_a_name() -> None:
    limit = LoginLimit()
    for _ in range(200):
        with suppress(TooManyRequestsError):
            limit.check("anna", "192.0.2.1")
    limit.check("anna", "198.51.100.1")


def test_who_has_logged_in_is_not_locked_out_there_by_strangers_elsewhere(with_anna: Database) -> None:
    limit = LoginLimit()
    log_in(with_anna, ANNA, limit=limit)
    for number in range(99):  # and the one above
        limit.check("anna", f"198.51.100.{number}")
    assert log_in(with_anna, ANNA, limit=limit).token.name == "anna"
    with pytest.raises(TooManyRequestsError):
        log_in(with_anna, Login(name="anna", password=PASSWORD, address="192.0.2.2"), limit=limit)


def test_one_address_cannot_try_many_names() -> None:
    limit = LoginLimit()
    for number in range(30):
        limit.check(f"name-{number}", "2001:db8::1")
    with pytest.raises(TooManyRequestsError):
        limit.check("another", "2001:db8::ffff")  # of the same /64


def test_a_session_ends_by_itself(with_anna: Database) -> None:
    session = log_in(with_anna, ANNA, limit=LoginLimit())
    expire(with_anna)
    with pytest.raises(AuthenticationError, match="the session has expired: log in again"):
        authenticate_session(with_anna, session.text)


def test_a_session_ends_by_logging_out(with_anna: Database) -> None:
    session = log_in(with_anna, ANNA, limit=LoginLimit())
    caller = authenticate_session(with_anna, session.text)
    administrators.log_out(with_anna, session.text, by=caller)
    with pytest.raises(AuthenticationError, match="the session has ended: log in again"):
        authenticate_session(with_anna, session.text)


def test_another_password_ends_the_other_sessions(with_anna: Database) -> None:
    limit = LoginLimit()
    kept, other = (log_in(with_anna, ANNA, limit=limit).text for _ in range(2))
    administrators.change_password(with_anna, ANNA, "another horse battery", limit=limit, session=kept)
    assert authenticate_session(with_anna, kept).actor == "admin:anna"
    with pytest.raises(AuthenticationError, match="the session has ended"):
        authenticate_session(with_anna, other)
    with pytest.raises(AuthenticationError):
        log_in(with_anna, ANNA, limit=limit)
    log_in(with_anna, Login(name="anna", password="another horse battery"), limit=limit)


def change_to_another(database: Database, login: Login, *, limit: LoginLimit) -> None:
    administrators.change_password(database, login, "another horse battery", limit=limit, session="")


@pytest.mark.parametrize("act", [change_to_another, log_in])
@pytest.mark.parametrize("meanwhile", ["removed", "changed"])
def test_a_password_that_counts_no_more_when_it_has_been_verified_does_nothing(
    with_anna: Database, monkeypatch: pytest.MonkeyPatch, act: Callable[..., object], meanwhile: str
) -> None:
    add_administrator(with_anna, "bob", PASSWORD)
    verify = passwords.is_password_of

    def verify_slowly(password: str, hashed: str | None) -> bool:
        is_right = verify(password, hashed)
        if meanwhile == "removed":
            remove_administrator(with_anna, "bob", by=COMMAND_LINE)
        else:
            with with_anna.write() as tx:
                store.update_password(tx, "bob", password_hash="another")
        return is_right

    monkeypatch.setattr(administrators, "is_password_of", verify_slowly)
    with pytest.raises(AuthenticationError, match="do not belong together"):
        act(with_anna, Login(name="bob", password=PASSWORD), limit=LoginLimit())
    with with_anna.read() as tx:
        assert store.password_hash_of(tx, "bob") == (None if meanwhile == "removed" else "another")
        assert tx.scalar(select(tokens.c.id).where(tokens.c.kind == "session")) is None


def test_who_is_removed_is_out_at_once(with_anna: Database) -> None:
    add_administrator(with_anna, "bob", PASSWORD)
    session = log_in(with_anna, Login(name="bob", password=PASSWORD), limit=LoginLimit())
    administrators.remove_administrator(with_anna, "bob", by=COMMAND_LINE)
    with pytest.raises(AuthenticationError):
        authenticate_session(with_anna, session.text)


def test_of_two_who_remove_each_other_at_once_one_stays(database: Database) -> None:
    for name in ("anna", "bert"):
        add_administrator(database, name, PASSWORD)

    def remove(name: str) -> str:
        try:
            remove_administrator(database, name, by=COMMAND_LINE)
        except (ConflictError, NotFoundError) as refused:
            return str(refused)
        return "removed"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(remove, "anna")
        second = pool.submit(remove, "bert")
    assert sorted([first.result(), second.result()])[1] == "removed"
    with database.read() as connection:
        assert store.count_administrators(connection) == 1


def test_the_last_administrator_stays(with_anna: Database) -> None:
    with pytest.raises(ConflictError, match="anna is the last administrator"):
        administrators.remove_administrator(with_anna, "anna", by=COMMAND_LINE)
    with pytest.raises(NotFoundError):
        administrators.remove_administrator(with_anna, "bob", by=COMMAND_LINE)


def test_passwords_are_stored_as_argon2id_only(with_anna: Database) -> None:
    with with_anna.read() as connection:
        stored = connection.scalar(select(table.c.password_hash)) or ""
        entries = audit.list_entries(connection, limit=10)
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in repr(entries)
    assert [entry.action for entry in entries] == ["administrator_added", "setup_link_issued"]


def test_administrators_are_listed_by_name(with_anna: Database) -> None:
    for name in ("dora", "bob"):
        add_administrator(with_anna, name, PASSWORD)
    assert [one.name for one in administrators.list_administrators(with_anna, limit=2)] == ["anna", "bob"]
    assert [one.name for one in administrators.list_administrators(with_anna, after="bob", limit=2)] == ["dora"]


def test_a_refused_password_changes_nothing(with_anna: Database) -> None:
    with pytest.raises(UsageError):
        administrators.change_password(with_anna, ANNA, "short", limit=LoginLimit(), session="")
    assert log_in(with_anna, ANNA, limit=LoginLimit()).token.name == "anna"
