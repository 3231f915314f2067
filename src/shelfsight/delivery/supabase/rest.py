"""The calls of `/rest/v1`: reads of `model_metadata`, one channel's rows of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shelfsight.access.rules import Right
from shelfsight.delivery.supabase import replies
from shelfsight.delivery.supabase.answers import document
from shelfsight.delivery.supabase.queries import TABLE, parse_query
from shelfsight.delivery.supabase.store import rows
from shelfsight.errors import QueryError

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from shelfsight.delivery.answers import Answer
    from shelfsight.delivery.supabase.queries import Query
    from shelfsight.delivery.supabase.replies import Window
    from shelfsight.delivery.supabase.request import WireRequest
    from shelfsight.delivery.supabase.visitors import Visitor, Visitors

REST_PREFIX = "/rest/v1/"
_READS = frozenset({"GET", "HEAD"})


class RestApi:
    """Answers what PostgREST's clients read."""

    def __init__(self, *, database: Database, visitors: Visitors) -> None:
        """Read from `database`, and ask `visitors` who is asking."""
        self._database = database
        self._visitors = visitors

    async def answer(self, request: WireRequest) -> Answer:
        """Return the answer to a request. The key of a till sees active rows; one that may read, all of its channel.

        Raises:
            QueryError: it cannot be answered.
            ShelfsightError: it is refused.
            ThrottledError: whoever sends it asks too often.
        """
        asked = request.asked
        _check_table(asked.path.decode("latin-1").removeprefix(REST_PREFIX))
        visitor = await self._visitors.visitor(request)
        if asked.method not in _READS:
            raise _no_writing(visitor)
        replies.check_profile(request.headers.get("accept-profile"))
        form = replies.parse_accept(request.headers.get("accept"))
        query = parse_query(asked.query)
        visitor.check_sees_channel()
        wanted = replies.window(query.offset, query.limit, request.headers.get("range"))
        wants_count = replies.wants_count(request.headers.get("prefer"))
        found, total = await asyncio.to_thread(self._read, visitor, query, wanted, wants_count)
        status = replies.status_of(wanted, len(found), total)
        shown = [replies.written(row, form) for row in found]
        content: Any = replies.the_one(shown) if form.one else shown
        headers = ((b"content-range", replies.content_range(wanted, len(found), total)),)
        return document(content, status=status, media_type=form.media_type, headers=headers)

    def _read(
        self, visitor: Visitor, query: Query, wanted: Window, wants_count: bool
    ) -> tuple[list[dict[str, Any]], int | None]:
        channel = visitor.channel.id
        active_only = not visitor.may(Right.READ, channel)
        with self._database.read() as tx:
            found = rows.read(tx, channel, query, active_only=active_only, offset=wanted.offset, limit=wanted.limit)
            return found, rows.count(tx, channel, query, active_only=active_only) if wants_count else None


def _check_table(path: str) -> None:
    """Check that it is the table that there is.

    Raises:
        QueryError: it is not.
    """
    name = path.rstrip("/")
    if name.startswith("rpc/"):
        raise _missing(f"function public.{_shown(name[4:])}", "PGRST202")
    if name != TABLE:
        raise _missing(f"table 'public.{_shown(name)}'", "PGRST205")


def _missing(what: str, reason: str) -> QueryError:
    return QueryError(f"Could not find the {what} in the schema cache", reason, status=404)


def _no_writing(visitor: Visitor) -> QueryError:
    hint = "Change versions with `shelfsight versions` and `shelfsight rollout`, or with the API under /api/v1."
    if visitor.may(Right.WRITE, visitor.channel.id):
        return QueryError(f"{TABLE} is read only here", "PGRST117", status=405, hint=hint)
    return QueryError(f"permission denied for table {TABLE}", "42501", status=403, hint=hint)


def _shown(text: str) -> str:
    return text[:60].encode("unicode_escape").decode()
