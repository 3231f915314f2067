"""Fit the linear head from moments of the embeddings: counts, sums and scatter are all that a head needs.

Moments add and subtract, so a cross-validation is one pass over the embeddings and a small solve for each fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np

from shelfsight.errors import ShapeError
from shelfsight.training.rules import HeadKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What is known of labelled embeddings.

    Attributes:
        counts: (labels,) embeddings of each label.
        sums: (labels, d) their sums.
        scatter: (d, d) sum of the outer products of all embeddings.
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            scatter=self.scatter + other.scatter,
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            counts=self.counts - other.counts,
            sums=self.sums - other.sums,
            scatter=self.scatter - other.scatter,
        )

    @property
    def means(self) -> NDArray[np.float64]:
        """(labels, d) mean embedding of each label; zero for a label without embeddings."""
        return self.sums / np.maximum(self.counts, 1)[:, None]

    def within(self) -> NDArray[np.float64]:
        """Return the pooled covariance within labels, (d, d)."""
        return (self.scatter - self.sums.T @ self.means) / max(1.0, float(self.counts.sum()))


def moments(chunks: Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]], labels: int, size: int) -> Moments:
    """Return the moments of embeddings that come in chunks of (rows (n, size), label of each row (n,)).

    Raises:
        ShapeError: a chunk has rows of another size.
    """
    counts, sums = np.zeros(labels), np.zeros((labels, size))
    scatter = np.zeros((size, size))
    for rows, row_labels in chunks:
        if rows.ndim != 2 or rows.shape[1] != size:
            raise ShapeError(f"embeddings must be (n, {size}), got {rows.shape}")
        counts += np.bincount(row_labels, minlength=labels)
        order = np.argsort(row_labels, kind="stable")
        present, starts = np.unique(row_labels[order], return_index=True)
        if len(present):
            sums[present] += np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)
        scatter += rows.T @ rows
    return Moments(counts=counts, sums=sums, scatter=scatter)


def fit_head(kind: HeadKind, known: Moments, shrinkage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (kernel (d, labels), bias (labels,)) of scores whose largest names the label; not yet calibrated.

    A label without embeddings gets a score that never wins.
    """
    match kind:
        case HeadKind.MEAN:
            kernel, bias = _fit_mean(known)
        case HeadKind.RIDGE:
            kernel, bias = _fit_ridge(known, shrinkage)
        case HeadKind.LDA:
            kernel, bias = _fit_lda(known, shrinkage)
        case _:
            assert_never(kind)
    bias[known.counts == 0] = -1e9
    return kernel, bias


def _fit_mean(known: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nearest mean by cosine: an embedding's own length scales all scores alike, so it need not be removed."""
    lengths = np.linalg.norm(known.means, axis=1, keepdims=True)
    kernel = (known.means / np.maximum(lengths, 1e-12)).T
    return kernel, np.zeros(kernel.shape[1])


def _fit_ridge(known: Moments, shrinkage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares on one-hot targets with an L2 penalty (Hoerl and Kennard, Technometrics 1970)."""
    total = float(known.counts.sum())
    mean, share = known.sums.sum(axis=0) / total, known.counts / total
    covariance = known.scatter / total - np.outer(mean, mean)
    cross = known.sums.T / total - np.outer(mean, share)
    kernel = _solve(_shrunk(covariance, shrinkage), cross)
    return kernel, share - mean @ kernel


def _fit_lda(known: Moments, shrinkage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear discriminant with a shrunk pooled covariance and equal priors (Friedman, JASA 1989)."""
    means = known.means
    kernel = _solve(_shrunk(known.within(), shrinkage), means.T)
    return kernel, -0.5 * np.einsum("ld,dl->l", means, kernel)


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.solve(matrix, right).astype(np.float64, copy=False)


def _shrunk(covariance: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Return the covariance moved towards a sphere of the same size, which makes it well conditioned."""
    size = len(covariance)
    sphere = max(float(np.trace(covariance)) / size, 1e-9)
    return (1 - shrinkage) * covariance + (shrinkage * sphere + 1e-9) * np.eye(size)
