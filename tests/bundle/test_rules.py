"""What probabilities mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.bundle.rules import rank
from tests.conftest import ROOT

VECTORS = json.loads((ROOT / "tests" / "vectors" / "rank.json").read_text("utf-8"))  # the JavaScript client's too


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["sentence"])
def test_the_answer_is_the_one_that_every_client_gives(case: dict[str, Any]) -> None:
    found = rank(case["probabilities"], case["labels"], top=case["top"], threshold=case["threshold"])
    assert [p.product for p in found.predictions] == case["products"]
    assert found.known is case["known"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 30))
def test_never_more_than_asked_for_and_never_a_product_twice(probabilities: list[float], top: int) -> None:
    labels = [str(index) for index in range(len(probabilities))]
    found = rank(probabilities, labels, top=top, threshold=0.5)
    products = [p.product for p in found.predictions]
    assert len(products) == min(top, len(labels)) == len(set(products))
    confidences = [p.confidence for p in found.predictions]
    assert confidences == sorted(confidences, reverse=True)
