"""Scopes, rights, tokens, names and passwords."""

from __future__ import annotations

import base64
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.access.rules import (
    COMMAND_LINE,
    NOBODY,
    Caller,
    Right,
    TokenParts,
    check_administrator_name,
    check_password,
    check_scopes,
    digest_of,
    is_secret_of,
    join_token,
    may,
    may_report,
    parse_scope,
    readable_channels,
    split_token,
)
from shelfsight.errors import UsageError

IDS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64).filter(
    lambda text: text[0] not in "._-"
)
EVERY_RIGHT = frozenset(Right)


def caller(*scopes: str, channel: str | None = None) -> Caller:
    return Caller(actor="token:test", scopes=frozenset(scopes), channel=channel)


def rights(who: Caller, channel: str | None) -> frozenset[Right]:
    return frozenset(right for right in Right if may(who, right, channel))


@pytest.mark.parametrize(
    ("who", "on_its_own", "on_another", "on_the_service"),
    [
        (caller("admin"), EVERY_RIGHT, EVERY_RIGHT, EVERY_RIGHT),
        (COMMAND_LINE, EVERY_RIGHT, EVERY_RIGHT, EVERY_RIGHT),
        (caller("channel:T_1:write"), {Right.WRITE, Right.READ, Right.DEVICE}, set(), set()),
        (caller("channel:T_1:read"), {Right.READ, Right.DEVICE}, set(), set()),
        (caller("device", channel="T_1"), {Right.DEVICE}, set(), set()),
        (caller("device"), set(), set(), set()),
        (NOBODY, set(), set(), set()),
    ],
)
def test_each_scope_gives_its_rights_and_no_more(
    who: Caller, on_its_own: set[Right], on_another: set[Right], on_the_service: set[Right]
) -> None:
    assert rights(who, "T_1") == on_its_own
    assert rights(who, "T_2") == on_another
    assert rights(who, None) == on_the_service


@given(IDS, IDS)
def test_no_scope_of_one_channel_reaches_another(one: str, other: str) -> None:
    who = caller(f"channel:{one}:write", "device", channel=one)
    assert rights(who, other) == ({Right.WRITE, Right.READ, Right.DEVICE} if one == other else set())


@given(IDS, st.sampled_from(["read", "write"]))
def test_a_scope_of_a_channel_is_read_back(channel: str, right: str) -> None:
    assert parse_scope(f"channel:{channel}:{right}") == (Right(right), channel)
    assert readable_channels(caller(f"channel:{channel}:{right}")) == frozenset({channel})


@given(st.text(max_size=200))
def test_any_text_is_a_scope_or_a_usage_error(text: str) -> None:
    right, channel = None, None
    with suppress(UsageError):
        right, channel = parse_scope(text)
    if right is not None:
        assert text == (right.value if channel is None else f"channel:{channel}:{right.value}")


def test_what_is_no_scope_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        UsageError, match="'admins' is no scope: use admin, channel:ID:read, channel:ID:write or device"
    ):
        parse_scope("admins")


def test_an_administrator_reads_every_channel() -> None:
    assert readable_channels(COMMAND_LINE) is None
    assert readable_channels(caller("device", channel="T_1")) == frozenset()


@pytest.mark.parametrize(
    ("scopes", "channel"),
    [([], None), (["device"], None), (["admin"], "T_1"), (["channel:T_1:read\n"], None), (["channel:*:read"], None)],
)
def test_scopes_that_make_no_sense_are_refused(scopes: list[str], channel: str | None) -> None:
    with pytest.raises(UsageError):
        check_scopes(scopes, channel=channel)


@given(st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_a_token_is_taken_apart_as_it_was_joined(token_id: str, secret: bytes) -> None:
    parts = TokenParts(id=token_id, secret=base64.urlsafe_b64encode(secret).decode().rstrip("="))
    assert split_token(join_token(parts)) == parts


@given(st.text(max_size=120))
def test_any_text_is_a_token_or_none(text: str) -> None:
    parts = split_token(text)
    assert parts is None or join_token(parts) == text


def test_a_digest_is_that_of_its_secret_only() -> None:
    assert is_secret_of("right", digest_of("right"))
    assert not is_secret_of("wrong", digest_of("right"))
    assert digest_of("right") != "right"


@pytest.mark.parametrize("name", ["", " anna", "anna\n", "a" * 65, "<b>", "-anna", "anna\x00", "änna"])
def test_a_name_that_is_hard_to_type_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="a name has 1 to 64 characters"):
        check_administrator_name(name)


def test_a_password_of_twelve_characters_is_taken_and_one_of_eleven_is_not() -> None:
    assert check_password("a" * 12) == "a" * 12
    for wrong in ("a" * 11, "a" * 1001):
        with pytest.raises(UsageError, match="a password has 12 to 1000 characters"):
            check_password(wrong)


def test_a_password_is_the_same_however_a_keyboard_spells_it() -> None:
    assert check_password("caf\u0065\u0301 au lait") == check_password("caf\u00e9 au lait")


@pytest.mark.parametrize(
    ("caller", "reports"),
    [
        (Caller(actor="channel:T_1", scopes=frozenset({"device"}), channel="T_1"), True),
        (Caller(actor="channel:T_2", scopes=frozenset({"device"}), channel="T_2"), False),
        (Caller(actor="token:a", scopes=frozenset({"channel:T_1:read"})), False),
        (Caller(actor="token:b", scopes=frozenset({"channel:T_1:write"})), True),
        (Caller(actor="token:c", scopes=frozenset({"channel:T_2:write"})), False),
        (Caller(actor="admin:anna", scopes=frozenset({"admin"})), True),
        (NOBODY, False),
    ],
)
def test_devices_say_what_happened_and_who_only_reads_does_not(caller: Caller, reports: bool) -> None:
    assert may_report(caller, "T_1") is reports
