"""Heads fitted from moments are the textbook's, and moments add and subtract."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier

from shelfsight.errors import ShapeError
from shelfsight.training.heads import Moments, fit_head, moments
from shelfsight.training.rules import HeadKind

LABELS, SIZE = 5, 16


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    centres = random.normal(0, 2, (LABELS, SIZE))
    labels = random.integers(0, LABELS, 400)
    rows = centres[labels] + random.normal(size=(400, SIZE)) @ random.normal(size=(SIZE, SIZE)) * 0.5
    return rows.astype(np.float32), labels


def known(data: tuple[np.ndarray, np.ndarray]) -> Moments:
    return moments([data], LABELS, SIZE)


def answers(head: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows @ head[0] + head[1]).argmax(axis=1))


def test_chunks_do_not_matter(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = data
    parts = moments([(rows[:100], labels[:100]), (rows[100:], labels[100:])], LABELS, SIZE)
    assert parts.scatter == pytest.approx(known(data).scatter, rel=1e-4)
    assert parts.sums == pytest.approx(known(data).sums, rel=1e-6)


def test_taking_a_fold_out_of_the_moments_is_fitting_without_it(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = data
    fold = moments([(rows[:80], labels[:80])], LABELS, SIZE)
    rest = moments([(rows[80:], labels[80:])], LABELS, SIZE)
    for kind in HeadKind:
        kernel, bias = fit_head(kind, known(data) - fold, 0.2)
        wanted_kernel, wanted_bias = fit_head(kind, rest, 0.2)
        assert kernel == pytest.approx(wanted_kernel, abs=1e-3)
        assert bias == pytest.approx(wanted_bias, abs=1e-2)


def test_lda_is_the_bayes_rule_for_gaussians_of_one_shape(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = data
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(LABELS)])
    centred = rows - means[labels]
    inverse = np.linalg.inv(centred.T @ centred / len(rows))
    difference = rows[:, None, :] - means[None]
    distance = np.einsum("nld,de,nle->nl", difference, inverse, difference)
    assert (answers(fit_head(HeadKind.LDA, known(data), 0.0), rows) == distance.argmin(axis=1)).all()


def test_ridge_without_a_penalty_is_least_squares(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = data
    model = LinearRegression().fit(rows, np.eye(LABELS)[labels])
    kernel, bias = fit_head(HeadKind.RIDGE, known(data), 0.0)
    assert kernel == pytest.approx(model.coef_.T, abs=1e-4)
    assert bias == pytest.approx(model.intercept_, abs=1e-4)


def test_mean_is_the_nearest_mean_by_angle(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, _ = data
    unit = known(data).means / np.linalg.norm(known(data).means, axis=1, keepdims=True)
    nearest = KNeighborsClassifier(1).fit(unit, np.arange(LABELS))
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = nearest.predict(directions)
    assert (answers(fit_head(HeadKind.MEAN, known(data), 0.0), rows) == wanted).all()


@pytest.mark.parametrize("kind", list(HeadKind))
def test_a_label_without_embeddings_never_wins(kind: HeadKind, data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = data
    kept = labels != 2
    head = fit_head(kind, moments([(rows[kept], labels[kept])], LABELS, SIZE), 0.3)
    assert 2 not in answers(head, rows)


@pytest.mark.parametrize("kind", list(HeadKind))
def test_identical_embeddings_do_not_break_the_fit(kind: HeadKind) -> None:
    rows = np.repeat(np.eye(2, SIZE, dtype=np.float32), 3, axis=0)
    kernel, bias = fit_head(kind, moments([(rows, np.array([0, 0, 0, 1, 1, 1]))], 2, SIZE), 0.2)
    assert np.isfinite(kernel).all()
    assert (answers((kernel, bias), rows) == [0, 0, 0, 1, 1, 1]).all()


def test_embeddings_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(n, 16\)"):
        moments([(np.zeros((3, 4), np.float32), np.zeros(3, np.int64))], LABELS, SIZE)
