"""What training decides: which head, how many views, what is held out, where "I don't know" begins. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDS = 5
TOO_FEW_IMAGES = 3
"""A product with fewer pictures than this is named in the report: more pictures would help it most."""

UNKNOWN_SHARE = 0.2
"""Share of pictures at a till that are taken to show no product of the catalogue, when the threshold is chosen."""

PROJECTED_FROM = 2000
"""Number of products from which the head works on the backbone's projection, so that it stays small."""


class HeadKind(StrEnum):
    """How the head is fitted."""

    MEAN = "mean"
    RIDGE = "ridge"
    LDA = "lda"


class Basis(StrEnum):
    """What a recogniser was measured on when it was trained."""

    SCENES = "scenes"
    """Photos held out together with all others of the same scene: the nearest to a new day at the till."""

    VIEWS = "views"
    """Altered views of the training photos themselves, where there is one photo a product: optimistic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a catalogue is learned."""

    head: HeadKind
    shrinkage: float
    crops: int
    basis: Basis
    projected: bool


def plan_training(images_per_product: Sequence[int], *, studio: bool, wanted: HeadKind | None) -> Plan:
    """Return how to learn products with these numbers of pictures, `studio` where they stand on plain ground.

    Measured in docs/decisions/0004: with one picture a product a discriminant has nothing to estimate spread from;
    from two on it wins. The fewer pictures, the more views pay, and the more the covariance is shrunk.
    """
    typical = median(images_per_product)
    if wanted is not None:
        head = wanted
    elif typical >= 2:
        head = HeadKind.LDA
    else:
        head = HeadKind.MEAN if studio else HeadKind.RIDGE
    return Plan(
        head=head,
        shrinkage={HeadKind.LDA: 0.2 if typical >= 10 else 0.5, HeadKind.RIDGE: 0.1, HeadKind.MEAN: 0.0}[head],
        crops=4 if typical >= 5 else 10 if typical >= 2 else 16,
        basis=Basis.SCENES if typical >= 2 else Basis.VIEWS,
        projected=len(images_per_product) >= PROJECTED_FROM,
    )


def scenes(vectors: NDArray[np.float32], alike: float = 0.9) -> list[int]:
    """Return a scene number for each picture of one product: near-duplicates and bursts share one.

    Leader clustering by cosine similarity to the scene's mean. Photos taken one after the other are nearly the
    same picture; held out one by one they would be found by their neighbours and promise far too much.

    Args:
        vectors: (n, d) unit length.
    """
    sums = np.zeros_like(vectors)
    lengths = np.ones(len(vectors), np.float32)
    numbers: list[int] = []
    found = 0
    for vector in vectors:
        likeness = sums[:found] @ vector / lengths[:found]
        best = int(likeness.argmax()) if found else 0
        if not found or likeness[best] < alike:
            best, found = found, found + 1
        sums[best] += vector
        lengths[best] = np.linalg.norm(sums[best])
        numbers.append(best)
    return numbers if found > 1 else list(range(len(numbers)))


def assign_folds(groups: Sequence[tuple[int, int]], *, seed: int) -> list[int]:
    """Return for every picture the fold in which it is held out, 0..FOLDS-1, or -1: always trained on.

    Args:
        groups: (product, scene) of each picture. A scene is held out whole; a product with one picture never is.
    """
    random = np.random.default_rng(seed)
    members: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for picture, (product, scene) in enumerate(groups):
        members[product][scene].append(picture)
    folds = [-1] * len(groups)
    for _, parts in sorted(members.items()):
        if len(parts) < 2:
            continue
        load = dict.fromkeys(random.permutation(FOLDS).tolist(), 0)
        for _, pictures in sorted(parts.items(), key=lambda part: (-len(part[1]), part[0])):
            fold = min(load, key=load.__getitem__)
            load[fold] += len(pictures)
            for picture in pictures:
                folds[picture] = fold
    return folds


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


def wilson_interval(right: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, JASA 1927), to four digits; (0, 1) for none."""
    if total == 0:
        return 0.0, 1.0
    share, spread = right / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return round(max(0.0, centre - half), 4), round(min(1.0, centre + half), 4)
