"""Cursors, documents, preconditions."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from shelfsight.api.documents import ApiDocument, Page
from shelfsight.api.pages import decode_cursor, encode_cursor
from shelfsight.api.preconditions import check_if_match, is_known
from shelfsight.errors import StaleWriteError, UsageError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=100)


class Colour(StrEnum):
    """A colour."""

    RED = "red"


class Thing(ApiDocument):
    """One of everything."""

    how_many: int = 0
    how_much: float = 0
    is_new: bool = False
    made_at: datetime | None = None
    colour: Colour = Colour.RED
    sizes: list[int] = Field(default_factory=list)
    parts: dict[str, int] = Field(default_factory=dict)
    inner: Thing | None = None
    name: str = ""


@given(st.integers(0, 2**63 - 1))
def test_a_number_comes_back_from_its_cursor(position: int) -> None:
    assert decode_cursor(encode_cursor(position), int) == position


@given(TEXTS)
def test_a_text_comes_back_from_its_cursor(position: str) -> None:
    cursor = encode_cursor(position)
    assert decode_cursor(cursor, str) == position
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&? ")


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: data.decode("latin-1"))))
def test_any_text_is_a_cursor_or_a_usage_error(cursor: str) -> None:
    with suppress(UsageError):
        assert type(decode_cursor(cursor, int)) is int
    with suppress(UsageError):
        assert type(decode_cursor(cursor, str)) is str


@pytest.mark.parametrize(
    "position",
    ["-1", "9223372036854775808", "1.0", "true", "null", "[1]", '"\\u0000"', '"\\ud800"', "NaN", "[" * 9999],
)
def test_what_no_list_has_is_no_position(position: str) -> None:
    cursor = base64.urlsafe_b64encode(position.encode()).decode()
    with pytest.raises(UsageError, match="is no cursor of this list"):
        decode_cursor(cursor, int)
    with pytest.raises(UsageError, match="is no cursor of this list"):
        decode_cursor(cursor, str)


def test_no_cursor_is_the_beginning() -> None:
    assert decode_cursor(None, int) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"howMany": "1"},
        {"howMany": 1.5},
        {"howMany": True},
        {"howMuch": "0.5"},
        {"howMuch": True},
        {"isNew": "yes"},
        {"isNew": 1},
        {"sizes": ["1"]},
        {"parts": {"a": "1"}},
        {"inner": {"howMany": "1"}},
        {"colour": "blue"},
        {"name": "a\x00b"},
        {"name": "\ud800"},
        {"parts": {"\x00": 1}},
        {"name": 5},
        {"surprise": 1},
    ],
)
def test_a_document_takes_no_wrong_types_and_nothing_unknown(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Thing.model_validate(wrong)


def test_a_document_reads_and_writes_camel_case_and_what_json_has_no_type_for() -> None:
    thing = Thing.model_validate(
        {"howMany": 2, "howMuch": 1, "madeAt": "2026-01-02T03:04:05Z", "colour": "red", "sizes": [1], "inner": {}}
    )
    assert (thing.how_many, thing.how_much, thing.colour) == (2, 1.0, Colour.RED)
    assert thing.made_at is not None
    shown = Page[Thing](items=[thing], next_cursor="x").model_dump(mode="json", by_alias=True)
    assert shown["nextCursor"] == "x"
    assert shown["items"][0]["madeAt"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("header", [None, "*", '"7"', '"6", "7"', '"a,b" , "7"'])
def test_who_has_seen_this_revision_may_change_it(header: str | None) -> None:
    check_if_match(header, 7)


@pytest.mark.parametrize("header", ['"6"', '"6", "8"', 'W/"7"', '""'])
def test_who_has_seen_another_revision_may_not(header: str) -> None:
    with pytest.raises(StaleWriteError, match="it is at revision 7, not"):
        check_if_match(header, 7)


@pytest.mark.parametrize("header", ["7", "", '"7', '"7",', '"7" "8"', "w/7"])
def test_what_is_no_entity_tag_is_refused(header: str) -> None:
    with pytest.raises(UsageError, match=r"If-Match .* is no list of entity tags"):
        check_if_match(header, 7)
    with pytest.raises(UsageError, match=r"If-None-Match .* is no list of entity tags"):
        is_known(header, '"7"')


@pytest.mark.parametrize(
    ("header", "unchanged"),
    [(None, False), ("*", True), ('"7"', True), ('W/"7"', True), ('"6", W/"7"', True), ('"6"', False)],
)
def test_who_has_this_revision_need_not_fetch_it(header: str | None, unchanged: bool) -> None:
    assert is_known(header, '"7"') is unchanged


@given(st.text(max_size=60))
def test_any_header_matches_or_is_refused(header: str) -> None:
    try:
        check_if_match(header, 7)
    except (StaleWriteError, UsageError):
        return
    assert header.strip() == "*" or '"7"' in header
