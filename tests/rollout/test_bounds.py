"""Bounds hold as often as they say."""

from __future__ import annotations

import math
from math import comb

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shelfsight.rollout.bounds import Share, log_evidence_not_worse, lower_bound

MARGIN = 0.025


def share(errors: float, events: float) -> Share:
    return Share(errors=errors, events=events)


@pytest.mark.parametrize(
    ("errors", "events", "bound"),
    [(10, 100, 0.0552), (0, 50, 0.0), (50, 50, 0.9287), (1, 10, 0.0179), (81, 263, 0.2553)],
)
def test_wilsons_bound_is_as_published(errors: int, events: int, bound: float) -> None:
    assert lower_bound(share(errors, events), 0.025) == pytest.approx(bound, abs=5e-5)


def test_of_no_events_nothing_is_known() -> None:
    assert lower_bound(share(0, 0), 0.01) == 0
    assert share(0, 0).rate == 0


@given(events=st.integers(1, 2000), data=st.data())
def test_more_errors_never_lower_the_bound(events: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, events - 1))
    assert lower_bound(share(errors, events), 0.01) < lower_bound(share(errors + 1, events), 0.01)
    assert lower_bound(share(errors, events), 0.01) < lower_bound(share(errors + 1, events + 1), 0.01)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("worse", [0.0, 0.02, 0.05])
def test_evidence_that_it_is_not_worse_is_no_more_than_a_fair_bet_where_it_is(rate: float, worse: float) -> None:
    candidate, control = rate + MARGIN + worse, rate
    mean = sum(
        binomial(errors, 25, candidate)
        * binomial(beside, 35, control)
        * math.exp(log_evidence_not_worse(share(errors, 25), share(beside, 35), MARGIN))
        for errors in range(26)
        for beside in range(36)
    )
    assert mean <= 1


@given(events=st.integers(1, 3000), beside=st.integers(1, 3000), data=st.data())
def test_where_it_looks_worse_there_is_no_evidence_that_it_is_not(
    events: int, beside: int, data: st.DataObject
) -> None:
    errors, others = data.draw(st.integers(0, events)), data.draw(st.integers(0, beside))
    assume(errors / events - others / beside >= MARGIN)
    assert log_evidence_not_worse(share(errors, events), share(others, beside), MARGIN) <= 1e-9


@given(events=st.integers(1, 3000), beside=st.integers(1, 3000), data=st.data())
def test_an_error_more_is_never_evidence_for_the_candidate_that_looks_worse_than_the_control(
    events: int, beside: int, data: st.DataObject
) -> None:
    errors, others = data.draw(st.integers(0, events - 1)), data.draw(st.integers(0, beside))
    assume(errors / events >= others / beside)
    less, more = (
        log_evidence_not_worse(share(n, events), share(others, beside), MARGIN) for n in (errors, errors + 1)
    )
    assert more <= max(0.0, less) + 1e-9


def test_equal_arms_become_evidence_in_time_and_the_more_so_the_fewer_errors() -> None:
    found = [log_evidence_not_worse(share(n * 0.02, n), share(n * 0.02, n), MARGIN) for n in (100, 1000, 10_000)]
    assert found == sorted(found)
    assert found[0] < math.log(20) < found[1]
    assert log_evidence_not_worse(share(0, 300), share(0, 300), MARGIN) > math.log(20)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_rates_of_nothing_and_everything_have_finite_evidence(rates: tuple[float, float]) -> None:
    candidate, control = (share(500 * rate, 500) for rate in rates)
    assert math.isfinite(log_evidence_not_worse(candidate, control, MARGIN))


def binomial(errors: int, events: int, rate: float) -> float:
    return comb(events, errors) * rate**errors * (1 - rate) ** (events - errors)
