"""What training decides, without a single picture."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.training.fit import calibrate
from shelfsight.training.holdout import FOLDS, HeldOut, assign_folds, scenes
from shelfsight.training.metrics import choose_threshold
from shelfsight.training.rules import Basis, HeadKind, plan_training, wilson_interval


@pytest.mark.parametrize(
    ("images", "studio", "head"),
    [
        ([1, 1, 1], True, HeadKind.MEAN),
        ([1, 1, 1], False, HeadKind.RIDGE),
        ([2, 2, 1], False, HeadKind.LDA),
        ([30, 25, 40], False, HeadKind.LDA),
    ],
)
def test_the_head_follows_the_number_of_pictures(images: list[int], studio: bool, head: HeadKind) -> None:
    assert plan_training(images, studio=studio, wanted=None).head is head


def test_a_wanted_head_is_taken() -> None:
    assert plan_training([30, 30], studio=False, wanted=HeadKind.MEAN).head is HeadKind.MEAN


def test_the_fewer_pictures_the_more_views_are_drawn() -> None:
    crops = [plan_training([n, n], studio=False, wanted=None).crops for n in (1, 2, 4, 5, 50)]
    assert crops == sorted(crops, reverse=True)


def test_one_picture_a_product_can_only_be_measured_on_views_of_itself() -> None:
    assert plan_training([1, 1, 2], studio=False, wanted=None).basis is Basis.VIEWS
    assert plan_training([2, 2, 1], studio=False, wanted=None).basis is Basis.SCENES


def test_thousands_of_products_get_the_projected_head() -> None:
    assert not plan_training([5] * 1999, studio=False, wanted=None).projected
    assert plan_training([5] * 2000, studio=False, wanted=None).projected


groups = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=80)


@given(groups, st.integers(0, 5))
def test_a_scene_is_never_torn_apart(pictures: list[tuple[int, int]], seed: int) -> None:
    folds = assign_folds(pictures, seed=seed)
    where = defaultdict(set)
    for group, fold in zip(pictures, folds, strict=True):
        where[group].add(fold)
    assert all(len(found) == 1 for found in where.values())


@given(groups, st.integers(0, 5))
def test_every_product_keeps_something_to_learn_from_in_every_fold(
    pictures: list[tuple[int, int]], seed: int
) -> None:
    folds = assign_folds(pictures, seed=seed)
    assert set(folds) <= set(range(-1, FOLDS))
    products = {product for product, _ in pictures}
    for fold in range(FOLDS):
        left = {product for (product, _), where in zip(pictures, folds, strict=True) if where != fold}
        assert left == products


def test_scenes_are_spread_evenly() -> None:
    folds = Counter(assign_folds([(0, scene) for scene in range(20)], seed=1))
    assert set(folds.values()) == {4}


def test_near_duplicates_share_a_scene() -> None:
    random = np.random.default_rng(0)
    places = random.normal(size=(3, 64))
    shots = np.repeat(places, 4, axis=0) + 0.1 * random.normal(size=(12, 64))
    shots /= np.linalg.norm(shots, axis=1, keepdims=True)
    assert scenes(shots.astype(np.float32)) == [0] * 4 + [1] * 4 + [2] * 4


def test_where_all_photos_are_alike_each_counts_for_itself() -> None:
    assert scenes(np.full((3, 4), 0.5, np.float32)) == [0, 1, 2]


def test_the_threshold_separates_right_answers_from_the_rest() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.4])
    right = np.array([True, True, True, False])
    assert choose_threshold(confidence, right, np.array([0.5, 0.6, 0.3])) == 0.7


def test_without_held_out_pictures_the_threshold_is_even() -> None:
    assert choose_threshold(np.empty(0), np.empty(0, bool), np.empty(0)) == 0.5


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=30),
    st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), max_size=30),
)
def test_no_other_threshold_pays_better(known: list[tuple[float, bool]], unknown: list[float]) -> None:
    confidence, right = np.array([c for c, _ in known]), np.array([r for _, r in known])
    others = np.array(unknown)
    chosen = choose_threshold(confidence, right, others)

    def utility(threshold: float) -> float:
        share = 0.2 if unknown else 0.0
        answered = np.where(right, 1.0, -1.0)[confidence >= threshold].sum() / len(known)
        return float((1 - share) * answered - share * (others >= threshold).sum() / max(1, len(unknown)))

    best = max(0.0, *(utility(t) for t in {*confidence.tolist(), *unknown}))
    assert utility(chosen) == pytest.approx(best)


def test_where_answering_never_pays_it_always_asks() -> None:
    assert choose_threshold(np.array([0.9, 0.8, 0.7]), np.array([False] * 3), np.empty(0)) == 1.0


@given(st.lists(st.floats(0.3, 0.99999), min_size=3, max_size=40))
def test_the_stored_threshold_answers_all_that_the_chosen_one_did(confidence: list[float]) -> None:
    scores = np.stack([np.log(confidence), np.log1p(-np.array(confidence)), np.full(len(confidence), -9.0)], axis=1)
    held_out = HeldOut(
        picture=np.arange(len(confidence)),
        label=np.zeros(len(confidence), np.int64),
        scores=scores.astype(np.float32),
        answers=scores.argmax(axis=1),
    )
    found = calibrate(held_out, 3)
    right = found.probabilities.argmax(axis=1) == 0
    chosen = choose_threshold(found.probabilities.max(axis=1), right, found.if_unknown)
    answers = found.probabilities.max(axis=1)
    assert (answers >= found.threshold).sum() >= (answers >= chosen).sum()


def test_the_interval_is_wilsons() -> None:
    assert wilson_interval(8, 10) == (0.4902, 0.9433)  # the textbook's example
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(10, 10)[1] == 1


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share(right: int, total: int) -> None:
    right = min(right, total)
    low, high = wilson_interval(right, total)
    assert 0 <= low <= right / total + 1e-4
    assert right / total - 1e-4 <= high <= 1
