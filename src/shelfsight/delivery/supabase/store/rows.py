"""Reads of `model_metadata` in PostgREST's language; every value is a parameter of the statement."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, assert_never

from sqlalchemy import and_, false, func, literal, not_, or_, select, true

from shelfsight.database.tables import model_metadata
from shelfsight.delivery.supabase.queries import Condition, Group, Operator, Wildcard

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from shelfsight.delivery.supabase.queries import Order, Pattern, Query

_ACTIVE = "active"
_COMPARED = {
    Operator.EQ: operator.eq,
    Operator.NEQ: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}
_SPECIAL_IN_LIKE = re.compile(r"([\\%_])")
_SPECIAL_IN_GLOB = re.compile(r"([*?\[])")


def read(
    tx: Connection, channel: str, query: Query, *, active_only: bool, offset: int, limit: int
) -> list[dict[str, Any]]:
    """Return some of a channel's rows, in order, by the names that their columns shall have."""
    columns = [model_metadata.c[name].label(called) for name, called in query.columns]
    where = _where(tx, channel, query, active_only=active_only)
    order = [*map(_order, query.order), model_metadata.c.id]
    found = select(*columns).where(where).order_by(*order).offset(offset).limit(limit)
    return [dict(row) for row in tx.execute(found).mappings()]


def count(tx: Connection, channel: str, query: Query, *, active_only: bool) -> int:
    """Return how many rows there are, whatever the query's offset and limit."""
    where = _where(tx, channel, query, active_only=active_only)
    return tx.scalar(select(func.count()).select_from(model_metadata).where(where)) or 0


def _where(tx: Connection, channel: str, query: Query, *, active_only: bool) -> ColumnElement[bool]:
    visible = [model_metadata.c.channel_id == channel]
    if active_only:
        visible.append(model_metadata.c.status == _ACTIVE)
    return and_(*visible, _clause(query.where, sqlite=tx.dialect.name == "sqlite"))


def _clause(one: Condition | Group, *, sqlite: bool) -> ColumnElement[bool]:
    if isinstance(one, Group):
        members = [_clause(member, sqlite=sqlite) for member in one.members]
        clause = or_(false(), *members) if one.any else and_(true(), *members)
    else:
        clause = _compared(one, sqlite=sqlite)
    return not_(clause) if one.negated else clause


def _compared(one: Condition, *, sqlite: bool) -> ColumnElement[bool]:
    column: ColumnElement[Any] = model_metadata.c[one.column]
    match one.operator:
        case Operator.LIKE if sqlite:  # whose LIKE takes no notice of upper case
            return column.op("GLOB", is_comparison=True)(_glob(one.pattern))
        case Operator.LIKE:
            return column.like(_like(one.pattern), escape="\\")
        case Operator.ILIKE:
            like = column.like if sqlite else column.ilike
            return like(_like(one.pattern), escape="\\")
        case Operator.IN:
            return column.in_(one.values)
        case Operator.IS:
            wanted = one.values[0]
            return column.is_(None) if wanted is None else column.is_(true() if wanted else false())
        case Operator.EQ | Operator.NEQ | Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            clause: ColumnElement[bool] = _COMPARED[one.operator](column, literal(one.values[0], column.type))
            return clause
    assert_never(one.operator)


def _like(pattern: Pattern) -> str:
    return "".join(
        part.value if isinstance(part, Wildcard) else _SPECIAL_IN_LIKE.sub(r"\\\1", part) for part in pattern
    )


def _glob(pattern: Pattern) -> str:
    signs = {Wildcard.ANY: "*", Wildcard.ONE: "?"}
    return "".join(
        signs[part] if isinstance(part, Wildcard) else _SPECIAL_IN_GLOB.sub(r"[\1]", part) for part in pattern
    )


def _order(one: Order) -> ColumnElement[Any]:
    column: ColumnElement[Any] = model_metadata.c[one.column]
    sorted_by = column.desc() if one.descending else column.asc()
    return sorted_by.nulls_first() if one.nulls_first else sorted_by.nulls_last()
