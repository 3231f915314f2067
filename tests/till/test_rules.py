"""What may be sold, what it comes to, and when two sales are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.catalog.text import plain, price_text
from shelfsight.errors import ProductNotFoundError, SaleConflictError, UsageError
from shelfsight.till.export import guarded
from shelfsight.till.products import Packing, packing_for
from shelfsight.till.rules import (
    Booked,
    NewLine,
    NewSale,
    SaleLine,
    SoldProduct,
    amount_of,
    booked_sale,
    check_products,
    fingerprint,
    period_of,
    totals,
    unbooked,
)

AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ONE = NewLine(product_id="apple", quantity=Decimal(1))
SALE = NewSale(id="sale-0001", at=AT, lines=(ONE,))
PEAR = SoldProduct(id="pear", name="Pear", sku=None, price=Decimal("2.99"), currency="EUR", is_active=True)


@pytest.mark.parametrize(
    ("quantity", "price", "currency", "amount"),
    [
        ("0.347", "2.99", "EUR", "1.04"),  # 1.03753
        ("1", "0.125", "EUR", "0.13"),  # half goes up, also where a banker would go down
        ("1", "0.135", "EUR", "0.14"),
        ("3", "19.99", "EUR", "59.97"),
        ("2.5", "99", "JPY", "248"),  # no smaller unit than a yen
        ("0.333", "1.500", "KWD", "0.500"),  # 1,000 fils
        ("100000", "9999999999.9999", "EUR", "999999999999990.00"),
        ("1", "0", "EUR", "0.00"),
    ],
)
def test_a_line_comes_to_whole_units_of_its_currency(quantity: str, price: str, currency: str, amount: str) -> None:
    found = amount_of(Decimal(quantity), Decimal(price), currency)
    assert (found, str(found)) == (Decimal(amount), amount)


@given(st.decimals("0.001", 100_000, places=3), st.decimals(0, 9_999_999_999, places=4))
def test_rounding_is_never_off_by_more_than_half_a_cent(quantity: Decimal, price: Decimal) -> None:
    assert abs(amount_of(quantity, price, "EUR") - quantity * price) <= Decimal("0.005")


def test_totals_are_by_currency_and_leave_out_what_has_no_price() -> None:
    priced = SaleLine(
        product_id="p",
        name="",
        sku=None,
        quantity=Decimal(1),
        unit_price=Decimal(1),
        currency="EUR",
        amount=Decimal(1),
    )
    free = replace(priced, unit_price=None, currency=None, amount=None)
    swiss = replace(priced, currency="CHF", amount=Decimal("0.10"))
    assert list(totals([priced, free, swiss, priced]).items()) == [("CHF", Decimal("0.10")), ("EUR", Decimal(2))]


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0.00"), ("0.5", "0.50"), ("0.1250", "0.125"), ("1E+2", "100.00"), ("12.3400", "12.34")],
)
def test_money_has_two_places_or_more(amount: str, text: str) -> None:
    assert price_text(Decimal(amount)) == text


@pytest.mark.parametrize(("quantity", "text"), [("2.000", "2"), ("0.347", "0.347"), ("1E+3", "1000")])
def test_a_quantity_has_the_places_it_needs(quantity: str, text: str) -> None:
    assert plain(Decimal(quantity)) == text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"quantity": Decimal(0)}, "above 0"),
        ({"quantity": Decimal(-1)}, "above 0"),
        ({"quantity": Decimal("100000.001")}, "100000 at most"),
        ({"quantity": Decimal("0.0001")}, "at most 3 places"),
        ({"quantity": Decimal("1." + "0" * 40 + "1")}, "at most 3 places"),
        ({"unit_price": Decimal("-0.01"), "currency": "EUR"}, "at least 0"),
        ({"unit_price": Decimal(10) ** 10, "currency": "EUR"}, "below 10000000000"),
        ({"unit_price": Decimal("0.00001"), "currency": "EUR"}, "at most 4 places"),
        ({"currency": "EUR"}, "of what"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_sale_and_place(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        replace(SALE, lines=(ONE, replace(ONE, **line)))
    assert str(caught.value).startswith("sale sale-0001, line 2: ")


@pytest.mark.parametrize(
    "values",
    [
        {"id": "short"},
        {"id": "x" * 65},
        {"id": "a/b/c/d/e"},
        {"id": "sale-0001\n"},
        {"lines": ()},
        {"lines": (ONE,) * 501},
        {"device": "till\n1"},
        {"model_version": "\x1b[1m"},
        {"at": datetime(1969, 12, 31, 23, 59, tzinfo=UTC)},
        {"at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
        {"at": datetime(9999, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_can_be_no_sale_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(SALE, **values)


@pytest.mark.parametrize("year", [1970, 2001, 2199, 9998])
def test_a_clock_that_is_wrong_by_years_keeps_no_sale_out(year: int) -> None:
    assert replace(SALE, at=AT.replace(year=year)).at.year == year


def test_the_same_sale_is_the_same_however_its_numbers_and_its_time_are_written() -> None:
    berlin = AT.astimezone(timezone(timedelta(hours=1)))
    line = replace(ONE, unit_price=Decimal("1.50"), currency="EUR")
    same = replace(line, quantity=Decimal("1.000"), unit_price=Decimal("1.5"))
    assert fingerprint(replace(SALE, at=berlin, lines=(same,))) == fingerprint(replace(SALE, lines=(line,)))


@pytest.mark.parametrize(
    "values",
    [
        {"at": AT + timedelta(microseconds=1)},
        {"device": "till 1"},
        {"model_version": "1.0.0"},
        {"lines": (ONE, ONE)},
        {"lines": (replace(ONE, product_id="pear"),)},
        {"lines": (replace(ONE, quantity=Decimal(2)),)},
        {"lines": (replace(ONE, unit_price=Decimal(0), currency="EUR"),)},
        {"lines": (replace(ONE, unit_price=Decimal(0)),)},
    ],
)
def test_another_sale_is_another(values: dict[str, Any]) -> None:
    assert fingerprint(replace(SALE, **values)) != fingerprint(SALE)


def test_of_a_batch_each_sale_that_is_not_booked_is_booked_once() -> None:
    other = replace(SALE, id="sale-0002")
    before = {SALE.id: Booked(fingerprint(SALE), AT)}
    assert unbooked([SALE, other, other], before) == [(1, other)]


def test_an_id_with_other_contents_is_named_wherever_the_first_one_was() -> None:
    more = replace(SALE, device="till 2")
    for batch, before in (([SALE, more], {}), ([SALE, more], {SALE.id: Booked(fingerprint(SALE), AT)})):
        with pytest.raises(SaleConflictError, match="sale sale-0001 was booked already") as caught:
            unbooked(batch, before)
        assert [part for part, _ in caught.value.parts] == ["body.sales.1.id"]


def test_every_product_that_is_not_there_is_named_and_the_sentence_names_the_first() -> None:
    gone = replace(PEAR, id="gone", is_active=False)
    lines = tuple(replace(ONE, product_id=name) for name in ("gone", "pear", "n1", "n2", "n3"))
    with pytest.raises(ProductNotFoundError) as caught:
        check_products([(4, replace(SALE, lines=lines))], {"pear": PEAR, "gone": gone}, "T_1")
    assert [part for part, _ in caught.value.parts] == [
        f"body.sales.4.lines.{line}.productId" for line in (0, 2, 3, 4)
    ]
    assert str(caught.value).startswith(
        "Product not found: sale sale-0001 names product 'gone', which was deleted; "
        "sale sale-0001 names product 'n1', which is not in channel T_1; "
    )
    assert str(caught.value).endswith("; and 1 more; nothing was recorded")


@pytest.mark.parametrize(
    ("said", "product", "booked"),
    [
        ({}, {}, ("2.99", "EUR", "2.99")),
        ({"unit_price": "1"}, {}, ("1", "EUR", "1")),
        ({"unit_price": "1", "currency": "CHF"}, {}, ("1", "CHF", "1")),
        ({"unit_price": "0"}, {}, ("0", "EUR", "0")),
        ({}, {"price": None}, (None, None, None)),
        ({}, {"price": None, "currency": None}, (None, None, None)),
        ({"unit_price": "1"}, {"price": None}, ("1", "EUR", "1")),
    ],
)
def test_a_price_is_as_charged_else_as_in_the_catalogue(
    said: dict[str, Any], product: dict[str, Any], booked: tuple[str | None, ...]
) -> None:
    price: dict[str, Any] = {name: Decimal(value) if name == "unit_price" else value for name, value in said.items()}
    line = replace(ONE, product_id="pear", **price)
    found = booked_sale(
        replace(SALE, lines=(line,)), {"pear": replace(PEAR, **product)}, number=1, received_at=AT
    ).lines[0]
    wanted = tuple(None if one is None or one.isalpha() else Decimal(one) for one in booked)
    assert (found.unit_price, found.amount) == (wanted[0], wanted[2])
    assert found.currency == booked[1]


def test_a_price_without_any_currency_is_refused() -> None:
    line = replace(ONE, product_id="pear", unit_price=Decimal(1))
    bare = replace(PEAR, price=None, currency=None)
    with pytest.raises(UsageError, match="sale sale-0001, line 1: unitPrice is 1 of what"):
        booked_sale(replace(SALE, lines=(line,)), {"pear": bare}, number=1, received_at=AT)


def test_a_period_without_end_is_one_that_any_database_understands() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
    period = period_of(first, last, None)
    assert (period.since, period.until) == (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
    assert period_of(None, None, None).since is None


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", "\uff1d1", '=HYPERLINK("http://x")', "-2+3+cmd|' /C'!A0"],
)
def test_no_cell_is_an_order_to_a_spreadsheet(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Apple", "1=1", "a-b", "'quoted", "Käse & Brot", " =1"])
def test_a_cell_that_is_none_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


@pytest.mark.parametrize(
    ("accepted", "packing"),
    [
        (None, Packing.NONE),
        ("", Packing.NONE),
        ("identity", Packing.NONE),
        ("gzip, deflate, br, zstd", Packing.ZSTD),
        ("GZIP;q=0.5, br", Packing.GZIP),
        ("gzip, zstd;q=0", Packing.GZIP),
        ("zstd;q=0.0, gzip;q=0", Packing.NONE),
        ("gzip ; q=1", Packing.GZIP),
        ("br", Packing.NONE),
    ],
)
def test_a_list_is_packed_as_a_client_takes_it(accepted: str | None, packing: Packing) -> None:
    assert packing_for(accepted) is packing
