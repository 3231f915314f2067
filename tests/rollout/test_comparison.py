"""The bets against the candidate win by chance as rarely as they say, and no device counts twice."""

from __future__ import annotations

import itertools
import math
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.rollout.comparison import RATIOS, Stake, Step, Tally, stakes, steps_between

FEW = st.integers(0, 9)
NOBODY = Tally(candidate={}, control={})


def step(waiting: tuple[int, int], reached: tuple[int, int], level: int = 1) -> Step:
    return Step(
        level=level,
        candidate_waiting=waiting[0],
        control_waiting=waiting[1],
        candidate_reached=reached[0],
        control_reached=reached[1],
    )


def only(steps: list[Step]) -> Stake:
    """Return the stake of the one level that there is."""
    (found,) = stakes(steps)
    return found


def splits(waiting: tuple[int, int], reached: int) -> list[tuple[float, tuple[int, int]]]:
    """Return how so many of those that wait may fall on the arms, and how likely that is by lot."""
    ways = comb(sum(waiting), reached)
    return [
        (comb(waiting[0], n) * comb(waiting[1], reached - n) / ways, (n, reached - n))
        for n in range(max(0, reached - waiting[1]), min(waiting[0], reached) + 1)
    ]


def test_each_device_counts_once_on_each_level_when_it_reaches_it() -> None:
    before = Tally(candidate={"a": 1}, control={"d": 2})
    now = Tally(candidate={"a": 5, "b": 0, "c": 1}, control={"d": 3, "e": 2, "f": 0})
    assert steps_between(before, now) == (
        step((2, 2), (1, 1), level=1),
        step((3, 2), (1, 1), level=2),
        step((3, 3), (1, 0), level=4),
    )


def test_a_look_at_which_nobody_reached_anything_is_no_step() -> None:
    tally = Tally(candidate={"a": 3, "b": 0}, control={"c": 1})
    assert steps_between(tally, tally) == ()
    assert steps_between(NOBODY, Tally(candidate={"a": 0}, control={})) == ()


@given(waiting=st.tuples(FEW, FEW), reached=FEW)
def test_what_bets_win_by_lot_they_lose_by_lot(waiting: tuple[int, int], reached: int) -> None:
    reached = max(1, min(reached, sum(waiting)))
    if sum(waiting) == 0:
        return
    mean = sum(p * math.exp(only([step(waiting, split)]).log_value) for p, split in splits(waiting, reached))
    assert mean == pytest.approx(1 / 2)  # the part of the first level


@given(
    waiting=st.tuples(st.integers(1, 6), st.integers(1, 6)), reached=st.tuples(st.integers(1, 3), st.integers(1, 3))
)
def test_the_mean_stays_whatever_was_seen_before(waiting: tuple[int, int], reached: tuple[int, int]) -> None:
    first = min(reached[0], sum(waiting) - 1)
    if first < 1:
        return
    for _, split in splits(waiting, first):
        before = [step(waiting, split)]
        left = (waiting[0] - split[0], waiting[1] - split[1])
        second = min(reached[1], sum(left))
        mean = sum(p * math.exp(only([*before, step(left, more)]).log_value) for p, more in splits(left, second))
        assert mean == pytest.approx(math.exp(only(before).log_value))


def test_by_lot_a_stake_is_ever_tenfold_in_a_tenth_or_less_of_all_orders_even_looked_at_after_each_device() -> None:
    """Every order in which 12 devices may fail, kept by how many of the arms have not yet."""
    alive: dict[tuple[int, int], list[tuple[float, list[Step]]]] = {(6, 6): [(1.0, [])]}
    won = 0.0
    for _ in range(12):
        after: dict[tuple[int, int], list[tuple[float, list[Step]]]] = {}
        for waiting, histories in alive.items():
            for (p, history), (q, split) in itertools.product(histories, splits(waiting, 1)):
                longer = [*history, step(waiting, split)]
                if only(longer).log_value >= math.log(10):
                    won += p * q
                else:
                    after.setdefault((waiting[0] - split[0], waiting[1] - split[1]), []).append((p * q, longer))
        alive = after
    assert 0 < won <= 1 / 10


@given(waiting=st.tuples(st.integers(2, 9), FEW), reached=FEW, data=st.data())
def test_fewer_devices_that_fail_with_the_candidate_win_less(
    waiting: tuple[int, int], reached: int, data: st.DataObject
) -> None:
    control = min(reached, waiting[1])
    fewer = data.draw(st.integers(0, waiting[0] - 1))
    if fewer + control == 0:
        return
    less, more = (only([step(waiting, (n, control))]).log_value for n in (fewer, fewer + 1))
    assert less < more + 1e-9


def test_the_bets_are_those_that_are_named() -> None:
    value = only([step((1, 1), (1, 0))]).log_value
    expected = sum(ratio / ((ratio + 1) / 2) for ratio in RATIOS) / len(RATIOS)
    assert math.exp(value) == pytest.approx(expected / 2)


def test_unequal_arms_are_no_evidence_by_themselves() -> None:
    as_dealt = only([step((10, 90), (2, 18))]).log_value
    evenly = only([step((10, 90), (10, 10))]).log_value
    assert as_dealt < math.log(1 / 2) < math.log(100) < evenly


@given(waiting=st.tuples(st.integers(1, 9), FEW), reached=st.tuples(FEW, FEW))
def test_without_one_device_it_is_what_it_were_had_it_not_been_there(
    waiting: tuple[int, int], reached: tuple[int, int]
) -> None:
    one = (max(1, min(waiting[0], reached[0])), min(waiting[1], reached[1]))
    found = only([step(waiting, one)])
    less_one, less_reached = (waiting[0] - 1, waiting[1]), (one[0] - 1, one[1])
    without = only([step(less_one, less_reached)]).log_value if sum(less_reached) else math.log(1 / 2)
    assert found.log_value_without_one == pytest.approx(min(found.log_value, without))


def test_without_one_device_is_never_more_than_had_it_not_waited_either() -> None:
    steps = [step((5, 5), (2, 0)), step((3, 5), (1, 1))]
    absent = only([step((4, 5), (2, 0)), step((2, 5), (0, 1))]).log_value
    found = only(steps)
    assert found.log_value_without_one < absent < found.log_value


def test_later_levels_have_smaller_parts_of_the_stake() -> None:
    parts = [math.exp(only([step((1, 0), (1, 0), level=1 << n)]).log_value) for n in range(40)]
    assert parts[:4] == pytest.approx([1 / 2, 1 / 6, 1 / 12, 1 / 20])
    assert sum(parts) < 1
