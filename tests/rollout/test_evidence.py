"""A bad version is halted and a good one advances, on the word of many devices and never on that of one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import UsageError
from shelfsight.rollout.evidence import DeviceCounts, Evidence, EvidenceGate, Judgement, Verdict, judge
from shelfsight.rollout.looks import SequentialState

if TYPE_CHECKING:
    from collections.abc import Iterable

GATE = EvidenceGate()
DAY = timedelta(days=1)
THRESHOLD = 0.05
SEVERITY = (Verdict.ADVANCE, Verdict.HOLD, Verdict.HALT)

Counts = tuple[int, int]  # events, errors


def arm(name: str, counts: Iterable[Counts]) -> tuple[DeviceCounts, ...]:
    return tuple(
        DeviceCounts(device=f"{name}-{number}", events=events, errors=errors)
        for number, (events, errors) in enumerate(counts)
    )


def evidence(candidate: Iterable[Counts], control: Iterable[Counts]) -> Evidence:
    return Evidence(candidate=arm("candidate", candidate), control=arm("control", control))


def told(
    seen: Evidence, gate: EvidenceGate = GATE, *, age: timedelta = DAY, state: SequentialState | None = None
) -> Judgement:
    return judge(seen, gate, rollback_threshold=THRESHOLD, stage_age=age, state=state)


def errors_of(*errors: int) -> list[Counts]:
    """Return devices with so many errors each, in so many events that the threshold is far."""
    return [(1000, one) for one in errors]


@st.composite
def counts(draw: st.DrawFn, most_events: int = 80) -> Counts:
    events = draw(st.integers(0, most_events))
    return events, draw(st.integers(0, events))


arms = st.lists(counts(), max_size=12)


# ---- each verdict, with its sentence


def test_nothing_seen_is_hold() -> None:
    found = told(Evidence(), age=timedelta(hours=5.97))
    assert found.verdict is Verdict.HOLD
    assert found.reason == (
        "Too little evidence to advance: 0 of 5 devices with the candidate, 0 of 300 events with the candidate, "
        "0 of 5 devices with the stable version, 0 of 300 events with the stable version, "
        "5.9 of 24 hours at this share."
    )
    assert found.chance == 1


def test_a_candidate_whose_devices_err_sooner_is_halted_below_the_threshold_too() -> None:
    found = told(evidence([(100, 4)] * 20, [(100, 1)] * 20))
    assert found.verdict is Verdict.HALT
    assert found.reason.startswith(
        "The candidate does worse than the stable version: 2 or more errors had 20 of 20 devices with it, "
        "and 0 of 20 without. Chance alone does that in one of "
    )
    assert found.chance < 0.001


def test_a_candidate_above_the_threshold_is_halted_with_nothing_beside_it() -> None:
    found = told(evidence([(40, 4)] * 10, []))
    assert found.verdict is Verdict.HALT
    assert found.reason == (
        "The error rate is surely above 5.0%: 10.0% (40 errors in 400 events of 10 devices, 10 of which had any), "
        "at least 7.0%, and without the worst device at least 7.7%."
    )


def test_a_shop_above_the_threshold_on_both_arms_is_told_so() -> None:
    found = told(evidence([(40, 4)] * 10, [(40, 4)] * 10))
    assert found.verdict is Verdict.HALT
    assert found.reason.endswith("The stable version is at 10.0% itself: the cause may lie elsewhere.")


def test_an_equally_good_candidate_advances() -> None:
    found = told(evidence([(40, 1), (60, 1)] * 15, [(40, 1), (60, 1)] * 15))
    assert found.verdict is Verdict.ADVANCE
    assert found.reason == (
        "The candidate is surely less than 2.5 points worse than the stable version: "
        "an error rate of 2.0% (30 errors in 1,500 events of 30 devices, 30 of which had any), "
        "against 2.0% (30 errors in 1,500 events of 30 devices, 30 of which had any)."
    )


def test_without_any_error_it_advances_as_well() -> None:
    assert told(evidence([(100, 0)] * 5, [(100, 0)] * 5)).verdict is Verdict.ADVANCE


def test_an_equally_good_candidate_waits_for_its_day() -> None:
    found = told(evidence([(100, 1)] * 30, [(100, 1)] * 30), age=timedelta(hours=23.99))
    assert found.verdict is Verdict.HOLD
    assert found.reason == "Too little evidence to advance: 23.9 of 24 hours at this share."


def test_a_candidate_that_is_not_surely_equal_is_held() -> None:
    found = told(evidence([(40, 1)] * 10, [(40, 1)] * 10))
    assert found.verdict is Verdict.HOLD
    assert found.reason.startswith("Not sure yet that the candidate is less than 2.5 points worse than the stable")


def test_a_candidate_above_the_threshold_is_held_even_where_the_stable_version_is_no_better() -> None:
    both = [(50, 3), (50, 2)] * 500 + [(50, 3)]
    found = told(evidence(both, both), state=SequentialState(looked_at=50_000))
    assert found.verdict is Verdict.HOLD
    assert found.reason.startswith("The error rate may be above 5.0%: 5.0%")


def test_a_candidate_that_may_be_worse_is_held() -> None:
    found = told(evidence([(100, 2)] * 8 + [(100, 0)] * 22, [(100, 1)] * 1 + [(100, 0)] * 29))
    assert found.verdict is Verdict.HOLD
    assert found.reason.startswith("The candidate may be worse than the stable version: 2 or more errors had 8 of 30")
    assert 0.01 < found.chance <= 0.05


# ---- the word of one device


def test_one_broken_device_of_fifty_holds_and_is_named() -> None:
    found = told(evidence([(5000, 5000)] + [(40, 1)] * 49, [(40, 1)] * 50))
    assert found.verdict is Verdict.HOLD
    assert found.reason.endswith(" Device candidate-0 alone had 5,000 of the errors: look at it first.")
    assert "weighed by device (5,049 errors in 6,960 events of 50 devices" in found.reason


def test_a_broken_device_without_the_candidate_does_not_make_the_candidate_look_good() -> None:
    candidate, alike = [(50, 2)] * 12, [(50, 2)] * 11
    found = told(evidence(candidate, [(50, 50), *alike]))
    assert found.control.rate > 2 * found.candidate.rate
    assert found.verdict is Verdict.HOLD


def test_what_only_few_devices_say_has_to_stand_without_one_of_them() -> None:
    control = errors_of(*[0] * 290, *[1] * 68, *[2] * 42)
    few = [0, 0, 1, 1, 2, 2, 2, 8, 8, 8]
    found = [told(evidence(errors_of(*errors), control)) for errors in (few, [*few, 8, 8])]
    assert [one.verdict for one in found] == [Verdict.HOLD, Verdict.HALT]
    assert all(one.chance < GATE.alpha for one in found)


def test_a_level_that_few_devices_reached_does_not_hide_one_that_is_sure() -> None:
    found = told(evidence(errors_of(1, 2, 2, 4, 4, 16), errors_of(*[0] * 282, *[1] * 71, *[2] * 26, *[3] * 21)))
    assert found.verdict is Verdict.HALT
    assert "1 or more errors had 6 of 6 devices with it, and 118 of 400 without" in found.reason


def test_as_many_devices_must_have_had_errors_as_the_gate_says() -> None:
    seen = evidence(errors_of(*[4] * 14, *[0] * 6), errors_of(*[0] * 20))
    gates = [replace(GATE, min_failing_devices=number) for number in (14, 15)]
    assert [told(seen, gate).verdict for gate in gates] == [Verdict.HALT, Verdict.HOLD]


@given(
    healthy=st.lists(st.tuples(st.integers(20, 120), st.integers(0, 1)), min_size=2, max_size=20),
    broken=st.lists(counts(10_000), min_size=1, max_size=6),
)
def test_whatever_one_device_reports_nothing_is_halted(healthy: list[Counts], broken: list[Counts]) -> None:
    """The others of the candidate's do exactly as those of the stable version."""
    state = None
    events = errors = 0
    for number, (more, bad) in enumerate(broken, start=1):
        events, errors = events + more, errors + bad
        both = [(of * number, n * number) for of, n in healthy]
        found = told(evidence([*both, (events, errors)], both), state=state)
        assert found.verdict is not Verdict.HALT, found.reason
        state = found.state


@given(candidate=st.lists(counts(10_000), max_size=2), control=arms)
def test_two_devices_never_halt_and_never_advance(candidate: list[Counts], control: list[Counts]) -> None:
    assert told(evidence(candidate, control)).verdict is Verdict.HOLD


def test_a_device_that_reports_very_much_weighs_no_more_than_some_others() -> None:
    loud, quiet = [(100_000, 50_000)], [(40, 0), (40, 1)] * 10
    found = told(evidence(loud + quiet, quiet))
    assert found.candidate.rate == pytest.approx((50 + 10) / (100 + 800))
    assert found.candidate.errors == 50_010


def test_a_device_on_both_arms_counts_for_the_candidate_alone() -> None:
    moved = DeviceCounts(device="moved", events=50, errors=5)
    stayed = DeviceCounts(device="stayed", events=10, errors=0)
    found = told(Evidence(candidate=(replace(moved, events=9, errors=1),), control=(moved, stayed)))
    assert (found.candidate.events, found.control.events) == (9, 10)


def test_a_device_that_has_reported_nothing_is_not_there() -> None:
    some = [(30, 1)] * 6
    assert (
        told(evidence([*some, (0, 0)], some)) == told(evidence(some, [*some, (0, 0)])) == told(evidence(some, some))
    )


# ---- what cannot change a verdict, and what can only change it one way


@given(candidate=arms, control=arms, data=st.data())
def test_names_and_order_of_devices_do_not_matter(
    candidate: list[Counts], control: list[Counts], data: st.DataObject
) -> None:
    plain = told(evidence(candidate, control))
    shuffled = [tuple(data.draw(st.permutations(one))) for one in (arm("ß", candidate), arm("0", control))]
    renamed = told(Evidence(candidate=shuffled[0], control=shuffled[1]))
    assert (renamed.verdict, renamed.candidate, renamed.control) == (plain.verdict, plain.candidate, plain.control)
    assert renamed.chance == pytest.approx(plain.chance)


@given(first=arms, second=arms, control=arms, data=st.data())
def test_more_errors_never_make_a_verdict_milder(
    first: list[Counts], second: list[Counts], control: list[Counts], data: st.DataObject
) -> None:
    state = told(evidence(first, control)).state
    later = added(first, second)
    which = data.draw(st.integers(0, max(0, len(later) - 1)))
    worse = [
        (events, data.draw(st.integers(errors, events)) if n == which else errors)
        for n, (events, errors) in enumerate(later)
    ]
    verdicts = [told(evidence(one, added(control, control)), state=state).verdict for one in (later, worse)]
    assert SEVERITY.index(verdicts[0]) <= SEVERITY.index(verdicts[1])


@given(candidate=arms, control=arms, data=st.data())
def test_more_errors_without_the_candidate_never_halt_it(
    candidate: list[Counts], control: list[Counts], data: st.DataObject
) -> None:
    worse = [(events, data.draw(st.integers(errors, events))) for events, errors in control]
    before, after = (told(evidence(candidate, one)).verdict for one in (control, worse))
    assert before is Verdict.HALT or after is not Verdict.HALT


def added(some: list[Counts], more: list[Counts]) -> list[Counts]:
    """Return what devices have reported after some more of it."""
    longest = max(len(some), len(more))
    padded = [one + [(0, 0)] * (longest - len(one)) for one in (some, more)]
    return [(a + c, b + d) for (a, b), (c, d) in zip(*padded, strict=True)]


# ---- from look to look


@given(looks=st.lists(st.tuples(arms, arms), min_size=1, max_size=4))
def test_a_state_that_was_stored_as_json_says_the_same(looks: list[tuple[list[Counts], list[Counts]]]) -> None:
    kept = stored = SequentialState()
    candidate: list[Counts] = []
    control: list[Counts] = []
    for more, beside in looks:
        candidate, control = added(candidate, more), added(control, beside)
        seen = evidence(candidate, control)
        plain, read = told(seen, state=kept), told(seen, state=stored)
        assert plain == read
        kept, stored = plain.state, SequentialState.from_document(json.loads(json.dumps(read.state.as_document())))
        assert stored == kept


@given(candidate=arms, control=arms)
def test_looking_twice_at_the_same_changes_nothing(candidate: list[Counts], control: list[Counts]) -> None:
    first = told(evidence(candidate, control))
    again = told(evidence(candidate, control), state=first.state)
    assert (again.state, again.chance) == (first.state, first.chance)


def test_the_threshold_is_looked_at_when_events_have_doubled() -> None:
    bad = [(5, 2)] * 9
    state = None
    halted = []
    for events in (45, 50, 60, 99, 100, 150):
        found = told(evidence([*bad, (events - 45, 0)], []), state=state)
        state = found.state
        halted.append((events, found.verdict is Verdict.HALT, state.looked_at))
    assert halted == [
        (45, False, 0),
        (50, True, 50),
        (60, False, 50),
        (99, False, 50),
        (100, True, 100),
        (150, False, 100),
    ]


def test_counts_that_become_smaller_are_no_new_evidence() -> None:
    more, fewer = evidence([(50, 3)] * 6, [(50, 1)] * 6), evidence([(20, 0)] * 6, [(50, 1)] * 6)
    first = told(more)
    second = told(fewer, state=first.state)
    assert second.state == first.state
    assert told(more, state=second.state).state == first.state


# ---- what cannot be


@pytest.mark.parametrize(("events", "errors"), [(1, 2), (3, -1), (-1, -1)])
def test_counts_that_cannot_be_are_refused(events: int, errors: int) -> None:
    with pytest.raises(UsageError, match="make no sense"):
        DeviceCounts(device="till", events=events, errors=errors)


def test_a_device_that_is_there_twice_is_refused() -> None:
    till = DeviceCounts(device="till", events=1, errors=0)
    with pytest.raises(UsageError, match="twice on the same arm"):
        Evidence(candidate=(till, till))


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.0},
        {"alpha_without_one": 0.5},
        {"margin": -0.1},
        {"first_look": 0},
        {"min_events": 0},
        {"min_failing_devices": 1},
        {"min_devices": 1},
        {"max_events_per_device": 0},
    ],
    ids=str,
)
def test_a_gate_that_lets_chance_or_one_device_decide_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        EvidenceGate(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("percent", [5, -0.1, float("nan")])
def test_a_threshold_in_percent_is_refused(percent: float) -> None:
    with pytest.raises(UsageError, match="use 0 to 1"):
        judge(Evidence(), GATE, rollback_threshold=percent, stage_age=DAY)
