"""What can be a channel, a setting, a product."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.catalog.rules import (
    BARCODES_MOST,
    Channel,
    ChannelSettings,
    ChannelValues,
    Product,
    ProductDetails,
    changed,
    check_batch,
    check_product_id,
    search_text,
    with_values,
)
from shelfsight.catalog.text import folded
from shelfsight.errors import UsageError

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "x" * 501}, "name has 501 characters: at most 500 are kept"),
        ({"name": "a\nb"}, "name has a control character"),
        ({"name": "a\u2028b"}, "name has a control character"),
        ({"name": "\ud83d"}, "half a character"),
        ({"name": "   "}, "nothing but spaces"),
        ({"sku": ""}, "sku is empty: leave it out"),
        ({"sku": "x" * 129}, "sku has 129 characters"),
        ({"barcodes": ("1", "2", "1")}, "name each once"),
        ({"barcodes": tuple(map(str, range(BARCODES_MOST + 1)))}, "at most 50"),
        ({"barcodes": ("",)}, "a barcode is empty"),
        ({"currency": "eur"}, "must be a code of ISO 4217"),
        ({"currency": "EURO"}, "must be a code of ISO 4217"),
        ({"price": Decimal(1)}, "Name a currency"),
        ({"price": Decimal("-0.01"), "currency": "EUR"}, "at least 0"),
        ({"price": Decimal("-0"), "currency": "EUR"}, "at least 0"),
        ({"price": Decimal("NaN"), "currency": "EUR"}, "at least 0"),
        ({"price": Decimal("Infinity"), "currency": "EUR"}, "at least 0"),
        ({"price": Decimal("1E10"), "currency": "EUR"}, "below 10000000000"),
        ({"price": Decimal("0.00001"), "currency": "EUR"}, "at most 4 places"),
    ],
)
def test_details_that_cannot_be_are_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ProductDetails(**{"name": "Apple", **values})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model_retrain_debounce_seconds": 0}, "must be 1 to 86400"),
        ({"model_retrain_debounce_seconds": 86_401}, "must be 1 to 86400"),
        ({"accuracy_threshold": 1.1}, "must be 0 to 1, or null"),
        ({"accuracy_threshold": float("nan")}, "must be 0 to 1, or null"),
        ({"model_base_url": "javascript:alert(1)"}, "must begin with https"),
        ({"model_base_url": "//elsewhere.example/x"}, "must begin with https"),
        ({"model_base_url": "https://x/\n"}, "control character"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(values: ChannelValues, sentence: str) -> None:
    channel = Channel(id="T_1", name="Laden", token="ck_1", created_at=NOW)
    with pytest.raises(UsageError, match=sentence):
        with_values(channel, values)


@pytest.mark.parametrize("url", ["/assets/ml-models/T_1/latest", "https://cdn.example/models", None])
def test_models_may_come_from_a_path_of_this_server_or_from_another(url: str | None) -> None:
    channel = Channel(id="T_1", name="Laden", token="ck_1", created_at=NOW)
    assert with_values(channel, {"model_base_url": url}).settings.model_base_url == url


def test_a_change_of_a_channel_is_checked_as_a_whole_and_touches_nothing_else() -> None:
    channel = Channel(id="T_1", name="Laden", token="ck_1", created_at=NOW)
    after = with_values(channel, {"name": "Markt", "accuracy_threshold": 0.5})
    assert (after.name, after.settings) == ("Markt", ChannelSettings(accuracy_threshold=0.5))
    with pytest.raises(UsageError):
        with_values(channel, {"name": "a\0b"})


def test_one_wrong_row_of_somebody_elses_can_be_read_and_is_told_when_it_is_changed() -> None:
    row = Product(id="p", name="Apple", price=Decimal(1), created_at=NOW)
    with pytest.raises(UsageError, match="Name a currency"):
        changed(row, {"name": "Pear"})
    assert changed(row, {"name": "Pear", "currency": "EUR"}).name == "Pear"


@pytest.mark.parametrize("product_id", ["1", "SKU 4711", "Äpfel", "苹果", "a.b", "...", "x" * 128, "50%", "a?b#c"])
def test_what_can_be_shown_can_be_a_product_id(product_id: str) -> None:
    check_product_id(product_id)


def test_a_batch_names_each_product_once() -> None:
    with pytest.raises(UsageError, match="'a' is in the batch twice"):
        check_batch(["a", "b", "a"])


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), st.data())
def test_every_part_of_a_name_finds_it_in_upper_and_lower_case(name: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(name)))
    text = search_text(Product(id="p", name=name, sku="4711", created_at=NOW))
    assert folded(name) in text
    if name[begin:].isascii() and name.isascii():
        assert folded(name[begin:].upper()) in text
        assert folded(name[begin:].lower()) in text
