"""Long lists, page by page: a cursor says where the next page begins, and means nothing to whoever carries it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Query

from shelfsight.api.documents import Page, is_storable
from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

T = TypeVar("T")
Position = TypeVar("Position", int, str)

DEFAULT_LIMIT = 100
_LONGEST_CURSOR = 1000
_MAX_NUMBER = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most")]
"""A query parameter; its default is `DEFAULT_LIMIT`."""
Cursor = Annotated[
    str | None, Query(max_length=_LONGEST_CURSOR, description="`nextCursor` of the page before; none for the first")
]
"""A query parameter; its default is None."""


def encode_cursor(position: int | str) -> str:
    """Return a cursor: the position of the last item seen, as base64url of JSON."""
    plain = json.dumps(position, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def decode_cursor(cursor: str | None, kind: type[Position]) -> Position | None:
    """Return the position in a cursor, None without one.

    Args:
        kind: `int` or `str`, as it was encoded.

    Raises:
        UsageError: it is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        raise UsageError(_wrong(cursor)) from None
    is_wrong_number = isinstance(position, int) and not 0 <= position <= _MAX_NUMBER
    is_wrong_text = isinstance(position, str) and not is_storable(position)
    if type(position) is not kind or is_wrong_number or is_wrong_text:
        raise UsageError(_wrong(cursor))
    return position


def page_of(
    request: Request, response: Response, items: Sequence[T], next_position: int | str | None = None
) -> Page[T]:
    """Return a page, with a link to the next in the headers of `response`.

    Args:
        next_position: of the last of `items`, when there are more; None on the last page.
    """
    if next_position is None:
        return Page(items=list(items))
    cursor = encode_cursor(next_position)
    response.headers["link"] = f'<{_path_of(request, cursor)}>; rel="next"'
    return Page(items=list(items), next_cursor=cursor)


def _path_of(request: Request, cursor: str) -> str:
    """Return path and query of the next page; relative, so that it is right behind any proxy."""
    url = request.url.include_query_params(cursor=cursor)
    return f"{url.path}?{url.query}"


def _wrong(cursor: str) -> str:
    return f"{cursor[:40]!r} is no cursor of this list: use nextCursor of the page before, or none for the first page"
