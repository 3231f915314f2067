"""Figures in the report are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from shelfsight.training.metrics import (
    best_temperature,
    confidence_if_unknown,
    confusions,
    measure,
    reliability,
    softmax,
)


def some(n: int = 300, labels: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, n)
    scores = random.normal(size=(n, labels)).astype(np.float32)
    scores[np.arange(n), truth] += 1.5
    return scores, truth


def test_accuracy_and_top_3_are_scikit_learns() -> None:
    scores, truth = some()
    quality = measure(softmax(scores), truth)
    assert quality.accuracy == pytest.approx(top_k_accuracy_score(truth, scores, k=1))
    assert quality.top3 == pytest.approx(top_k_accuracy_score(truth, scores, k=3))


def test_the_surest_four_fifths_are_right_more_often() -> None:
    scores, truth = some(3000)
    quality = measure(softmax(scores), truth)
    assert quality.accuracy_at_80_coverage > quality.accuracy


def test_a_product_that_the_recogniser_does_not_have_is_never_right() -> None:
    quality = measure(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([-1, 1]))
    assert (quality.accuracy, quality.top3) == (0.5, 0.5)


def test_calibration_error_is_the_gap_between_saying_and_being() -> None:
    probabilities = np.tile(np.array([[0.8, 0.2]], np.float32), (10, 1))
    truth = np.array([0] * 6 + [1] * 4)
    assert measure(probabilities, truth).calibration_error == pytest.approx(0.2)
    assert [b.count for b in reliability(probabilities.max(axis=1), truth == 0)] == [10]


@pytest.mark.parametrize("factor", [0.03, 1.0, 40.0])
def test_the_temperature_makes_up_for_any_scale_of_scores(factor: float) -> None:
    scores, truth = some(4000)
    found = best_temperature(scores * np.float32(factor), truth)
    assert found * factor == pytest.approx(best_temperature(scores, truth), rel=0.02)


def test_true_probabilities_need_no_temperature() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=(20_000, 5)).astype(np.float32)
    truth = np.array([random.choice(5, p=row / row.sum()) for row in softmax(scores).astype(float)])
    assert best_temperature(scores, truth) == pytest.approx(1, rel=0.05)


def test_a_few_pictures_all_right_do_not_make_it_certain() -> None:
    scores, truth = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4]] * 3, np.arange(5)
    confidence = softmax(scores * np.float32(best_temperature(scores, truth))).max()
    assert 0.5 < confidence < 0.9


def test_without_its_product_a_picture_is_taken_for_the_next() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    assert confidence_if_unknown(probabilities, np.array([0, 1])) == pytest.approx([2 / 3, 8 / 9])


def test_confusions_are_counted_most_often_first() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 0]]
    found = confusions(probabilities, np.array([0, 0, 0, 1, 1]), np.array([10, 11, 11, 13, 14]))
    assert [(pair.label, pair.taken_for, pair.count, pair.pictures) for pair in found] == [
        (0, 1, 2, (11,)),
        (1, 0, 1, (14,)),
        (1, 2, 1, (13,)),
    ]


@given(st.integers(0, 1000))
def test_probabilities_sum_to_one_whatever_the_scores(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 1000, (4, 7)).astype(np.float32)
    assert softmax(scores).sum(axis=1) == pytest.approx(1, abs=1e-5)
