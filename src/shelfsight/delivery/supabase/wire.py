"""The Supabase wire as an ASGI application: storage and rest, their errors, their limits, and who was refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect

from shelfsight.access.rules import NOBODY
from shelfsight.delivery.send import send_answer
from shelfsight.delivery.supabase.answers import preflight, rest_error, storage_error
from shelfsight.delivery.supabase.buckets import Buckets
from shelfsight.delivery.supabase.request import wire_request
from shelfsight.delivery.supabase.rest import RestApi
from shelfsight.delivery.supabase.signing import Signing
from shelfsight.delivery.supabase.storage import StorageApi
from shelfsight.delivery.supabase.uploads import Uploads
from shelfsight.delivery.supabase.visitors import ThrottledError, Visitors
from shelfsight.errors import ShelfsightError, StorageError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shelfsight.access.limits import RequestLimits
    from shelfsight.database.engine import Database
    from shelfsight.delivery.answers import Answer, StreamedAnswer
    from shelfsight.delivery.downloads import Downloads
    from shelfsight.delivery.files import Refusals
    from shelfsight.delivery.published import Published
    from shelfsight.delivery.supabase.request import WireRequest
    from shelfsight.storage import Storage

_LONGEST_NOTED = 200
_log = structlog.get_logger()


class SupabaseWire:
    """ASGI application that serves `/storage/v1/` and `/rest/v1/` as Supabase's public clients ask them."""

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        published: Published,
        refusals: Refusals,
        downloads: Downloads,
        rate: RequestLimits,
    ) -> None:
        """Serve what is `published`, and objects; what it sends goes to `downloads`, refusals to `refusals`."""
        self._refusals = refusals
        self._downloads = downloads
        self._rate = rate
        visitors = Visitors(published.lookups, rate)
        buckets = Buckets(database=database, storage=storage, published=published)
        self._rest = RestApi(database=database, visitors=visitors)
        self._storage = StorageApi(
            database=database,
            published=published,
            buckets=buckets,
            uploads=Uploads(database=database, storage=storage, buckets=buckets),
            signing=Signing(database=database, lookups=published.lookups),
            visitors=visitors,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = wire_request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as exc:  # noqa: BLE001 (whatever it is, the client gets its shape and the log the rest)
            answer = await self._refuse(exc, request)
        body = request.asked.method != "HEAD"
        await send_answer(answer, receive, send, body=body, count=self._downloads.count)

    async def _answer(self, request: WireRequest) -> Answer | StreamedAnswer:
        if request.asked.method == "OPTIONS":
            return preflight()
        wait_s = self._rate.wait_s(request.asked.address)
        if wait_s is not None:
            raise ThrottledError(NOBODY.actor, wait_s)
        return await (self._rest if _is_rest(request) else self._storage).answer(request)

    async def _refuse(self, error: Exception, request: WireRequest) -> Answer:
        shaped = rest_error if _is_rest(request) else storage_error
        if isinstance(error, ThrottledError):
            refused = error.refused
            await self._note(refused.error, request, refused.actor)
            return shaped(refused.error, str(refused.error), wait_s=refused.wait_s)
        if isinstance(error, ShelfsightError) and error.http_status < 500:
            await self._note(error, request, request.actor)
            return shaped(error, str(error))
        failure = uuid4().urn
        path = _path(request)
        _log.error("wire_failed", id=failure, path=path, error=type(error).__name__, exc_info=error)
        detail = f"something went wrong inside: the log has it as {failure}"
        if isinstance(error, ShelfsightError):
            which = "the storage" if isinstance(error, StorageError) else "the database"
            detail = f"{which} does not answer, or refuses: try again; the log has it as {failure}"
        return shaped(error, detail)

    async def _note(self, error: ShelfsightError, request: WireRequest, actor: str) -> None:
        asked = request.asked
        try:
            await asyncio.to_thread(
                self._refusals.note, actor, asked.address, asked.method, _path(request), error.http_status, error.code
            )
        except Exception as exc:  # noqa: BLE001 (who is refused is refused, noted or not)
            _log.error("refusal_not_noted", error=type(exc).__name__, exc_info=exc)


def _is_rest(request: WireRequest) -> bool:
    return request.asked.path.startswith(b"/rest/")


def _path(request: WireRequest) -> str:
    return request.asked.path[:_LONGEST_NOTED].decode("latin-1")
