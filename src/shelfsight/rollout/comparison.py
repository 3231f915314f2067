"""Whether devices with the candidate meet errors sooner than those without: a test one may look at for ever. Pure.

Devices are compared, not events, for it is devices that were dealt to the two arms by lot, and some of them always
fail more than others: a camera in bad light, a slow network. Ten thousand events of ten tills are still ten tills.

For each level of 1, 2, 4, 8, ... errors, a device counts once: when it reaches the level. If the candidate does no
harm, the next one to reach it is any of those that have not, whatever is wrong with them: of n_b such devices with
the candidate and n_c without, it is one of the candidate's with a chance of n_b / (n_b + n_c). Devices that reach a
level between the same two looks are a draw without replacement, so their split is hypergeometric. Against this we
bet that devices with the candidate are 2, 4, 10 or 30 times as likely, a quarter of the stake on each. Such a bet
multiplies its stake by a ratio of likelihoods, whose mean is 1 if chance alone decides: the stake ever becomes
1 / alpha times as large in a share of alpha of all releases, or fewer, however many looks there are (Ville's
inequality).

Each level knows its own past alone, so their winnings may not be added up. Instead each has a part of the stake, 1/2,
1/6, 1/12, 1/20, ..., which sum up to 1, and the one that has won most counts.

This is the anytime-valid logrank test with ties (ter Schure, Perez-Ortiz, Ly and Grünwald, "The anytime-valid logrank
test", NEJSDS 2(2), 2024), one of the tests of Grünwald, de Heide and Koolen, "Safe testing", JRSS B 86(5), 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RATIOS = (2.0, 4.0, 10.0, 30.0)
"""How many times likelier it is, in a bet, that the next device to reach a level has the candidate."""

_LOG_RATIOS = tuple(math.log(ratio) for ratio in RATIOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The errors of every device that has reported anything, by arm."""

    candidate: Mapping[str, int]
    control: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How many devices reached a level of errors between two looks.

    Attributes:
        level: 1, 2, 4, 8, ... errors.
        candidate_waiting, control_waiting: devices that were below it at the look before.
        candidate_reached, control_reached: those of them that are below it no longer.
    """

    level: int
    candidate_waiting: int
    control_waiting: int
    candidate_reached: int
    control_reached: int


def steps_between(before: Tally, now: Tally) -> tuple[Step, ...]:
    """Return what happened between two looks, one step for each level that a device has reached."""
    most = max([*now.candidate.values(), *now.control.values()], default=0)
    levels = (1 << power for power in range(most.bit_length()))
    steps = (_step(level, before, now) for level in levels)
    return tuple(step for step in steps if step.candidate_reached + step.control_reached)


def _step(level: int, before: Tally, now: Tally) -> Step:
    candidate, control = (
        [errors for device, errors in current.items() if earlier.get(device, 0) < level]
        for earlier, current in ((before.candidate, now.candidate), (before.control, now.control))
    )
    return Step(
        level=level,
        candidate_waiting=len(candidate),
        control_waiting=len(control),
        candidate_reached=sum(errors >= level for errors in candidate),
        control_reached=sum(errors >= level for errors in control),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """What the bets on one level have made of their part of the stake.

    Attributes:
        log_value: the natural logarithm of it, as a multiple of the whole stake.
        log_value_without_one: when the one device is left out whose errors say most against the candidate.
    """

    level: int
    log_value: float
    log_value_without_one: float


def stakes(steps: Iterable[Step]) -> list[Stake]:
    """Return what was won or lost on each level that a device has reached.

    Args:
        steps: since the stage began, those of one level in the order in which they were seen.
    """
    by_level = groupby(sorted(steps, key=lambda step: step.level), key=lambda step: step.level)
    return [_stake_of(level, tuple(several)) for level, several in by_level]


def _stake_of(level: int, steps: Sequence[Step]) -> Stake:
    place = level.bit_length()
    share = -math.log(place * (place + 1))
    gains = [_gains(step) for step in steps]
    total = tuple(map(sum, zip(*gains, strict=True)))
    without_one = [
        _mean([sum_ - gain + other for sum_, gain, other in zip(total, own, _gains(_less_one(step)), strict=True)])
        for step, own in zip(steps, gains, strict=True)
        if step.candidate_reached
    ]
    value = _mean(total)
    return Stake(level=level, log_value=share + value, log_value_without_one=share + min([value, *without_one]))


def _less_one(step: Step) -> Step:
    """Return a step without one of the candidate's devices that reached the level.

    At earlier steps it may have waited as well. Left out there, too, it would make the others' errors a little more
    surprising: it stays, so that the result is never too large.
    """
    return replace(step, candidate_waiting=step.candidate_waiting - 1, candidate_reached=step.candidate_reached - 1)


def _mean(bets: Sequence[float]) -> float:
    """Return the logarithm of the mean over bets, given as logarithms."""
    return _log_sum(bets) - math.log(len(bets))


@lru_cache(maxsize=1 << 16)
def _gains(step: Step) -> tuple[float, ...]:
    """Return the logarithm of what each bet multiplies its stake by.

    That is the noncentral hypergeometric likelihood of Fisher over the central one; a binomial one would give away
    what is known of draws without replacement.
    """
    reached = step.candidate_reached + step.control_reached
    possible = range(max(0, reached - step.control_waiting), min(reached, step.candidate_waiting) + 1)
    ways = [_log_ways(step.candidate_waiting, n) + _log_ways(step.control_waiting, reached - n) for n in possible]
    return tuple(
        ratio * step.candidate_reached
        - _log_sum([several + ratio * n for n, several in zip(possible, ways, strict=True)])
        + _log_ways(step.candidate_waiting + step.control_waiting, reached)
        for ratio in _LOG_RATIOS
    )


def _log_ways(of: int, some: int) -> float:
    """Return the logarithm of the number of ways to choose `some` of `of`."""
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def _log_sum(logarithms: Sequence[float]) -> float:
    """Return the logarithm of a sum."""
    most = max(logarithms)
    return most + math.log(sum(math.exp(one - most) for one in logarithms))
