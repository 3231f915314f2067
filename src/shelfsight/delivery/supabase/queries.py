"""PostgREST's language of queries, as far as the clients' read builders go, for one table. Pure: values in and out.

`select=version,file_path&status=in.(active,testing)&or=(accuracy.gt.0.9,is_stable.is.true)&order=created_at.desc`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import parse_qsl

from shelfsight.delivery.supabase.columns import COLUMNS, Kind
from shelfsight.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "model_metadata"
MOST_ROWS = 1000
MOST_VALUES = 1000
"""Of one `in.(…)`."""
LONGEST_QUERY_BYTES = 16 * 1024
_MOST_CONDITIONS, _DEEPEST = 100, 10
_MOST_WILDCARDS = 10
_PARSING = "PGRST100"


class Operator(StrEnum):
    """How a column is compared."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    LIKE = "like"
    ILIKE = "ilike"
    IN = "in"
    IS = "is"


Value: TypeAlias = str | int | float | bool | datetime | None


class Wildcard(StrEnum):
    """What stands for others in a pattern: any number of letters, or one."""

    ANY = "%"
    ONE = "_"


Pattern: TypeAlias = tuple["str | Wildcard", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A column compared; `pattern` is for LIKE and ILIKE, `values` for the others: one, or for IN any number."""

    column: str
    operator: Operator
    values: tuple[Value, ...] = ()
    pattern: Pattern = ()
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Conditions of which all must hold, or any."""

    any: bool
    members: tuple[Condition | Group, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A column to sort by."""

    column: str
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is read: `columns` are names and what they are called in the answer."""

    columns: tuple[tuple[str, str], ...]
    where: Group
    order: tuple[Order, ...]
    offset: int
    limit: int | None


def parse_query(query: bytes) -> Query:
    """Return what the part of an address behind `?` asks for.

    Raises:
        QueryError: it asks for something that there is not, or that this server does not do.
    """
    if len(query) > LONGEST_QUERY_BYTES:
        raise QueryError(f"the query is longer than {LONGEST_QUERY_BYTES} bytes: ask for less at once", _PARSING)
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise QueryError("the query is not percent-encoded UTF-8", _PARSING) from None
    if any("\x00" in name + value for name, value in pairs):
        raise QueryError("a query cannot hold the character NUL", "22P05")
    once = {name: value for name, value in pairs if name in {"select", "order", "limit", "offset"}}
    conditions = [_member_of_query(name, value) for name, value in pairs if name not in _NOT_CONDITIONS]
    where = Group(any=False, members=tuple(conditions))
    _check_size(where)
    return Query(
        columns=_columns(once.get("select", "*")),
        where=where,
        order=_orders(once.get("order", "")),
        offset=_count("offset", once.get("offset", "0")),
        limit=_count("limit", once["limit"]) if "limit" in once else None,
    )


_NOT_CONDITIONS = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict"})
_ALIASED = re.compile(r"(?:([A-Za-z_][A-Za-z0-9_]{0,62}):)?([^:]+)", re.ASCII)


def _columns(select: str) -> tuple[tuple[str, str], ...]:
    chosen: list[tuple[str, str]] = []
    for part in _split(select or "*"):
        if part == "*":
            chosen += [(name, name) for name in COLUMNS]
            continue
        found = _ALIASED.fullmatch(part)
        if found is None or any(sign in part for sign in ("(", "::", "->")):
            raise QueryError(
                f'"{_shown(part)}" cannot be selected here: name columns, or alias:column', _PARSING,
                details="Embedded tables, casts, aggregates and paths into JSON are not supported.",
            )  # fmt: skip
        name = _column(_unquoted(found[2]))
        chosen.append((name, found[1] or name))
    if len(chosen) > 4 * len(COLUMNS):
        raise QueryError("the same columns are selected again and again", _PARSING)
    return tuple({called: (name, called) for name, called in chosen}.values())


def _column(name: str) -> str:
    if name not in COLUMNS:
        shown = _shown(name)
        raise QueryError(f"column {TABLE}.{shown} does not exist", "42703")
    return name


_ORDERED = re.compile(r"(?P<column>.+?)(?:\.(?P<way>asc|desc))?(?:\.nulls(?P<nulls>first|last))?", re.ASCII)


def _orders(text: str) -> tuple[Order, ...]:
    """Return the columns to sort by, each once; so there are never more than the table has."""
    orders = tuple(_order(term) for term in _split(text) if term)
    if len({order.column for order in orders}) < len(orders):
        raise QueryError("order names a column twice: sort by each once", _PARSING)
    return orders


def _order(term: str) -> Order:
    found = _ORDERED.fullmatch(term)
    if found is None:
        raise _unreadable("order", term)
    descending = found["way"] == "desc"
    nulls_first = descending if found["nulls"] is None else found["nulls"] == "first"
    return Order(column=_column(_unquoted(found["column"])), descending=descending, nulls_first=nulls_first)


def _count(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise QueryError(f"{name} is no count of rows", "PGRST103", status=416)
    return int(text)


_GROUPS = {"and": False, "or": True}


def _member_of_query(name: str, value: str) -> Condition | Group:
    negated, name = _without_not(name)
    if name in _GROUPS:
        return _group(name, value, negated=negated, depth=1)
    return _condition(_unquoted(name), value)


def _group(name: str, text: str, *, negated: bool, depth: int) -> Group:
    if depth > _DEEPEST or not (text.startswith("(") and text.endswith(")")):
        raise _unreadable("logic tree", text)
    members = tuple(_member(part, depth) for part in _split(text[1:-1]))
    return Group(any=_GROUPS[name], members=members, negated=negated)


def _member(text: str, depth: int) -> Condition | Group:
    negated, rest = _without_not(text)
    for name in _GROUPS:
        if rest.startswith(f"{name}("):
            return _group(name, rest[len(name) :], negated=negated, depth=depth + 1)
    quoted = re.match(r'"(?:[^"\\]|\\.)*"', text, re.DOTALL)
    end = quoted.end() if quoted else text.find(".")
    if end < 0 or text[end : end + 1] != ".":
        raise _unreadable("logic tree", text)
    return _condition(_unquoted(text[:end]), text[end + 1 :], quoted=True)


def _without_not(text: str) -> tuple[bool, str]:
    return (True, text[4:]) if text.startswith("not.") else (False, text)


def _condition(name: str, text: str, *, quoted: bool = False) -> Condition:
    """Return what `eq.active` says of a column; in a logic tree, values may be in quotes."""
    column = _column(name)
    negated, rest = _without_not(text)
    word, dot, value = rest.partition(".")
    try:
        operator = Operator(word)
    except ValueError:
        dot = ""
    if not dot:
        raise QueryError(
            f'"{_shown(rest)}" is no filter that is known here', _PARSING,
            details=f"Known are: {', '.join(Operator)}, each also behind not.",
        )  # fmt: skip
    kind = COLUMNS[column]
    if quoted and operator is not Operator.IN:
        value = _unquoted(value)
    if operator in {Operator.LIKE, Operator.ILIKE}:
        pattern = _pattern(column, kind, value)
        return Condition(column=column, operator=operator, pattern=pattern, negated=negated)
    return Condition(column=column, operator=operator, values=_values(kind, operator, value), negated=negated)


def _values(kind: Kind, operator: Operator, text: str) -> tuple[Value, ...]:
    if operator is Operator.IS:
        return (_is_value(kind, text),)
    if kind is Kind.JSON:
        raise QueryError("columns of JSON can be compared with is.null only", _PARSING)
    if operator is not Operator.IN:
        return (_value(kind, text),)
    if not (text.startswith("(") and text.endswith(")")):
        raise _unreadable("list", text)
    parts = _split(text[1:-1]) if text != "()" else []
    if len(parts) > MOST_VALUES:
        raise QueryError(f"in.(…) takes {MOST_VALUES} values at most: ask several times", _PARSING)
    return tuple(_value(kind, _unquoted(part)) for part in parts)


_IS: dict[str, Literal[True, False] | None] = {"null": None, "unknown": None, "true": True, "false": False}


def _is_value(kind: Kind, text: str) -> bool | None:
    word = text.lower()
    if word not in _IS:
        raise _unreadable("is", text)
    if _IS[word] is not None and kind is not Kind.FLAG:
        raise QueryError(f"argument of IS {word.upper()} must be type boolean, not type {kind}", "42804")
    return _IS[word]


_FLAGS = {
    **dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "false", "n", "no", "off", "0"), False),
}
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_LARGEST = 2**63


def _value(kind: Kind, text: str) -> Value:
    """Return a value of a column's kind."""
    if kind is Kind.TEXT:
        return text
    value: Value = None
    plain = text.strip()
    try:
        if kind is Kind.FLAG:
            value = _FLAGS.get(plain.lower())
        elif kind is Kind.INTEGER and _WHOLE.fullmatch(plain) and -_LARGEST <= int(plain) < _LARGEST:
            value = int(plain)
        elif kind is Kind.NUMBER and len(plain) < 100 and "_" not in plain:
            value = float(plain)
        elif kind is Kind.TIME:
            value = _time(plain)
    except (ValueError, OverflowError):
        pass
    if value is None:
        code = "22007" if kind is Kind.TIME else "22P02"
        raise QueryError(f'invalid input syntax for type {kind}: "{_shown(text)}"', code)
    return value


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text))  # a plus sign that nobody encoded
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _pattern(column: str, kind: Kind, text: str) -> Pattern:
    if kind is not Kind.TEXT:
        raise QueryError(f"operator does not exist: {kind} ~~ unknown", "42883", details=f"{column} is no text.")
    parts: list[str | Wildcard] = []
    for found in re.finditer(r"\\(.)|([%*])|(_)|([^\\%*_]+)|\\$", text, re.DOTALL):
        if found[2]:
            parts.append(Wildcard.ANY)
        elif found[3]:
            parts.append(Wildcard.ONE)
        else:
            parts.append(found[1] or found[4] or "\\")
    if sum(isinstance(part, Wildcard) for part in parts) > _MOST_WILDCARDS:
        raise QueryError(f"a pattern takes {_MOST_WILDCARDS} wildcards at most", _PARSING)
    return tuple(parts)


def _split(text: str) -> list[str]:
    """Return what commas separate, outside of quotes and brackets."""
    return list(_parts(text))


def _parts(text: str) -> Iterator[str]:
    start, depth, quoted, escaped = 0, 0, False, False
    for position, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\" and quoted:
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


def _check_size(where: Group) -> None:
    waiting: list[Condition | Group] = [where]
    for count in range(_MOST_CONDITIONS + 1):
        if not waiting:
            return
        if count == _MOST_CONDITIONS:
            break
        one = waiting.pop()
        if isinstance(one, Group):
            waiting += one.members
    raise QueryError(f"a query takes {_MOST_CONDITIONS} filters at most", _PARSING)


def _unreadable(what: str, text: str) -> QueryError:
    return QueryError(f'"failed to parse {what} ({_shown(text)})"', _PARSING)


def _shown(text: str) -> str:
    return text[:60].encode("unicode_escape").decode()
