"""How rows are answered: forms, windows, counts, and values as PostgREST writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shelfsight.delivery.supabase import replies
from shelfsight.delivery.supabase.replies import Form, Window
from shelfsight.errors import QueryError

LIST = Form(one=False, strip_nulls=False)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, LIST),
        ("*/*", LIST),
        ("application/json", LIST),
        ("application/vnd.pgrst.object+json", Form(one=True, strip_nulls=False)),
        ("application/vnd.pgrst.object+json;nulls=stripped", Form(one=True, strip_nulls=True)),
        ("application/vnd.pgrst.array+json;nulls=stripped", Form(one=False, strip_nulls=True)),
        ("text/csv, application/json", LIST),
    ],
)
def test_the_accept_header_says_list_or_one_row(accept: str | None, form: Form) -> None:
    assert replies.parse_accept(accept) == form


@pytest.mark.parametrize("accept", ["text/csv", "application/geo+json", "x\r\ny"])
def test_another_form_is_not_to_be_had(accept: str) -> None:
    with pytest.raises(QueryError) as caught:
        replies.parse_accept(accept)
    assert (caught.value.reason, caught.value.http_status) == ("PGRST107", 406)
    assert str(caught.value).isprintable()


def test_there_is_one_schema() -> None:
    replies.check_profile(None)
    replies.check_profile("public")
    with pytest.raises(QueryError, match="must be one of the following: public"):
        replies.check_profile("shelfsight")


@pytest.mark.parametrize("prefer", ["count=exact", "return=representation,count=planned", "a=b, count=estimated"])
def test_a_count_is_made_when_it_is_asked_for(prefer: str) -> None:
    assert replies.wants_count(prefer)


@pytest.mark.parametrize("prefer", [None, "", "discount=exact", "count=none"])
def test_no_count_is_made_otherwise(prefer: str | None) -> None:
    assert not replies.wants_count(prefer)


@pytest.mark.parametrize(
    ("offset", "limit", "header", "wanted"),
    [
        (0, None, None, Window(0, 1000)),
        (5, 10, None, Window(5, 10)),
        (0, 5000, None, Window(0, 1000)),
        (0, None, "0-9", Window(0, 10)),
        (0, None, "items=10-19", Window(10, 10)),
        (5, 10, "2-3", Window(7, 2)),
        (5, 10, "8-99", Window(13, 2)),
        (0, 10, "20-", Window(20, 0)),
        (0, None, "bytes=0-1", Window(0, 1000)),
    ],
)
def test_a_window_is_the_range_within_limit_and_offset(
    offset: int, limit: int | None, header: str | None, wanted: Window
) -> None:
    assert replies.window(offset, limit, header) == wanted


def test_a_range_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(QueryError) as caught:
        replies.window(0, None, "9-3")
    assert (caught.value.reason, caught.value.http_status) == ("PGRST103", 416)


@pytest.mark.parametrize(
    ("window", "found", "total", "status", "content_range"),
    [
        (Window(0, 10), 3, None, 200, b"0-2/*"),
        (Window(0, 10), 0, None, 200, b"*/*"),
        (Window(0, 10), 3, 3, 200, b"0-2/3"),
        (Window(0, 10), 10, 25, 206, b"0-9/25"),
        (Window(20, 10), 5, 25, 206, b"20-24/25"),
        (Window(0, 10), 0, 0, 200, b"*/0"),
        (Window(25, 10), 0, 25, 200, b"*/25"),
    ],
)
def test_an_answer_says_which_rows_of_how_many_it_has(
    window: Window, found: int, total: int | None, status: int, content_range: bytes
) -> None:
    assert replies.status_of(window, found, total) == status
    assert replies.content_range(window, found, total) == content_range


def test_an_offset_behind_the_last_row_cannot_be_satisfied() -> None:
    with pytest.raises(QueryError) as caught:
        replies.status_of(Window(30, 10), 0, 25)
    assert caught.value.details == "An offset of 30 was requested, but there are only 25 rows."


@pytest.mark.parametrize("rows", [[], [{}, {}]])
def test_one_row_alone_is_one(rows: list[dict[str, object]]) -> None:
    assert replies.the_one([{"a": 1}]) == {"a": 1}
    with pytest.raises(QueryError) as caught:
        replies.the_one(rows)
    assert (caught.value.reason, caught.value.http_status) == ("PGRST116", 406)
    assert caught.value.details == f"The result contains {len(rows)} rows"


def test_values_are_written_as_postgrest_writes_them() -> None:
    east = timezone(timedelta(hours=1))
    row = {
        "at": datetime(2026, 11, 20, 13, 0, 0, 120000, tzinfo=east),
        "whole": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "number": 10.0,
        "share": 0.05,
        "shape": [1, 224],
        "nothing": None,
        "flag": True,
    }
    assert replies.written(row, LIST) == {
        **row,
        "at": "2026-11-20T12:00:00.12+00:00",
        "whole": "2026-01-02T03:04:05+00:00",
        "number": 10,
    }
    assert "nothing" not in replies.written(row, Form(one=False, strip_nulls=True))
