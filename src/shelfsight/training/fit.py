"""Fit, calibrate and measure a head on embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.head import Head, make_head
from shelfsight.training.heads import fit_head
from shelfsight.training.holdout import HeldOut, hold_out
from shelfsight.training.metrics import best_temperature, confidence_if_unknown, softmax
from shelfsight.training.rules import choose_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.training.rules import Plan

_CHUNK = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A head, and what it was measured on.

    Attributes:
        threshold: confidence from which it answers.
        held_out: pictures scored by heads that had not seen them.
        probabilities: calibrated, (held-out pictures, labels); no rows where nothing could be held out.
        if_unknown: (held-out pictures,) confidence had the picture's product not been in the catalogue.
    """

    head: Head
    threshold: float
    held_out: HeldOut
    probabilities: NDArray[np.float32]
    if_unknown: NDArray[np.float32]


def fit(
    vectors: NDArray[np.float16],
    labels: NDArray[np.int64],
    products: Sequence[str],
    backbone: Backbone,
    plan: Plan,
    *,
    seed: int,
) -> Fitted:
    """Return a calibrated head for `products`.

    Args:
        vectors: (pictures, views, embedding size), view 0 the whole picture.
        labels: (pictures,) index into `products`.
    """
    projection = backbone.projection if plan.projected else None
    features = _features(vectors, None if projection is None else projection.values())
    known, held_out = hold_out(features, labels, len(products), plan, seed=seed)
    del features
    kernel, bias = fit_head(plan.head, known, plan.shrinkage)
    temperature = 1.0
    probabilities = held_out.scores
    if_unknown = np.empty(0, np.float32)
    threshold = 0.5
    if len(held_out.label):
        temperature = best_temperature(held_out.scores, held_out.label)
        probabilities = softmax(held_out.scores * np.float32(temperature))
        right = probabilities.argmax(axis=1) == held_out.label
        confidence = probabilities.max(axis=1)
        # With two products, the one that is left when the other is taken out is always sure: nothing to learn.
        if len(products) > 2:
            if_unknown = confidence_if_unknown(probabilities, held_out.label)
        threshold = choose_threshold(confidence, right, if_unknown)
    head = make_head(
        tuple(products),
        (kernel * temperature).astype(np.float32),
        (bias * temperature).astype(np.float32),
        projection,
    )
    return Fitted(
        head=head,
        threshold=round(threshold, 4),
        held_out=held_out,
        probabilities=probabilities,
        if_unknown=if_unknown,
    )


def _features(vectors: NDArray[np.float16], projection: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if projection is None:
        return vectors.astype(np.float32)
    pictures, views, _ = vectors.shape
    result = np.empty((pictures, views, projection.shape[1]), np.float32)
    for start in range(0, pictures, _CHUNK):
        result[start : start + _CHUNK] = vectors[start : start + _CHUNK].astype(np.float32) @ projection
    return result
