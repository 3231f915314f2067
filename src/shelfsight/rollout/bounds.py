"""How large a share of errors surely is, and whether one is surely no more than a margin above another. Pure.

Counts may be fractions: those of a device with very many events are weighed down before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

_EXPECTED = (1.0, 30.0)
"""Errors and other events taken as seen before any have come, for rates are small; it is valid whichever they are."""

_HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many errors among so many events; both may be fractions."""

    errors: float
    events: float

    @property
    def rate(self) -> float:
        """The share of errors; 0 of no events."""
        return self.errors / self.events if self.events else 0.0


def lower_bound(share: Share, alpha: float) -> float:
    """Return what the true rate is above, but for a chance of `alpha` (Wilson's score interval, one-sided, 1927)."""
    n, p = share.events, share.rate
    if n <= 0:
        return 0.0
    z = NormalDist().inv_cdf(1 - alpha)
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n)


def log_evidence_not_worse(candidate: Share, control: Share, margin: float) -> float:
    """Return the evidence that the candidate's rate is less than `margin` above the control's, as a logarithm.

    It reaches log(1 / alpha) with a chance of `alpha` or less if the rate is not, however often one looks, where
    events are independent of each other: the likelihood of what was seen, averaged over rates that are likely
    beforehand, over the largest that any pair of rates has of which it is not so (Wasserman, Ramdas and Balakrishnan,
    "Universal inference", PNAS 117(29), 2020). Half of the average is over two rates, half over one for both arms.
    """
    both = Share(errors=candidate.errors + control.errors, events=candidate.events + control.events)
    apart = _log_average(candidate) + _log_average(control)
    alike = _log_average(both)
    most = max(apart, alike)
    average = most + math.log((math.exp(apart - most) + math.exp(alike - most)) / 2)
    return average - _log_most_likely_worse(candidate, control, margin)


def _log_average(share: Share) -> float:
    """Return the likelihood of some errors, averaged over rates after a beta distribution."""
    errors, others = _EXPECTED
    return _log_beta(share.errors + errors, share.events - share.errors + others) - _log_beta(errors, others)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_most_likely_worse(candidate: Share, control: Share, margin: float) -> float:
    """Return the largest likelihood that two rates have, the candidate's at least `margin` above the other."""
    if candidate.rate - control.rate >= margin:
        return _log_likelihood(candidate, candidate.rate) + _log_likelihood(control, control.rate)
    # The control's rate is sought, the other is a margin above. The likelihood has one top; its slope says which way.
    low, high = 0.0, 1.0 - margin
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        rises = _slope(control, rate) + _slope(candidate, rate + margin) > 0
        low, high = (rate, high) if rises else (low, rate)
    rate = (low + high) / 2
    return _log_likelihood(control, rate) + _log_likelihood(candidate, rate + margin)


def _slope(share: Share, rate: float) -> float:
    return share.errors / rate - (share.events - share.errors) / (1 - rate)


def _log_likelihood(share: Share, rate: float) -> float:
    others = share.events - share.errors
    of_errors = share.errors * math.log(rate) if share.errors > 0 else 0.0
    return of_errors + (others * math.log1p(-rate) if others > 0 else 0.0)
