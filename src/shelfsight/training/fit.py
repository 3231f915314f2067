"""Fit, calibrate and measure a head on embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.head import Head, make_head
from shelfsight.training.heads import fit_head
from shelfsight.training.holdout import HeldOut, hold_out
from shelfsight.training.metrics import best_temperature, choose_threshold, confidence_if_unknown, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.training.rules import Plan

_CHUNK = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """What a head is fitted on.

    Attributes:
        vectors: (images, views, embedding size) float16, view 0 the whole picture.
        labels: (images,) index into `products`.
    """

    vectors: NDArray[np.float16]
    labels: NDArray[np.int64]
    products: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What held-out images say about scores.

    Attributes:
        temperature: factor that turns scores into logits of true probabilities.
        threshold: confidence from which to answer.
        probabilities: calibrated, (held-out answers, labels); no rows where nothing could be held out.
        if_unknown: (held-out answers,) confidence had the image's product not been in the catalogue.
    """

    temperature: float
    threshold: float
    probabilities: NDArray[np.float32]
    if_unknown: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A head, and what it was measured on: images scored by heads that had not seen them."""

    head: Head
    held_out: HeldOut
    calibration: Calibration


def fit(examples: Examples, backbone: Backbone, plan: Plan, *, seed: int) -> Fitted:
    """Return a calibrated head for the products of `examples`; `seed` decides which images are held out."""
    projection = backbone.projection if plan.projected else None
    features = _features(examples.vectors, None if projection is None else projection.values())
    known, held_out = hold_out(features, examples.labels, len(examples.products), plan, seed=seed)
    del features  # hundreds of MB where there are thousands of products
    kernel, bias = fit_head(plan.head, known, plan.shrinkage)
    calibration = calibrate(held_out, len(examples.products))
    head = make_head(
        examples.products,
        (kernel * calibration.temperature).astype(np.float32),
        (bias * calibration.temperature).astype(np.float32),
        projection,
    )
    return Fitted(head=head, held_out=held_out, calibration=calibration)


def calibrate(held_out: HeldOut, products: int) -> Calibration:
    """Return temperature and threshold by the held-out images; neutral ones where there are none."""
    unmeasured = np.empty(0, np.float32)
    if not len(held_out.label):
        return Calibration(temperature=1.0, threshold=0.5, probabilities=held_out.scores, if_unknown=unmeasured)
    temperature = best_temperature(held_out.scores, held_out.label)
    probabilities = softmax(held_out.scores * np.float32(temperature))
    right = probabilities.argmax(axis=1) == held_out.label
    # With two products, the one that is left when the other is taken out is always sure: nothing to learn.
    if_unknown = confidence_if_unknown(probabilities, held_out.label) if products > 2 else unmeasured
    threshold = choose_threshold(probabilities.max(axis=1), right, if_unknown)
    return Calibration(
        temperature=temperature,
        threshold=math.floor(threshold * 10_000) / 10_000,  # rounded up, it would not answer what was chosen
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
