"""Messages are signed as Standard Webhooks says, and tried again for three days."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import UsageError
from shelfsight.webhooks.outbox import new_message_id
from shelfsight.webhooks.rules import (
    ATTEMPTS_MOST,
    TEST,
    Attempt,
    DeliveryState,
    Event,
    Verdict,
    attempts_left,
    body_of,
    check_events,
    headers_of,
    secret_text,
    verdict,
)
from tests.webhooks.receiver import Message, signature_by_openssl

AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def message(secret: str, message_id: str, body: bytes, at: datetime) -> Message:
    headers = {name.decode(): value.decode() for name, value in headers_of(secret, message_id, body, at)}
    return Message("/hook", headers, body)


def after(attempt: Attempt, *, number: int, chance: float = 0) -> Verdict:
    return verdict(attempt, number=number, left=attempts_left(Event.SALE_RECORDED, number), chance=chance)


def test_the_signature_is_that_of_the_libraries_of_standard_webhooks() -> None:
    """The case that the libraries of the specification are tested with."""
    found = message(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert found.headers["webhook-timestamp"] == "1614265330"
    assert found.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_program_finds_the_same_signature() -> None:
    secret = secret_text(bytes(range(32)))
    found = message(secret, new_message_id(), body_of(Event.SALE_RECORDED, {"name": "Käse 🧀"}, AT).encode(), AT)
    assert secret.startswith("whsec_")
    assert found.headers["webhook-signature"] == signature_by_openssl(found, secret)


def test_an_id_holds_no_point_and_is_never_the_same() -> None:
    found = {new_message_id() for _ in range(100)}
    assert len(found) == 100
    assert not any("." in one for one in found)


def test_a_body_says_what_happened_and_when() -> None:
    assert json.loads(body_of(Event.SALE_RECORDED, {"n": 1}, AT)) == {
        "type": "sale.recorded",
        "timestamp": "2026-11-20T09:30:00Z",
        "data": {"n": 1},
    }


def test_it_is_tried_for_three_days_ever_more_rarely() -> None:
    waits = [after(Attempt(status=500), number=number).delay for number in range(1, ATTEMPTS_MOST)]
    assert all(one is not None for one in waits)
    known = [one for one in waits if one is not None]
    assert known == sorted(known)
    assert (known[0], len(known)) == (timedelta(seconds=5), 9)
    assert timedelta(days=3) < sum(known, timedelta()) < timedelta(days=3.5)
    last = after(Attempt(status=500), number=ATTEMPTS_MOST)
    assert (last.state, last.delay, last.error) == (DeliveryState.FAILED, None, "the server answers 500")


@given(st.integers(1, ATTEMPTS_MOST - 1), st.floats(0, 1, exclude_max=True))
def test_chance_spreads_attempts_by_a_fifth_at_most(number: int, chance: float) -> None:
    waits, plain = (after(Attempt(status=503), number=number, chance=one).delay for one in (chance, 0.0))
    assert waits is not None
    assert plain is not None
    assert plain <= waits <= plain * 1.2


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_kind_of_yes_is_one(status: int) -> None:
    found = after(Attempt(status=status), number=1)
    assert (found.state, found.delay, found.error, found.disables) == (DeliveryState.DELIVERED, None, None, False)


@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 400, 401, 404, 429, 500, 502, 504])
def test_anything_else_is_tried_again(status: int) -> None:
    found = after(Attempt(status=status), number=1)
    assert (found.state, found.error) == (DeliveryState.PENDING, f"the server answers {status}")


def test_who_is_gone_is_not_asked_again() -> None:
    found = after(Attempt(status=410), number=1)
    assert (found.state, found.delay, found.disables) == (DeliveryState.FAILED, None, True)


def test_no_answer_is_told_in_its_own_words() -> None:
    found = after(Attempt(error="the server does not answer in time"), number=1)
    assert (found.state, found.error) == (DeliveryState.PENDING, "the server does not answer in time")


@pytest.mark.parametrize(("asked", "waits"), [(None, 5), (1, 5), (60, 60), (10**9, 24 * 3600)])
def test_a_server_that_says_when_to_come_back_is_believed_within_reason(asked: int | None, waits: int) -> None:
    found = after(Attempt(status=429, retry_after_s=asked), number=1)
    assert found.delay == timedelta(seconds=waits)


def test_events_are_known_and_each_is_there_once() -> None:
    assert check_events(["sale.recorded", "sale.recorded"]) == ("sale.recorded",)
    for wrong in ([], ["sale.forgotten"], ["webhook.test"]):
        with pytest.raises(UsageError, match=r"sale\.recorded"):
            check_events(wrong)


def test_a_test_is_made_once() -> None:
    found = verdict(Attempt(status=500), number=1, left=attempts_left(TEST, 1), chance=0)
    assert (found.state, found.delay) == (DeliveryState.FAILED, None)
