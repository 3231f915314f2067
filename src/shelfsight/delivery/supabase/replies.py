"""How rows are answered: as a list or one alone, how many of how many, and how values are written. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shelfsight.delivery.supabase.queries import MOST_ROWS
from shelfsight.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ONE = "application/vnd.pgrst.object+json"
_LISTS = frozenset({"*/*", "application/*", "application/json", "application/vnd.pgrst.array+json"})
_SCHEMA = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a client wants to get: one row alone, or a list; without the fields that hold nothing, or with."""

    one: bool
    strip_nulls: bool

    @property
    def media_type(self) -> bytes:
        """The Content-Type of the answer."""
        return f"{_ONE if self.one else 'application/json'}; charset=utf-8".encode()


def parse_accept(accept: str | None) -> Form:
    """Return the first form in an Accept header that there is.

    Raises:
        QueryError: there is none.
    """
    for part in (accept or "*/*")[:1000].split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type in _LISTS or media_type == _ONE:
            return Form(one=media_type == _ONE, strip_nulls="nulls=stripped" in parameters)
    shown = (accept or "")[:100].encode("unicode_escape").decode()
    raise QueryError(f"None of these media types are available: {shown}", "PGRST107", status=406)


def check_profile(profile: str | None) -> None:
    """Check the schema that a client wants to read.

    Raises:
        QueryError: there is none but `public`.
    """
    if profile is not None and profile != _SCHEMA:
        raise QueryError(f"The schema must be one of the following: {_SCHEMA}", "PGRST106", status=406)


def wants_count(prefer: str | None) -> bool:
    """Return whether a client wants to know how many rows there are; estimated or planned, they are counted, too."""
    return re.search(r"(?:^|[,\s])count=(?:exact|planned|estimated)(?:$|[,\s])", prefer or "") is not None


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows: so many behind the first `offset`."""

    offset: int
    limit: int


_RANGE = re.compile(r"(?:items=)?([0-9]{1,9})-([0-9]{0,9})", re.ASCII)


def window(offset: int, limit: int | None, header: str | None) -> Window:
    """Return which rows a query asks for, with the part of those that a Range header asks for.

    Raises:
        QueryError: the header's range ends before it begins.
    """
    limit = MOST_ROWS if limit is None else min(limit, MOST_ROWS)
    found = _RANGE.fullmatch((header or "").strip())
    if found is None:
        return Window(offset, limit)
    first = int(found[1])
    if not found[2]:
        return Window(offset + first, max(0, limit - first))
    if int(found[2]) < first:
        raise _unsatisfiable(
            "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        )
    return Window(offset + first, max(0, min(limit - first, int(found[2]) - first + 1)))


def status_of(wanted: Window, found: int, total: int | None) -> int:
    """Return the status of an answer with `found` rows of `total`, which is None where nobody asked.

    Raises:
        QueryError: so many rows are left out that there are none.
    """
    if total is None or found == total:
        return 200
    if wanted.offset > total:
        raise _unsatisfiable(f"An offset of {wanted.offset} was requested, but there are only {total} rows.")
    return 206 if found else 200


def content_range(wanted: Window, found: int, total: int | None) -> bytes:
    """Return which rows of how many an answer has."""
    rows = f"{wanted.offset}-{wanted.offset + found - 1}" if found else "*"
    return f"{rows}/{'*' if total is None else total}".encode()


def the_one(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the only row.

    Raises:
        QueryError: there is none, or there are several.
    """
    if len(rows) != 1:
        raise QueryError(
            "Cannot coerce the result to a single JSON object",
            "PGRST116",
            status=406,
            details=f"The result contains {len(rows)} rows",
        )
    return rows[0]


def written(row: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Return a row as PostgREST writes it."""
    return {name: _written(value) for name, value in row.items() if value is not None or not form.strip_nulls}


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        fraction = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
        return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _unsatisfiable(details: str) -> QueryError:
    return QueryError("Requested range not satisfiable", "PGRST103", status=416, details=details)
