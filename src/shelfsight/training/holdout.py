"""Measure a head on pictures it was not fitted on, without fitting it anew from the pictures for every fold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.training.heads import Moments, fit_head, moments
from shelfsight.training.rules import Basis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shelfsight.training.rules import Plan

FOLDS = 5
_CHUNK_ROWS = 8192
_ANSWERED_AT_ONCE = 1024
_MOST_SCORES = 25_000_000
"""Held-out scores kept at once, 100 MB: for thousands of products a sample of the held-out pictures is scored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Scores of pictures by heads that had not seen them, in the order of the pictures.

    Attributes:
        picture: (n,) index of each picture.
        label: (n,) its label.
        scores: (n, labels) not yet calibrated.
        answers: (pictures,) which label the whole picture was taken for, also where its scores were not kept;
            -1 where it was never held out.
    """

    picture: NDArray[np.int64]
    label: NDArray[np.int64]
    scores: NDArray[np.float32]
    answers: NDArray[np.int64]


def hold_out(
    features: NDArray[np.float32], labels: NDArray[np.int64], count: int, plan: Plan, *, seed: int
) -> tuple[Moments, HeldOut]:
    """Return the moments of all features, and scores of held-out ones from five-fold cross-validation.

    Args:
        features: (pictures, views, d); view 0 is the whole picture, as a till sees it.
        labels: (pictures,) 0..count-1.
    """
    folds = _folds(features, labels, plan, seed)
    parts = [
        moments(_chunks(features, labels, np.argwhere(folds == fold)), count, features.shape[2])
        for fold in range(-1, FOLDS)
    ]
    everything = sum(parts[1:], start=parts[0])
    scored = _sample(folds, plan.basis, count, seed)
    kept = np.full(folds.shape, -1)
    kept[scored[:, 0], scored[:, 1]] = np.arange(len(scored))
    scores = np.zeros((len(scored), count), np.float32)
    answers = np.full(len(labels), -1)
    for fold in range(FOLDS):
        pairs = np.argwhere((folds == fold) & ((kept >= 0) | (np.arange(folds.shape[1]) == 0)))
        if not len(pairs):
            continue
        kernel, bias = (part.astype(np.float32) for part in _head(everything - parts[fold + 1], plan))
        for start in range(0, len(pairs), _ANSWERED_AT_ONCE):
            picture, view = pairs[start : start + _ANSWERED_AT_ONCE].T
            found = features[picture, view] @ kernel + bias
            row = kept[picture, view]
            scores[row[row >= 0]] = found[row >= 0]
            answers[picture[view == 0]] = found[view == 0].argmax(axis=1)
    held_out = HeldOut(picture=scored[:, 0], label=labels[scored[:, 0]], scores=scores, answers=answers)
    return everything, held_out


def _head(known: Moments, plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return fit_head(plan.head, known, plan.shrinkage)


def _folds(features: NDArray[np.float32], labels: NDArray[np.int64], plan: Plan, seed: int) -> NDArray[np.int64]:
    """Return the fold of every (picture, view), -1 where it is never held out."""
    pictures, views, _ = features.shape
    if plan.basis is Basis.VIEWS:
        return np.tile(np.arange(views) % FOLDS, (pictures, 1))
    return np.repeat(scene_folds(features[:, 0], labels, seed=seed)[:, None], views, axis=1)


def scene_folds(embeddings: NDArray[np.float32], labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Return the fold in which each picture is held out, with all others of its scene; -1 for never.

    Args:
        embeddings: (n, d) of the whole pictures, of any length.
        labels: (n,) their products.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    numbers = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        numbers[members] = scenes(unit[members])
    return np.array(assign_folds(list(zip(labels.tolist(), numbers.tolist(), strict=True)), seed=seed))


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


def _sample(folds: NDArray[np.int64], basis: Basis, count: int, seed: int) -> NDArray[np.int64]:
    """Return the held-out (picture, view) pairs to score, (n, 2), in order of the pictures."""
    pairs = np.argwhere(folds >= 0)
    if basis is Basis.SCENES:
        pairs = pairs[pairs[:, 1] == 0]
    most = max(_MOST_SCORES // count, 1000)
    if len(pairs) > most:
        chosen = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
        pairs = pairs[np.sort(chosen)]
    return pairs


def _chunks(
    features: NDArray[np.float32], labels: NDArray[np.int64], pairs: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    for start in range(0, len(pairs), _CHUNK_ROWS):
        picture, view = pairs[start : start + _CHUNK_ROWS].T
        yield features[picture, view], labels[picture]
