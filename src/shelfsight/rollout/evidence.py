"""What devices' reports say about a candidate: halt it, hold it, or let it advance. Pure.

Halt, for either of two reasons:

- Devices with the candidate meet errors sooner than those with the stable version, which run at the same time
  (`comparison`). A day on which everything fails more is no fault of the candidate.
- The candidate's error rate is above the rollback threshold, whatever the others do: by Wilson's lower bound, looked
  at when the number of its events has doubled, for a bound that is looked at all the time is wrong some time.

Neither takes the word of one device. In the comparison a device counts once for each level of errors, and against the
threshold it weighs as much as some events at most, however many it reports; three or more must have had errors; and
without the one device that says most against the candidate, the others still have to say so, if with less certainty.

Advance when the candidate has had its share for some time, enough devices on both arms have reported enough events,
and its error rate is shown to be less than a margin above that of the stable version (`bounds`), even without the
one device that says most against the stable one. Anything else is hold.

What the caller sees to: both arms are devices that would get the candidate if its share were everybody (of its
platforms, tiers and app versions); they were dealt to the arms by lot, as buckets do; both can meet the errors that
are counted; counts begin with the stage, for with the next one other devices come in; and looks whose state is kept
come by the clock, not because an arm has had an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from shelfsight.errors import UsageError
from shelfsight.rollout.bounds import Share, log_evidence_not_worse, lower_bound
from shelfsight.rollout.comparison import Stake, Tally, stakes
from shelfsight.rollout.looks import SequentialState

if TYPE_CHECKING:
    from collections.abc import Iterable


_LARGEST = math.log(1e9)
"""What is surer is told as this sure, as a logarithm."""


class Verdict(StrEnum):
    """What is to be done about a candidate."""

    HALT = "halt"
    HOLD = "hold"
    ADVANCE = "advance"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCounts:
    """What one device has reported since the stage began.

    Attributes:
        device: any name that stays the same during the stage.
        events: those that may be errors, errors included.
    """

    device: str
    events: int
    errors: int

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not 0 <= self.errors <= self.events:
            raise UsageError(f"{self.errors} errors in {self.events} events of a device make no sense")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What devices have reported since the stage began, each of them once.

    Attributes:
        candidate: of devices that run the candidate. One that is on both arms, as when the share has just grown or
            the candidate did not load, counts here alone.
        control: of devices that run the stable version, and would run the candidate if its share were everybody.
    """

    candidate: tuple[DeviceCounts, ...] = ()
    control: tuple[DeviceCounts, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a device that is there twice."""
        for arm in (self.candidate, self.control):
            if len({one.device for one in arm}) < len(arm):
                raise UsageError("a device is there twice on the same arm: add up what it has reported")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGate:
    """When evidence is enough.

    Attributes:
        alpha: how often, at most, the comparison halts a candidate that does no harm; and how often the bound of one
            look at the threshold is above the true rate.
        alpha_without_one: the same, of what has to hold besides without the one device that says most against it.
        first_look: the number of the candidate's events at which the threshold is first looked at; next at its
            double, its fourfold, and so on.
        min_failing_devices: so many of the candidate's must have had errors before it is halted.
        advance_alpha: how often, at most, a candidate advances that is worse by the margin, where devices are equal.
        margin: so much more errors, as a share of all events, are let through: half the usual threshold.
        min_devices, min_events: on each arm before it advances.
        min_time: at the stage before it advances; a day has all of a shop's hours.
        max_events_per_device: a device that has reported more weighs as much as one that has reported so many.
    """

    alpha: float = 0.01
    alpha_without_one: float = 0.05
    first_look: int = 50
    min_failing_devices: int = 3
    advance_alpha: float = 0.05
    margin: float = 0.025
    min_devices: int = 5
    min_events: int = 300
    min_time: timedelta = timedelta(days=1)
    max_events_per_device: int = 100

    def __post_init__(self) -> None:
        """Refuse what would decide by chance, or on the word of one device."""
        for name in ("alpha", "alpha_without_one", "advance_alpha", "margin"):
            if not 0 < getattr(self, name) < 0.5:
                raise UsageError(f"{name} = {getattr(self, name):g} makes no sense: use more than 0, less than 0.5")
        for name in ("first_look", "min_events", "max_events_per_device"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)} makes no sense: use 1 or more")
        for name in ("min_failing_devices", "min_devices"):
            if getattr(self, name) < 2:
                raise UsageError(f"{name} = {getattr(self, name)} would take the word of one device: use 2 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What the devices of one arm have reported, in figures.

    Attributes:
        devices: those that have reported anything.
        rate: the share of errors, a device with very many events weighed down.
    """

    devices: int
    failing_devices: int
    events: int
    errors: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is to be done, and why.

    Attributes:
        reason: in a sentence or two, with the figures.
        chance: how often, at most, a candidate that does no harm ever looks this bad beside the control.
        state: for the next look.
    """

    verdict: Verdict
    reason: str
    candidate: Arm
    control: Arm
    chance: float
    state: SequentialState


def judge(
    evidence: Evidence,
    gate: EvidenceGate,
    *,
    rollback_threshold: float,
    stage_age: timedelta,
    state: SequentialState | None = None,
) -> Judgement:
    """Return what the evidence says about the candidate. One may ask at any time, and as often as one likes.

    The state is kept together with what is done about the verdict, or not at all: at the next look the threshold is
    not looked at again before the events have doubled.

    Args:
        rollback_threshold: the error rate, 0 to 1, above which the candidate is halted.
        stage_age: for how long the candidate has had its present share.
        state: what the last look of this stage has left; None = there was none.

    Raises:
        UsageError: the threshold is no such rate.
    """
    if not 0 <= rollback_threshold <= 1:
        raise UsageError(f"a rollback threshold of {rollback_threshold:g} makes no sense: use 0 to 1, such as 0.05")
    before = state or SequentialState()
    looked = _Look(evidence, gate, before, rollback_threshold)
    halt = looked.why_above_threshold() or looked.why_worse()
    hold = looked.what_is_missing(stage_age) or looked.why_not_advance()
    verdict = Verdict.HALT if halt else Verdict.HOLD if hold else Verdict.ADVANCE
    return Judgement(
        verdict=verdict,
        reason=halt or hold or looked.why_advance(),
        candidate=looked.candidate.arm,
        control=looked.control.arm,
        chance=looked.chance,
        state=looked.state,
    )


class _Devices:
    """The devices of one arm that have reported anything, and what each weighs."""

    def __init__(self, counts: Iterable[DeviceCounts], most_events: int) -> None:
        self.counts = [one for one in counts if one.events]
        self.shares = [_weighed(one, most_events) for one in self.counts]
        self.share = Share(
            errors=math.fsum(one.errors for one in self.shares), events=math.fsum(one.events for one in self.shares)
        )
        self.arm = Arm(
            devices=len(self.counts),
            failing_devices=sum(one.errors > 0 for one in self.counts),
            events=sum(one.events for one in self.counts),
            errors=sum(one.errors for one in self.counts),
            rate=self.share.rate,
        )

    @property
    def errors(self) -> dict[str, int]:
        """Errors by device."""
        return {one.device: one.errors for one in self.counts}

    def without_each(self) -> list[Share]:
        """Return what is left of the arm without one device, for each of them."""
        return [
            Share(errors=max(0.0, self.share.errors - one.errors), events=max(0.0, self.share.events - one.events))
            for one in self.shares
        ]

    def with_errors(self, level: int) -> str:
        """Return how many devices have had so many errors, as people read it."""
        return f"{sum(one.errors >= level for one in self.counts)} of {len(self.counts)}"


def _weighed(counts: DeviceCounts, most_events: int) -> Share:
    events = min(counts.events, most_events)
    return Share(errors=counts.errors * events / counts.events, events=events)


class _Look:
    """One look at the evidence: each question is answered by a sentence, or by nothing."""

    def __init__(self, evidence: Evidence, gate: EvidenceGate, before: SequentialState, threshold: float) -> None:
        on_both = {one.device for one in evidence.candidate}
        control = [one for one in evidence.control if one.device not in on_both]
        self.gate, self.threshold = gate, threshold
        self.candidate = _Devices(evidence.candidate, gate.max_events_per_device)
        self.control = _Devices(control, gate.max_events_per_device)
        self.state = before.after(
            Tally(candidate=self.candidate.errors, control=self.control.errors),
            events=self.candidate.arm.events,
            first_look=gate.first_look,
        )
        self.is_due = self.state.looked_at > before.looked_at
        self.best = max(stakes(self.state.steps), key=lambda one: (self._is_sure(one), one.log_value), default=None)

    def why_above_threshold(self) -> str:
        """Return why the error rate is surely above the threshold."""
        arm, gate = self.candidate.arm, self.gate
        if not self.is_due or arm.failing_devices < gate.min_failing_devices:
            return ""
        bound = lower_bound(self.candidate.share, gate.alpha)
        rest = min(lower_bound(rest, gate.alpha_without_one) for rest in self.candidate.without_each())
        if min(bound, rest) <= self.threshold:
            return ""
        as_bad = f" The stable version is at {self.control.arm.rate:.1%} itself: the cause may lie elsewhere."
        return (
            f"The error rate is surely above {self.threshold:.1%}: {_described(arm)}, at least {bound:.1%}, "
            f"and without the worst device at least {rest:.1%}.{as_bad * (self.control.arm.rate > self.threshold)}"
        )

    def why_worse(self) -> str:
        """Return why devices with the candidate surely meet errors sooner than those with the stable version."""
        best = self.best
        if best is None or not self._is_sure(best):
            return ""
        return (
            f"The candidate does worse than the stable version: {self._compared(best)}. "
            f"Chance alone does that in one of {math.exp(min(best.log_value, _LARGEST)):,.0f} releases, or fewer."
        )

    def _is_sure(self, stake: Stake) -> bool:
        gate = self.gate
        return (
            self.candidate.arm.failing_devices >= gate.min_failing_devices
            and stake.log_value >= -math.log(gate.alpha)
            and stake.log_value_without_one >= -math.log(gate.alpha_without_one)
        )

    @property
    def chance(self) -> float:
        """How often, at most, a candidate that does no harm ever looks this bad beside the control."""
        return 1.0 if self.best is None else math.exp(-max(0.0, self.best.log_value))

    def what_is_missing(self, stage_age: timedelta) -> str:
        """Return what there is too little of to let it advance."""
        gate, missing = self.gate, []
        for arm, version in ((self.candidate.arm, "the candidate"), (self.control.arm, "the stable version")):
            if arm.devices < gate.min_devices:
                missing.append(f"{arm.devices} of {gate.min_devices} devices with {version}")
            if arm.events < gate.min_events:
                missing.append(f"{arm.events:,} of {gate.min_events:,} events with {version}")
        if stage_age < gate.min_time:
            missing.append(f"{_hours(stage_age)} of {_hours(gate.min_time)} hours at this share")
        return f"Too little evidence to advance: {', '.join(missing)}." if missing else ""

    def why_not_advance(self) -> str:
        """Return why there is evidence, and it is not good enough."""
        gate, arm, best = self.gate, self.candidate.arm, self.best
        if best is not None and self.chance <= gate.advance_alpha:
            return f"The candidate may be worse than the stable version: {self._compared(best)}.{self._one_device()}"
        if arm.rate > self.threshold:
            return f"The error rate may be above {self.threshold:.1%}: {_described(arm)}.{self._one_device()}"
        least = min(self.control.without_each(), key=lambda rest: rest.rate)
        if log_evidence_not_worse(self.candidate.share, least, gate.margin) < -math.log(gate.advance_alpha):
            return f"Not sure yet that the candidate is less than {self._against()}.{self._one_device()}"
        return ""

    def why_advance(self) -> str:
        """Return what says that it may advance."""
        return f"The candidate is surely less than {self._against()}."

    def _compared(self, stake: Stake) -> str:
        with_it, without = (arm.with_errors(stake.level) for arm in (self.candidate, self.control))
        return f"{stake.level} or more errors had {with_it} devices with it, and {without} without"

    def _against(self) -> str:
        return (
            f"{100 * self.gate.margin:g} points worse than the stable version: an error rate of "
            f"{_described(self.candidate.arm)}, against {_described(self.control.arm)}"
        )

    def _one_device(self) -> str:
        """Return which device has had most of the errors, if one has: somebody should look at it."""
        most = max(self.candidate.counts, key=lambda one: one.errors)
        if most.errors <= max(self.gate.min_failing_devices, self.candidate.arm.errors / 2):
            return ""
        return f" Device {most.device} alone had {most.errors:,} of the errors: look at it first."


def _described(arm: Arm) -> str:
    is_weighed = abs(arm.rate - arm.errors / max(1, arm.events)) > 0.0005
    return (
        f"{arm.rate:.1%}{' weighed by device' * is_weighed} ({arm.errors:,} errors in {arm.events:,} events of "
        f"{arm.devices:,} devices, {arm.failing_devices:,} of which had any)"
    )


def _hours(time: timedelta) -> str:
    return f"{math.floor(time / timedelta(hours=0.1)) / 10:g}"
