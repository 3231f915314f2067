"""What a line comes to: the till's script and the server answer the same cases alike."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shelfsight.till.rules import amount_of

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "amounts.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["sentence"])
def test_a_quantity_by_a_price_comes_to_the_amount_of_the_vectors(case: dict[str, Any]) -> None:
    amount = amount_of(Decimal(case["quantity"]), Decimal(case["price"]), case["currency"])
    assert f"{amount:f}" == case["amount"]
