"""What a product of Vendure becomes here, what counts as a change there, and when nothing is deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from shelfsight.catalog.rules import BARCODES_MOST, NAME_MOST
from shelfsight.errors import ConflictError
from shelfsight.vendure.rules import (
    Conditions,
    Details,
    Glance,
    Sells,
    VariantGlance,
    VariantWords,
    check_deletions,
    is_replaced,
    mark_of,
    offers,
    plan,
    retry_after,
    staying,
)

WHOLE = Conditions(sells=Sells.PRODUCTS, language="en", currency="EUR", decimals=2, has_barcodes=False)
SINGLE = replace(WHOLE, sells=Sells.VARIANTS)
SMALL = VariantGlance(id="9", updated_at="1", is_enabled=True, sku="S", price=199, currency="EUR")
LARGE = VariantGlance(id="10", updated_at="1", is_enabled=True, sku="L", price=299, currency="EUR", assets=("3",))
TEA = Glance(id="7", updated_at="1", is_enabled=True, assets=("1", "2"), variants=(SMALL, LARGE))


def details(glance: Glance = TEA, name: str = "Tea", **barcodes: str) -> Details:
    words = {
        variant.id: VariantWords(name=f"{name} {variant.sku}", barcodes=(barcodes[variant.sku],))
        if variant.sku in barcodes
        else VariantWords(name=f"{name} {variant.sku}")
        for variant in glance.variants
    }
    pictures = {asset: f"https://shop.example/assets/{asset}.jpg" for asset in ("1", "3")}  # 2 is a video
    return Details(glance=glance, name=name, words=words, pictures=pictures)


def test_a_whole_product_has_the_first_variants_price_and_the_others_codes() -> None:
    (offer,) = offers(details(S="4006381333931"), WHOLE)
    assert offer.product_id == "7"
    assert offer.variant_id is None
    assert offer.assets == ("1", "3")
    assert (offer.details.name, offer.details.sku) == ("Tea", "S")
    assert (offer.details.price, offer.details.currency) == (Decimal("1.99"), "EUR")
    assert offer.details.barcodes == ("L", "4006381333931")


def test_each_variant_is_a_product_with_its_own_pictures_or_else_those_of_the_whole() -> None:
    small, large = offers(details(L="4006381333931"), SINGLE)
    assert (small.product_id, small.variant_id, small.assets) == ("7-9", "9", ("1",))
    assert (large.product_id, large.variant_id, large.assets) == ("7-10", "10", ("3",))
    assert (small.details.name, small.details.sku, small.details.barcodes) == ("Tea S", "S", ())
    assert (large.details.price, large.details.barcodes) == (Decimal("2.99"), ("4006381333931",))


def test_what_is_disabled_is_not_for_sale() -> None:
    off = replace(TEA, is_enabled=False)
    assert offers(details(off), WHOLE) == offers(details(off), SINGLE) == ()
    one = replace(TEA, variants=(replace(SMALL, is_enabled=False), LARGE))
    assert [offer.product_id for offer in offers(details(one), SINGLE)] == ["7-10"]
    (whole,) = offers(details(one), WHOLE)
    assert (whole.details.sku, whole.details.price) == ("L", Decimal("2.99"))


def test_a_product_without_variants_has_no_price_and_is_there() -> None:
    (offer,) = offers(details(replace(TEA, variants=())), WHOLE)
    assert (offer.details.sku, offer.details.price, offer.details.currency) == (None, None, None)
    assert offers(details(replace(TEA, variants=())), SINGLE) == ()


@pytest.mark.parametrize(("decimals", "price"), [(0, Decimal(199)), (2, Decimal("1.99")), (3, Decimal("0.199"))])
def test_prices_are_in_the_smallest_unit_that_the_server_says(decimals: int, price: Decimal) -> None:
    (offer,) = offers(details(), replace(WHOLE, decimals=decimals))
    assert offer.details.price == price


def test_what_the_catalogue_cannot_hold_is_cut_and_the_product_is_sold() -> None:
    variants = tuple(replace(SMALL, id=str(number), sku=f"S\n{number}") for number in range(100, 200))
    (offer,) = offers(details(replace(TEA, variants=variants), name="\x00 \ud800" + "x" * 600), WHOLE)
    assert offer.details.name == "x" * NAME_MOST
    assert offer.details.sku == "S 100"
    assert len(offer.details.barcodes) == BARCODES_MOST


@pytest.mark.parametrize(
    "changed",
    [
        replace(TEA, updated_at="2"),
        replace(TEA, assets=("1",)),
        replace(TEA, variants=(SMALL,)),
        replace(TEA, variants=(replace(SMALL, updated_at="2"), LARGE)),
        replace(TEA, variants=(replace(SMALL, price=1), LARGE)),
        replace(TEA, variants=(replace(SMALL, is_enabled=False), LARGE)),
        replace(TEA, variants=(SMALL, replace(LARGE, assets=()))),
    ],
)
def test_every_change_that_matters_makes_another_mark(changed: Glance) -> None:
    assert mark_of(changed, WHOLE) != mark_of(TEA, WHOLE)


def test_the_order_of_pictures_makes_no_other_mark_and_conditions_do() -> None:
    assert mark_of(replace(TEA, assets=("2", "1")), WHOLE) == mark_of(TEA, WHOLE)
    others = (
        SINGLE,
        replace(WHOLE, language="de"),
        replace(WHOLE, currency="USD"),
        replace(WHOLE, decimals=3),
        replace(WHOLE, has_barcodes=True),
    )
    assert len({mark_of(TEA, one) for one in (WHOLE, *others)}) == 1 + len(others)


def test_what_has_nothing_for_sale_has_no_mark() -> None:
    assert mark_of(replace(TEA, is_enabled=False), WHOLE) is None
    assert mark_of(replace(TEA, variants=()), SINGLE) is None
    assert mark_of(replace(TEA, variants=()), WHOLE) is not None


def test_what_stays_of_a_product_is_what_is_for_sale_of_it() -> None:
    assert staying(TEA, WHOLE) == {"7"}
    assert staying(TEA, SINGLE) == {offer.product_id for offer in offers(details(), SINGLE)} == {"7-9", "7-10"}
    assert staying(replace(TEA, variants=(SMALL, replace(LARGE, is_enabled=False))), SINGLE) == {"7-9"}
    assert staying(replace(TEA, variants=()), SINGLE) == frozenset()
    for conditions in (WHOLE, SINGLE):
        assert staying(None, conditions) == staying(replace(TEA, is_enabled=False), conditions) == frozenset()


def test_a_product_of_the_other_kind_is_replaced() -> None:
    assert is_replaced(None, Sells.VARIANTS)
    assert is_replaced("9", Sells.PRODUCTS)
    assert not is_replaced("9", Sells.VARIANTS)
    assert not is_replaced(None, Sells.PRODUCTS)


def test_a_plan_reads_what_is_new_or_changed_and_deletes_what_is_gone() -> None:
    marks = {"1": "same", "2": "other", "3": "new", "4": None, "5": None, "6": "same"}
    known = [("1", "same"), ("2", "before"), ("4", "before"), ("6", "same"), ("6", "before"), ("8", "gone")]
    found = plan(marks, known, named=None, full=False)
    assert found.changed == ("2", "3", "6")
    assert found.withdrawn == ("4",)
    assert found.missing == ("8",)
    assert plan(marks, known, named=None, full=True).changed == ("1", "2", "3", "6")


def test_a_plan_for_named_products_leaves_the_others_alone() -> None:
    found = plan({"2": "other"}, [("1", "same"), ("2", "before"), ("8", "gone")], named={"2", "8", "9"}, full=False)
    assert (found.changed, found.withdrawn, found.missing) == (("2",), (), ("8",))


def test_more_than_half_is_not_deleted_at_once() -> None:
    check_deletions(0, 0, "T_1")
    check_deletions(5, 10, "T_1")
    with pytest.raises(ConflictError, match=r"6 of the 10 products .*`shelfsight vendure sync T_1 --allow-deletions"):
        check_deletions(6, 10, "T_1")
    with pytest.raises(ConflictError):
        check_deletions(1, 1, "T_1")


def test_waiting_grows_up_to_an_hour() -> None:
    waits = [retry_after(attempts) for attempts in range(1, 20)]
    assert waits[0] == timedelta(seconds=10)
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(hours=1)
