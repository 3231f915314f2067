"""What probabilities mean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shelfsight.bundle.rules import rank


def test_the_most_likely_products_come_first() -> None:
    found = rank([0.1, 0.6, 0.3], ["a", "b", "c"], top=2, threshold=0.5)
    assert [(p.product, p.confidence) for p in found.predictions] == [("b", 0.6), ("c", 0.3)]
    assert found.known


def test_below_the_threshold_the_answer_is_not_known() -> None:
    assert not rank([0.4, 0.6], ["a", "b"], top=1, threshold=0.61).known
    assert rank([0.4, 0.6], ["a", "b"], top=1, threshold=0.6).known


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 30))
def test_never_more_than_asked_for_and_never_a_product_twice(probabilities: list[float], top: int) -> None:
    labels = [str(index) for index in range(len(probabilities))]
    found = rank(probabilities, labels, top=top, threshold=0.5)
    products = [p.product for p in found.predictions]
    assert len(products) == min(top, len(labels)) == len(set(products))
    confidences = [p.confidence for p in found.predictions]
    assert confidences == sorted(confidences, reverse=True)
