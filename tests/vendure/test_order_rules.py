"""Which order a sale becomes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from shelfsight.errors import OrderRefusedError
from shelfsight.till.rules import Sale, SaleLine
from shelfsight.vendure.order_rules import Variant, WantedLine, difference, wanted_lines

MILK = Variant(id="31", sku="MILK", is_enabled=True)
SMALL = Variant(id="41", sku="SHIRT-S", is_enabled=True)
LARGE = Variant(id="42", sku="SHIRT-L", is_enabled=True)


def sale(*lines: tuple[str, str], price: str | None = "1.39", currency: str | None = "EUR") -> Sale:
    """Return a sale of products with their quantities, at one price."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    booked = tuple(
        SaleLine(
            product_id=product,
            name=product.capitalize(),
            sku=None,
            quantity=Decimal(quantity),
            unit_price=None if price is None else Decimal(price),
            currency=currency if price else None,
            amount=None if price is None else Decimal(price) * Decimal(quantity),
        )
        for product, quantity in lines
    )
    return Sale(number=1, id="sale-0001", at=now, received_at=now, lines=booked)


def test_a_product_with_one_variant_is_that_variant() -> None:
    lines = wanted_lines(sale(("milk", "3")), {"milk": [MILK]})
    assert lines == (WantedLine(variant_id="31", name="Milk", quantity=3),)


def test_a_variant_that_is_sold_in_two_lines_is_one_line_of_the_order() -> None:
    lines = wanted_lines(sale(("milk", "3"), ("milk", "1")), {"milk": [MILK]})
    assert lines == (WantedLine(variant_id="31", name="Milk", quantity=4),)


def test_disabled_variants_are_not_meant() -> None:
    gone = Variant(id="30", sku="MILK-OLD", is_enabled=False)
    assert wanted_lines(sale(("milk", "1")), {"milk": [gone, MILK]})[0].variant_id == "31"


@pytest.mark.parametrize(
    ("sold", "variants", "words"),
    [
        (("shirt", "1"), {"shirt": [SMALL, LARGE]}, r"Shirt \(shirt\) is 2 variants in Vendure.*--sells variants"),
        (("shirt", "1"), {}, r"Shirt \(shirt\) is not sold in Vendure's channel"),
        (("milk", "0.347"), {"milk": [MILK]}, r"Milk was sold 0\.347 times.*whole pieces"),
    ],
)
def test_what_vendure_cannot_sell_is_refused_with_words(
    sold: tuple[str, str], variants: dict[str, list[Variant]], words: str
) -> None:
    with pytest.raises(OrderRefusedError, match=words):
        wanted_lines(sale(sold), variants)


def test_an_order_that_comes_to_what_was_paid_needs_no_note() -> None:
    assert difference(sale(("milk", "3")), Decimal("4.17"), "EUR") is None


def test_an_order_that_comes_to_something_else_says_both_amounts() -> None:
    note = difference(sale(("milk", "3")), Decimal("4.50"), "EUR")
    assert note == "Sold for 4.17 EUR at the till; at Vendure's prices it is 4.50 EUR."


@pytest.mark.parametrize(("price", "currency"), [(None, None), ("1.39", "CHF")])
def test_without_a_price_in_the_order_s_currency_that_is_noted(price: str | None, currency: str | None) -> None:
    note = difference(sale(("milk", "3"), price=price, currency=currency), Decimal("4.17"), "EUR")
    assert note == "Not every product had a price in EUR at the till; the order has Vendure's prices."
