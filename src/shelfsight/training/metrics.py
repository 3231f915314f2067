"""How good answers are: accuracy, coverage, calibration, confusions. Pure; used for held-out and for new pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

UNKNOWN_SHARE = 0.2
"""Share of pictures at a till that are taken to show no product of the catalogue, when the threshold is chosen."""

_BINS = 15
_MOST_SCORES = 5_000_000
_COLDEST, _HOTTEST = 1e-4, 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of about the same confidence, and how many of them were right."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Shares are 0..1; `calibration_error` is the expected calibration error over 15 bins."""

    pictures: int
    right: int
    accuracy: float
    top3: float
    accuracy_at_80_coverage: float
    calibration_error: float
    reliability: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Pictures of one label that were taken for another: all as indices, each picture named once."""

    label: int
    taken_for: int
    count: int
    pictures: tuple[int, ...]


def softmax(scores: Floats) -> Floats:
    """Return probabilities, one row of scores at a time."""
    powers: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def measure(probabilities: Floats, labels: Labels) -> Quality:
    """Return the quality of answers to pictures of known labels.

    Args:
        probabilities: (n, labels), n >= 1.
        labels: (n,) the right ones; -1 for a label that the recogniser does not have, which is never right.
    """
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = answers == labels
    own = np.where(labels >= 0, probabilities[np.arange(len(labels)), labels], -1.0)
    ahead = (probabilities > own[:, None]).sum(axis=1)
    surest = np.argsort(-confidence, kind="stable")[: max(1, round(0.8 * len(labels)))]
    bins = reliability(confidence, right)
    return Quality(
        pictures=len(labels),
        right=int(right.sum()),
        accuracy=float(right.mean()),
        top3=float(((ahead < 3) & (labels >= 0)).mean()),
        accuracy_at_80_coverage=float(right[surest].mean()),
        calibration_error=sum(abs(b.accuracy - b.confidence) * b.count for b in bins) / len(labels),
        reliability=bins,
    )


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the answers in bins of equal width of confidence, empty ones left out (Guo et al., ICML 2017)."""
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return tuple(
        Bin(
            confidence=float(confidence[number == index].mean()),
            accuracy=float(right[number == index].mean()),
            count=int((number == index).sum()),
        )
        for index in np.unique(number)
    )


def confusions(probabilities: Floats, labels: Labels, pictures: Labels) -> list[Confusion]:
    """Return which labels were taken for which, most often first."""
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in wrong:
        pairs.setdefault((int(labels[row]), int(answers[row])), []).append(int(pictures[row]))
    ordered = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        Confusion(label=label, taken_for=answer, count=len(where), pictures=tuple(dict.fromkeys(where)))
        for (label, answer), where in ordered
    ]


def best_temperature(scores: Floats, labels: Labels) -> float:
    """Return the factor on `scores` with the least negative log-likelihood (Guo et al., ICML 2017).

    The target for the right label is (n + 1) / (n + 2), as Platt has it (1999), the rest goes to its closest rival:
    a few pictures, all answered right, do not make a recogniser certain. The loss has one optimum in the factor, so
    golden-section search finds it. Of very many scores an even sample is looked at.
    """
    every = -(-scores.size // _MOST_SCORES)
    scores, labels = scores[::every], labels[::every]
    doubt, rows = 1 / (len(labels) + 2), np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    rival = others.argmax(axis=1)

    def loss(exponent: float) -> float:
        scaled = scores * np.exp(exponent)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        target = (1 - doubt) * scaled[rows, labels] + doubt * scaled[rows, rival]
        return float((np.log(np.exp(scaled).sum(axis=1)) - target).mean())

    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    while high - low > 0.01:
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - ratio * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + ratio * (high - low)
            right_loss = loss(right)
    return float(np.exp((low + high) / 2))


def confidence_if_unknown(probabilities: Floats, labels: Labels) -> Floats:
    """Return how sure each answer would be had the picture's own product not been in the catalogue, (n,).

    The product's probability is taken out and the rest is scaled to 1: what a linear softmax head says once that
    label is gone.
    """
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = 0
    result: Floats = others.max(axis=1) / np.maximum(others.sum(axis=1), 1e-12)
    return result


def choose_threshold(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], unknown: NDArray[np.floating]
) -> float:
    """Return the confidence from which answering pays: a right answer gains what a wrong one costs, asking is free.

    Chow's rule (Chow, "On optimum recognition error and reject tradeoff", IEEE Trans. Inf. Theory 1970) on held-out
    pictures, where `UNKNOWN_SHARE` of what is held before a till is taken to be no product of the catalogue.

    Args:
        confidence: (n,) of held-out pictures, and `right` (n,) whether they were answered right.
        unknown: (m,) confidence on pictures whose product was taken out of the catalogue; may be empty.
    Returns: 0.5 where nothing was held out, 1.0 where no threshold gains anything: then it is always better to ask.
    """
    if not len(confidence):
        return 0.5
    share = UNKNOWN_SHARE if len(unknown) else 0.0
    gain = np.where(right, 1.0, -1.0) * (1 - share) / len(confidence)
    loss = np.full(len(unknown), -share / max(1, len(unknown)))
    every = np.concatenate([confidence, unknown])
    order = np.argsort(-every, kind="stable")
    utility = np.cumsum(np.concatenate([gain, loss])[order])
    sorted_confidence = every[order]
    last = np.append(sorted_confidence[1:] != sorted_confidence[:-1], True)  # equal ones are answered together
    best = int(np.argmax(np.where(last, utility, -np.inf)))
    return float(sorted_confidence[best]) if utility[best] > 0 else 1.0
