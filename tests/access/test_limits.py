"""How often devices may ask."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.access import limits
from shelfsight.access.limits import UNKNOWN_TOKENS_PER_MINUTE, RequestLimits, VolumeLimit


@dataclass
class Clock:
    """A clock that a test sets forward."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_pass_in_a_window_and_then_nobody_until_it_ends(clock: Clock) -> None:
    counted = RequestLimits(3, clock=clock)
    assert [counted.wait_s("192.0.2.7") for _ in range(3)] == [None] * 3
    clock.now_s += 19.5
    assert [counted.wait_s("192.0.2.7") for _ in range(2)] == [41, 41]
    clock.now_s += 40.4
    assert counted.wait_s("192.0.2.7") == 1
    clock.now_s += 0.1
    assert [counted.wait_s("192.0.2.7") for _ in range(4)] == [None, None, None, 60]


def test_who_waits_as_long_as_was_said_may_ask_again(clock: Clock) -> None:
    counted = RequestLimits(1, clock=clock)
    for passed_s in (0.3, 59.9, 12.0, 30.7):
        assert counted.wait_s("192.0.2.7") is None
        clock.now_s += passed_s
        wait_s = counted.wait_s("192.0.2.7")
        assert wait_s is not None
        clock.now_s += wait_s


@given(st.lists(st.floats(0, 20), min_size=1, max_size=300))
def test_in_any_minute_no_more_than_twice_as_many_pass(pauses_s: list[float]) -> None:
    clock = Clock()
    counted = RequestLimits(10, clock=clock)
    passed: list[float] = []
    for pause_s in pauses_s:
        clock.now_s += pause_s / 10
        if counted.wait_s("192.0.2.7") is None:
            passed.append(clock.now_s)
    assert all(sum(start <= at < start + 60 for at in passed) <= 20 for start in passed)


def test_addresses_and_tokens_are_counted_each_by_itself(clock: Clock) -> None:
    counted = RequestLimits(1, clock=clock)
    for who in ("192.0.2.7", "192.0.2.8", None, "no address", "2001:db8::1", "2001:db8:0:1::1"):
        assert counted.wait_s(who) is None
        assert counted.wait_s(who) == 60
    assert counted.token_wait_s("192.0.2.7") is None
    assert counted.token_wait_s("token:a") is None
    assert counted.token_wait_s("token:a") == 60
    assert counted.token_wait_s("token:b") is None


@pytest.mark.parametrize("same", ["2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff", "2001:0db8:0::3"])
def test_whoever_has_a_network_of_ipv6_is_one(clock: Clock, same: str) -> None:
    counted = RequestLimits(1, clock=clock)
    assert counted.wait_s("2001:db8::1") is None
    assert counted.wait_s(same) == 60
    assert counted.wait_s("::ffff:192.0.2.7") is None
    assert counted.wait_s("192.0.2.7") == 60


def test_without_a_limit_only_look_ups_are_bounded(clock: Clock) -> None:
    counted = RequestLimits(0, clock=clock)
    assert {counted.wait_s("192.0.2.7") for _ in range(5000)} == {None}
    assert {counted.token_wait_s("token:a") for _ in range(5000)} == {None}
    looked_up = [counted.unknown_wait_s("192.0.2.7") for _ in range(1000)]
    assert looked_up.count(None) == UNKNOWN_TOKENS_PER_MINUTE
    assert counted.unknown_wait_s("192.0.2.8") is None


def test_token_that_was_right_is_not_counted(clock: Clock) -> None:
    counted = RequestLimits(10, clock=clock)
    for _ in range(1000):
        assert counted.unknown_wait_s("192.0.2.7") is None
        counted.token_was_right("192.0.2.7")
    assert [counted.unknown_wait_s("192.0.2.7") for _ in range(61)].count(None) == 60


def test_late_word_of_a_right_token_gives_nobody_more_than_all(clock: Clock) -> None:
    counted = RequestLimits(10, clock=clock)
    for _ in range(5):
        counted.token_was_right("192.0.2.7")
    counted.unknown_wait_s("192.0.2.7")
    for _ in range(5):
        counted.token_was_right("192.0.2.7")
    assert [counted.unknown_wait_s("192.0.2.7") for _ in range(100)].count(None) == UNKNOWN_TOKENS_PER_MINUTE


def test_no_more_are_held_than_there_is_room_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_COUNTED", 100)
    counted = RequestLimits(1, clock=clock)
    for number in range(1000):
        clock.now_s += 0.001
        assert counted.wait_s(f"address {number}") is None
    assert len(counted._windows._held) == 100
    assert counted.wait_s("address 999") == 60
    assert counted.wait_s("address 900") == 60
    assert counted.wait_s("address 899") is None  # its window began first


def test_threads_count_together() -> None:
    counted = RequestLimits(1000)
    passed: list[int] = []

    def ask() -> None:
        passed.append([counted.wait_s("192.0.2.7") for _ in range(500)].count(None))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 1000


def test_so_much_passes_in_a_window_and_what_does_not_pass_is_not_counted(clock: Clock) -> None:
    counted = VolumeLimit(100, clock=clock)
    passed = [counted.allows(amount, "T_1") for amount in (60, 41, 500, 40, 1)]
    assert passed == [True, False, False, True, False]
    assert counted.allows(100, "T_2")
    clock.now_s += 60
    assert [counted.allows(100, "T_1"), counted.allows(1, "T_1")] == [True, False]


def test_threads_bring_together_no_more_than_may_pass() -> None:
    counted, start = VolumeLimit(100), threading.Barrier(8)
    passed: list[bool] = []

    def bring() -> None:
        start.wait()
        passed.extend(counted.allows(7, "T_1") for _ in range(10))

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed.count(True) == 14
