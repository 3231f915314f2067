"""How often a candidate is halted, rightly and wrongly, and how soon: our rules beside simpler ones.

    python -m bench.rollout_rules [--releases 1000] [--seed 1]

Every release is simulated: events come from devices at random, the rules look at them after each (ours after every 20
of the candidate's). An event is an error with the rate of its device. Where devices are unequal, their rates have a
standard deviation as large as their mean, the same on both arms (docs/decisions/0013).
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist, median
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from shelfsight.rollout.evidence import DeviceCounts, Evidence, EvidenceGate, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

THRESHOLD = 0.05
GATE = EvidenceGate()
LOOK_EVERY = 20
SOON = 400
RULES = (
    "rate > threshold after 20",
    "after 100",
    "Wilson 95 % at 50, 100, 200, ...",
    "events against control, alpha 0.01",
    "ours",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is simulated.

    Attributes:
        candidate_rate, control_rate: the share of errors among the events of a device, on average.
        candidate, control: devices on each arm; events come from all of them equally often.
        events: the candidate's, until the simulation ends.
        unequal: whether devices differ.
        broken: devices with the candidate, broken by themselves, that report nothing but errors, ten times as many.
    """

    name: str
    candidate_rate: float
    control_rate: float = 0.02
    candidate: int = 50
    control: int = 50
    events: int = 1000
    unequal: bool = False
    broken: int = 0


RELEASES = (
    Release(name="healthy, 2 %", candidate_rate=0.02),
    Release(name="healthy, 4 %", candidate_rate=0.04, control_rate=0.04),
    Release(name="6 % on both arms", candidate_rate=0.06, control_rate=0.06),
    Release(name="bad, 10 % against 2 %", candidate_rate=0.10),
    Release(name="broken, 30 % against 2 %", candidate_rate=0.30),
    Release(name="2 %, one broken device of 50", candidate_rate=0.02, broken=1),
    Release(name="4 %, one broken device of 50", candidate_rate=0.04, control_rate=0.04, broken=1),
    Release(name="healthy, 2 %, 10 devices of 100", candidate_rate=0.02, candidate=10, control=90),
    Release(name="bad, 10 %, 10 devices of 100", candidate_rate=0.10, candidate=10, control=90),
    Release(name="bad, 10 %, 25 devices of 50", candidate_rate=0.10, candidate=25, control=25),
    Release(name="bad, 10 %, 500 devices of 1,000", candidate_rate=0.10, candidate=500, control=500),
    Release(name="healthy, 2 %, unequal devices", candidate_rate=0.02, events=4000, unequal=True),
    Release(
        name="healthy, 2 %, unequal, 10 devices of 100",
        candidate_rate=0.02,
        candidate=10,
        control=90,
        events=4000,
        unequal=True,
    ),
    Release(
        name="4 %, unequal, 10 devices of 100",
        candidate_rate=0.04,
        control_rate=0.04,
        candidate=10,
        control=90,
        events=4000,
        unequal=True,
    ),
    Release(name="a little worse, 4 % against 2 %", candidate_rate=0.04, events=4000),
    Release(
        name="worse by the margin, 4.5 % against 2 %, unequal, 10 of 100",
        candidate_rate=0.045,
        candidate=10,
        control=90,
        events=4000,
        unequal=True,
    ),
    Release(
        name="worse by the margin, unequal, 5 devices of 50",
        candidate_rate=0.045,
        candidate=5,
        control=45,
        events=4000,
        unequal=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The events of one arm, in the order in which they come: whose each is, and whether it is an error."""

    name: str
    devices: NDArray[np.int64]
    errors: NDArray[np.bool_]


def main() -> None:
    """Print what each rule did with each kind of release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    table = Table("halted, % (after how many of the candidate's events)", *RULES, f"ours by {SOON}", "advanced")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for release in RELEASES:
            seeds = [(options.seed, number) for number in range(options.releases)]
            found = list(pool.map(partial(simulate, release), seeds, chunksize=20))
            table.add_row(release.name, *cells(found))
    Console(width=200).print(table)


def cells(found: Sequence[Mapping[str, int]]) -> list[str]:
    """Return the figures of one kind of release."""
    shown = []
    for rule in RULES:
        when = [one[rule] for one in found if rule in one]
        shown.append(f"{100 * len(when) / len(found):.1f} ({median(when):.0f})" if when else "0")
    soon = sum(one.get("ours", SOON + 1) <= SOON for one in found)
    advanced = [one["advanced"] for one in found if "advanced" in one]
    shown.append(f"{100 * soon / len(found):.1f}")
    shown.append(f"{100 * len(advanced) / len(found):.1f} ({median(advanced):.0f})" if advanced else "0")
    return shown


def simulate(release: Release, seed: tuple[int, int]) -> dict[str, int]:
    """Return after how many of the candidate's events each rule halted a release, and our own let it advance."""
    random = np.random.default_rng(seed)
    candidate, control = (arm(random, release, name) for name in ("candidate", "control"))
    found = simple_rules(candidate, control)
    state, count = None, release.events
    for seen in range(LOOK_EVERY, count + 1, LOOK_EVERY):
        told = judge(
            Evidence(candidate=counts(candidate, seen), control=counts(control, len(control.errors) * seen // count)),
            GATE,
            rollback_threshold=THRESHOLD,
            stage_age=GATE.min_time,
            state=state,
        )
        state = told.state
        if told.verdict is Verdict.HALT:
            found["ours"] = seen
            break
        if told.verdict is Verdict.ADVANCE:
            found.setdefault("advanced", seen)  # and is looked at on, to see what may still halt it
    return found


def arm(random: np.random.Generator, release: Release, name: str) -> Arm:
    """Return the events of one arm."""
    is_candidate = name == "candidate"
    devices = release.candidate if is_candidate else release.control
    rate = release.candidate_rate if is_candidate else release.control_rate
    broken = release.broken if is_candidate else 0
    rates = np.full(devices, rate)
    if release.unequal:
        both = (1 - rate) / rate - 1  # of a beta distribution whose standard deviation is its mean
        rates = random.beta(rate * both, (1 - rate) * both, devices)
    often = np.ones(devices)
    rates[:broken], often[:broken] = 1.0, 10.0
    count = release.events * devices // release.candidate
    whose = random.choice(devices, size=count, p=often / often.sum())
    return Arm(name=name, devices=whose, errors=random.random(count) < rates[whose])


def counts(arm: Arm, seen: int) -> tuple[DeviceCounts, ...]:
    """Return what each device has reported in the first events."""
    events = np.bincount(arm.devices[:seen])
    errors = np.bincount(arm.devices[:seen], weights=arm.errors[:seen]).astype(int)
    return tuple(
        DeviceCounts(device=f"{arm.name}-{number}", events=of, errors=bad)
        for number, (of, bad) in enumerate(zip(events.tolist(), errors.tolist(), strict=True))
    )


def simple_rules(candidate: Arm, control: Arm) -> dict[str, int]:
    """Return after how many of the candidate's events each of the simpler rules halts."""
    seen = np.arange(1, len(candidate.errors) + 1)
    errors: NDArray[np.int64] = np.cumsum(candidate.errors, dtype=np.int64)
    beside = np.cumsum(control.errors, dtype=np.int64)[len(control.errors) * seen // len(seen) - 1]
    doubles = np.isin(seen, 50 << np.arange(20))
    halts = (
        (errors / seen > THRESHOLD) & (seen >= 20),
        (errors / seen > THRESHOLD) & (seen >= 100),
        doubles & (wilson(errors, seen, NormalDist().inv_cdf(0.95)) > THRESHOLD),
        event_stake(errors, beside, share=len(seen) / (len(seen) + len(control.errors))) > 100,
    )
    return {rule: int(seen[when.argmax()]) for rule, when in zip(RULES, halts, strict=False) if when.any()}


def wilson(errors: NDArray[np.int64], seen: NDArray[np.int64], z: float) -> NDArray[np.float64]:
    """Return Wilson's lower bound."""
    rate = errors / seen
    spread = z * np.sqrt(rate * (1 - rate) / seen + z * z / (4 * seen**2))
    bound: NDArray[np.float64] = (rate + z * z / (2 * seen) - spread) / (1 + z * z / seen)
    return bound


def event_stake(errors: NDArray[np.int64], beside: NDArray[np.int64], *, share: float) -> NDArray[np.float64]:
    """Return what a bet has become that errors fall on the candidate more often than its share of events says.

    The same kind of test as ours, but of events: right only if devices are equal.
    """
    ratios = np.array([1.5, 7 / 3, 4, 9, 97 / 3])
    likely = ratios * share / (ratios * share + 1 - share)
    won = np.outer(errors, np.log(likely / share)) + np.outer(beside, np.log((1 - likely) / (1 - share)))
    stake: NDArray[np.float64] = np.exp(np.minimum(won, 100)).mean(axis=1)
    return stake


if __name__ == "__main__":
    main()
