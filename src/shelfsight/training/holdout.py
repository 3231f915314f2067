"""Measure a head on pictures it was not fitted on, without fitting it anew from the pictures for every fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.training.heads import Moments, fit_head, moments
from shelfsight.training.rules import FOLDS, Basis, Plan, assign_folds, scenes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_CHUNK_ROWS = 8192
_MOST_SCORES = 25_000_000
"""Held-out scores kept at once, 100 MB: for thousands of products a sample of the held-out pictures is scored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Scores of pictures by heads that had not seen them, in the order of the pictures.

    Attributes:
        picture: (n,) index of each picture.
        label: (n,) its label.
        scores: (n, labels) not yet calibrated.
    """

    picture: NDArray[np.int64]
    label: NDArray[np.int64]
    scores: NDArray[np.float32]


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
    scores = np.zeros((len(scored), count), np.float32)
    fold_of = folds[scored[:, 0], scored[:, 1]]
    for fold in range(FOLDS):
        rows = np.flatnonzero(fold_of == fold)
        if not len(rows):
            continue
        kernel, bias = fit_head(plan.head, everything - parts[fold + 1], plan.shrinkage)
        chosen = scored[rows]
        scores[rows] = features[chosen[:, 0], chosen[:, 1]] @ kernel.astype(np.float32) + bias.astype(np.float32)
    return everything, HeldOut(picture=scored[:, 0], label=labels[scored[:, 0]], scores=scores)


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
