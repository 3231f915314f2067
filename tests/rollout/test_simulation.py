"""How often versions are halted, rightly and wrongly: a small simulation; bench.rollout_rules is the large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from shelfsight.rollout.evidence import DeviceCounts, Evidence, EvidenceGate, Verdict, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

GATE = EvidenceGate()


@pytest.mark.parametrize(
    ("candidate", "control", "rate", "halted"),
    [
        (25, 25, 0.10, (0.88, 1.0)),
        (10, 90, 0.10, (0.88, 1.0)),
        (50, 50, 0.30, (1.0, 1.0)),
        (25, 25, 0.02, (0.0, 0.03)),
        (10, 90, 0.02, (0.0, 0.03)),
    ],
)
def test_bad_versions_are_halted_within_400_events_and_good_ones_are_not(
    candidate: int, control: int, rate: float, halted: tuple[float, float]
) -> None:
    """At the stable version's 2 %. Drawn from a seed, so that it is always the same 100 releases."""
    random = np.random.default_rng(20261120)
    count = sum(is_halted(random, (candidate, rate), (control, 0.02)) for _ in range(100))
    assert halted[0] <= count / 100 <= halted[1]


def test_good_versions_on_very_unequal_devices_are_not_halted_in_the_long_run() -> None:
    """Every other device never fails, the others do in one event of 25: a test of events would halt one in ten."""
    random = np.random.default_rng(20261120)
    count = sum(is_halted(random, (10, 0.02), (90, 0.02), events=4000, looks=20, unequal=True) for _ in range(60))
    assert count <= 2


def is_halted(
    random: np.random.Generator,
    candidate: tuple[int, float],
    control: tuple[int, float],
    *,
    events: int = 400,
    looks: int = 10,
    unequal: bool = False,
) -> bool:
    """Return whether a release is halted before the candidate has so many events."""
    rates = [
        np.full(devices, rate) if not unequal else random.choice([0, 2 * rate], devices)
        for devices, rate in (candidate, control)
    ]
    totals = [np.zeros((len(one), 2), int) for one in rates]
    state = None
    for _ in range(looks):
        for place, rate in enumerate(rates):
            totals[place] += reported(random, rate, events * len(rate) // len(rates[0]) // looks)
        found = judge(seen(*totals), GATE, rollback_threshold=0.05, stage_age=GATE.min_time, state=state)
        if found.verdict is Verdict.HALT:
            return True
        state = found.state
    return False


def reported(random: np.random.Generator, rates: NDArray[np.float64], events: int) -> NDArray[np.int64]:
    """Return events and errors of each device between two looks."""
    each = random.multinomial(events, np.full(len(rates), 1 / len(rates)))
    return np.column_stack([each, random.binomial(each, rates)])


def seen(candidate: NDArray[np.int64], control: NDArray[np.int64]) -> Evidence:
    """Return the evidence of events and errors, a row for each device."""
    arms = [
        tuple(
            DeviceCounts(device=f"{name}-{number}", events=int(events), errors=int(errors))
            for number, (events, errors) in enumerate(counts)
        )
        for name, counts in (("candidate", candidate), ("control", control))
    ]
    return Evidence(candidate=arms[0], control=arms[1])
