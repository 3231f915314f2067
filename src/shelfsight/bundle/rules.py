"""What a recogniser's probabilities mean. Pure; `clients/js/core` decides the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A product and how sure the recogniser is of it, 0..1."""

    product: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """The most likely products, best first, and whether the best is to be trusted."""

    predictions: tuple[Prediction, ...]
    known: bool


def rank(probabilities: Sequence[float], labels: Sequence[str], *, top: int, threshold: float) -> Recognition:
    """Return the `top` most likely labels; equal probabilities keep the order of the labels."""
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:top]
    predictions = tuple(Prediction(product=labels[index], confidence=float(probabilities[index])) for index in order)
    return Recognition(predictions=predictions, known=bool(predictions) and predictions[0].confidence >= threshold)
