"""PostgREST's language of queries: what is understood, and what is refused with which code."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfsight.delivery.supabase.columns import COLUMNS
from shelfsight.delivery.supabase.queries import (
    LONGEST_QUERY_BYTES,
    Condition,
    Group,
    Operator,
    Order,
    Query,
    Wildcard,
    parse_query,
)
from shelfsight.errors import QueryError

NOTHING = Group(any=False, members=())


def parsed(**parameters: str) -> Query:
    return parse_query(urlencode(parameters).encode())


def only(query: Query) -> Condition | Group:
    (member,) = query.where.members
    return member


def refusal(query: str) -> tuple[str, str, int]:
    with pytest.raises(QueryError) as caught:
        parse_query(query.encode())
    return caught.value.reason, str(caught.value), caught.value.http_status


def test_without_parameters_everything_is_read() -> None:
    columns = tuple((name, name) for name in COLUMNS)
    assert parse_query(b"") == Query(columns=columns, where=NOTHING, order=(), offset=0, limit=None)


def test_columns_can_be_chosen_and_renamed() -> None:
    query = parsed(select='version,is:is_stable,"file_path",version')
    assert query.columns == (("version", "version"), ("is_stable", "is"), ("file_path", "file_path"))
    assert parsed(select="v:version,*").columns[:2] == (("version", "v"), ("version", "version"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("eq.active", Condition(column="status", operator=Operator.EQ, values=("active",))),
        ("eq.a.b,c", Condition(column="status", operator=Operator.EQ, values=("a.b,c",))),
        ('eq."a"', Condition(column="status", operator=Operator.EQ, values=('"a"',))),
        ("not.neq.x", Condition(column="status", operator=Operator.NEQ, values=("x",), negated=True)),
        ("in.(active,shadow)", Condition(column="status", operator=Operator.IN, values=("active", "shadow"))),
        ('in.("a,b","c\\"d",)', Condition(column="status", operator=Operator.IN, values=("a,b", 'c"d', ""))),
        ("in.()", Condition(column="status", operator=Operator.IN)),
        ("is.null", Condition(column="status", operator=Operator.IS, values=(None,))),
        ("like.a*b", Condition(column="status", operator=Operator.LIKE, pattern=("a", Wildcard.ANY, "b"))),
        (
            "ilike.%a_\\%",
            Condition(column="status", operator=Operator.ILIKE, pattern=(Wildcard.ANY, "a", Wildcard.ONE, "%")),
        ),
    ],
)
def test_a_filter_compares_a_column(text: str, wanted: Condition) -> None:
    assert only(parsed(status=text)) == wanted


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("id", "eq.12", 12),
        ("rollout_percentage", "gte.0.5", 0.5),
        ("is_stable", "eq.true", True),
        ("shadow_mode", "is.false", False),
        ("created_at", "gt.2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("created_at", "gt.2026-11-20T13:00:00+01:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("created_at", "gt.2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("accuracy", "is.null", None),
    ],
)
def test_a_value_is_of_its_columns_kind(column: str, text: str, value: object) -> None:
    condition = only(parsed(**{column: text}))
    assert isinstance(condition, Condition)
    assert condition.values == (value,)


def test_a_plus_sign_that_nobody_encoded_is_still_a_time_zone() -> None:
    condition = only(parse_query(b"created_at=gt.2026-11-20T13:00:00+01:00"))
    assert isinstance(condition, Condition)
    assert condition.values == (datetime(2026, 11, 20, 12, tzinfo=UTC),)


def test_filters_of_one_column_all_count() -> None:
    query = parse_query(b"id=gt.1&id=lt.5")
    assert [one.operator for one in query.where.members if isinstance(one, Condition)] == [Operator.GT, Operator.LT]


def test_logic_trees_nest() -> None:
    found = only(parsed(**{"or": '(id.eq.1,not.and(status.in.(a,b),"version".eq."v,1"),is_stable.not.is.true)'}))
    assert found == Group(
        any=True,
        members=(
            Condition(column="id", operator=Operator.EQ, values=(1,)),
            Group(
                any=False,
                negated=True,
                members=(
                    Condition(column="status", operator=Operator.IN, values=("a", "b")),
                    Condition(column="version", operator=Operator.EQ, values=("v,1",)),
                ),
            ),
            Condition(column="is_stable", operator=Operator.IS, values=(True,), negated=True),
        ),
    )
    negated = only(parsed(**{"not.or": "(id.eq.1)"}))
    assert isinstance(negated, Group)
    assert (negated.any, negated.negated) == (True, True)


def test_an_order_has_several_columns() -> None:
    assert parsed(order="created_at.desc,id,version.asc.nullsfirst,accuracy.desc.nullslast").order == (
        Order(column="created_at", descending=True, nulls_first=True),
        Order(column="id", descending=False, nulls_first=False),
        Order(column="version", descending=False, nulls_first=True),
        Order(column="accuracy", descending=True, nulls_first=False),
    )


def test_an_order_has_each_column_once_so_never_more_than_there_are() -> None:
    assert len(parsed(order=",".join(COLUMNS)).order) == len(COLUMNS)
    for order in ("id,id", 'id.desc,version,"id".asc.nullslast', ",".join(["version", "id"] * 1000)):
        assert refusal(f"order={order}") == ("PGRST100", "order names a column twice: sort by each once", 400)


def test_a_query_has_a_limit_and_an_offset() -> None:
    query = parsed(limit="10", offset="20")
    assert (query.limit, query.offset) == (10, 20)


@pytest.mark.parametrize(
    ("query", "reason", "status"),
    [
        ("select=nope", "42703", 400),
        ("nope=eq.1", "42703", 400),
        ("order=nope.desc", "42703", 400),
        ("or=(nope.eq.1)", "42703", 400),
        ("select=version::text", "PGRST100", 400),
        ("select=trainings(*)", "PGRST100", 400),
        ("select=input_shape->0", "PGRST100", 400),
        ("status=fts.x", "PGRST100", 400),
        ("status=active", "PGRST100", 400),
        ("status=in.active", "PGRST100", 400),
        ("or=id.eq.1", "PGRST100", 400),
        ("or=()", "PGRST100", 400),
        ("or=(id)", "PGRST100", 400),
        ("id=eq.x", "22P02", 400),
        ("id=eq.99999999999999999999", "22P02", 400),
        ("id=eq.null", "22P02", 400),
        ("is_stable=eq.maybe", "22P02", 400),
        ("accuracy=eq.1_0", "22P02", 400),
        ("created_at=eq.yesterday", "22007", 400),
        ("status=is.true", "42804", 400),
        ("is_stable=is.maybe", "PGRST100", 400),
        ("id=like.1", "42883", 400),
        ("input_shape=eq.[1]", "PGRST100", 400),
        ("limit=-1", "PGRST103", 416),
        ("offset=x", "PGRST103", 416),
        ("status=eq.%00", "22P05", 400),
        ("status=eq.%ff", "PGRST100", 400),
        ("status=eq.ключ", "PGRST100", 400),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_code_that_clients_know(
    query: str, reason: str, status: int
) -> None:
    found = refusal(query)
    assert (found[0], found[2]) == (reason, status)


def test_an_unknown_column_is_named_as_postgresql_names_it() -> None:
    assert refusal("select=nope")[1] == "column model_metadata.nope does not exist"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (f"id=in.({','.join(map(str, range(1001)))})", "1000 values at most"),
        ("or=" + "(and" * 20 + "(id.eq.1)" + ")" * 20, "failed to parse logic tree"),
        ("or=(" + ",".join(["id.eq.1"] * 200) + ")", "100 filters at most"),
        ("&".join(["id=eq.1"] * 200), "100 filters at most"),
        ("status=like." + "%25" * 11, "10 wildcards at most"),
        ("select=" + ",".join(["*"] * 1000), "again and again"),
        ("status=eq." + "x" * LONGEST_QUERY_BYTES, "the query is longer"),
    ],
)
def test_there_is_an_end_to_what_one_query_can_ask(query: str, sentence: str) -> None:
    assert sentence in refusal(query)[1]


_WORDS = st.sampled_from(
    ["select", "order", "or", "and", "not.", "status", "id", "=", "&", "(", ")", ",", ".", '"', "\\", "eq.", "in.",
     "is.", "like.", "%", "*", "1", "null", "asc", "'", ";--", "::", "->", " ", "é"]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=25).map("".join))
@example("or=(" * 50)
@example('or=("')
@example('order="')
@example("status=like.\\")
def test_any_text_is_a_query_or_is_refused(text: str) -> None:
    for query in (text, quote(text, safe="=&")):
        found: Query | QueryError
        try:
            found = parse_query(query.encode())
        except QueryError as error:
            found = error
        if isinstance(found, QueryError):
            assert found.http_status in {400, 416}
            assert str(found).isascii()
        else:
            assert all(name in COLUMNS for name, _ in found.columns)
