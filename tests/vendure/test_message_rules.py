"""Which messages are believed, and what they mean for channels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shelfsight.vendure.message_rules import (
    REQUESTER_MOST,
    Happening,
    Signed,
    Wanted,
    is_genuine,
    requester,
    wanted_by,
)
from shelfsight.vendure.rules import NAMED_MOST
from shelfsight.webhooks.rules import headers_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (of the specification)
BODY = b'{"test": 2432232314}'


def signed(message_id: str = "msg_1", at: datetime = NOW, body: bytes = BODY, secret: str = SECRET) -> Signed:
    headers = {name.decode(): value.decode() for name, value in headers_of(secret, message_id, body, at)}
    return Signed(
        message_id=headers["webhook-id"],
        timestamp=headers["webhook-timestamp"],
        signature=headers["webhook-signature"],
    )


def test_the_example_of_the_specification_is_genuine() -> None:
    example = Signed(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp="1614265330",
        signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    assert is_genuine(example, BODY, SECRET, datetime(2021, 2, 25, 15, 2, tzinfo=UTC))


def test_one_of_several_signatures_is_enough() -> None:
    one = signed()
    assert is_genuine(replace(one, signature=f"v1,AAAA v2,x {one.signature}"), BODY, SECRET, NOW)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_clocks_may_be_five_minutes_apart(minutes: int) -> None:
    at = NOW + timedelta(minutes=minutes)
    assert is_genuine(signed(at=at), BODY, SECRET, NOW)
    later = at + timedelta(seconds=1 if minutes > 0 else -1)
    assert not is_genuine(signed(at=later), BODY, SECRET, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        signed(secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        signed(body=BODY + b" "),
        replace(signed(), message_id="msg_2"),
        replace(signed(), timestamp=str(int(NOW.timestamp()) + 1)),
        replace(signed(), signature=""),
        replace(signed(), signature="v1,"),
        replace(signed(), signature="v1,ä"),
        replace(signed(), message_id=""),
        replace(signed(), timestamp=""),
        replace(signed(), timestamp="-1"),
        replace(signed(), timestamp="1e9"),
        replace(signed(), timestamp="٣"),
        replace(signed(), timestamp="9" * 11),
        replace(signed(), timestamp="9" * 12),
        replace(signed(), message_id="a\nb"),
    ],
)
def test_anything_else_is_not(wrong: Signed) -> None:
    assert not is_genuine(wrong, BODY, SECRET, NOW)


def happening(*products: str, kind: str = "product", **more: object) -> Happening:
    return Happening(kind=kind, products=products, **{"channels": None, "user": "3", **more})  # type: ignore[arg-type]


def test_events_concern_the_channels_they_name_or_all() -> None:
    happened = [happening("7"), happening("8", channels=("2",)), happening("9", channels=("5",))]
    assert wanted_by(happened, ["2", "4"], own_user="1") == {
        "2": Wanted(products=frozenset({"7", "8"})),
        "4": Wanted(products=frozenset({"7"})),
    }


def test_a_channel_that_is_named_and_meant_with_all_others_has_both() -> None:
    many = [str(number) for number in range(NAMED_MOST)]
    happened = [happening(*many), happening("more", channels=("2", "2"))]
    assert wanted_by(happened, ["2", "4"], own_user="1") == {
        "2": Wanted(everything=True),
        "4": Wanted(products=frozenset(many)),
    }


def test_our_own_changes_are_nothing_new_and_nobodys_are() -> None:
    happened = [happening("7", user="1"), happening("8", user=None)]
    assert wanted_by(happened, ["2"], own_user="1") == {"2": Wanted(products=frozenset({"8"}))}
    assert wanted_by([happening("7", user="1")], ["2"], own_user="1") == {}


def test_a_change_of_a_channel_or_too_many_products_want_everything() -> None:
    everything = {"2": Wanted(everything=True)}
    assert wanted_by([happening(kind="channel", channels=("2",))], ["2"], own_user="1") == everything
    many = [str(number) for number in range(NAMED_MOST + 1)]
    assert wanted_by([happening(*many)], ["2"], own_user="1") == everything
    assert wanted_by([happening(*many[1:])], ["2"], own_user="1") == {"2": Wanted(products=frozenset(many[1:]))}


def test_who_asks_for_a_training_is_named_as_the_audit_can_show_it() -> None:
    assert requester("Anna Bäcker") == "vendure:Anna Bäcker"
    assert requester("x\n\x1b[2J" + "y" * 500) == "vendure:x[2J" + "y" * (REQUESTER_MOST - 4)
    assert requester(" \n") == "vendure"
