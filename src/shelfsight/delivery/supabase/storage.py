"""The calls of `/storage/v1`: who may make them, and what they answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shelfsight.delivery.grants import check_channel
from shelfsight.delivery.rules import query_value
from shelfsight.delivery.supabase import documents
from shelfsight.delivery.supabase.answers import document
from shelfsight.delivery.supabase.documents import MOST_SKIPPED, parse_body
from shelfsight.delivery.supabase.listing import Place, Sort, cursor_of, folder_of, offset_of
from shelfsight.delivery.supabase.reading import admit, admit_signed, answer
from shelfsight.delivery.supabase.rules import (
    BUCKETS,
    DUPLICATE,
    MODELS,
    NO_BUCKET,
    NO_OBJECT,
    PRIVATE,
    Call,
    check_bucket,
    check_key,
    is_prefix,
    parse_call,
)
from shelfsight.delivery.supabase.store import objects
from shelfsight.delivery.supabase.uploads import Writer
from shelfsight.errors import AccessError, ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from shelfsight.access.url_tokens import SignedGrant
    from shelfsight.database.engine import Database
    from shelfsight.delivery.answers import Answer, StreamedAnswer
    from shelfsight.delivery.published import Published
    from shelfsight.delivery.store import ServedChannel
    from shelfsight.delivery.supabase.buckets import Buckets
    from shelfsight.delivery.supabase.documents import SortBy
    from shelfsight.delivery.supabase.found import FoundObject
    from shelfsight.delivery.supabase.listing import Entry
    from shelfsight.delivery.supabase.request import WireRequest
    from shelfsight.delivery.supabase.rules import StorageCall
    from shelfsight.delivery.supabase.signing import Signing
    from shelfsight.delivery.supabase.uploads import Uploads
    from shelfsight.delivery.supabase.visitors import Visitor, Visitors

    Handler = Callable[[WireRequest, StorageCall, Visitor], Coroutine[Any, Any, Answer | StreamedAnswer]]


class StorageApi:
    """Answers the calls of Supabase's storage."""

    def __init__(
        self,
        *,
        database: Database,
        published: Published,
        buckets: Buckets,
        uploads: Uploads,
        signing: Signing,
        visitors: Visitors,
    ) -> None:
        """Read with `published` and `buckets`, write with `uploads`, and ask `visitors` who is asking."""
        self._database = database
        self._published = published
        self._buckets = buckets
        self._uploads = uploads
        self._signing = signing
        self._visitors = visitors
        self._handlers: dict[Call, Handler] = {
            Call.LIST_BUCKETS: self._list_buckets,
            Call.BUCKET: self._bucket,
            Call.MAKE_BUCKET: self._make_bucket,
            Call.DOWNLOAD: self._download,
            Call.PUBLIC: self._public,
            Call.INFO: self._info,
            Call.SIGN: self._sign,
            Call.SIGN_MANY: self._sign_many,
            Call.SIGN_UPLOAD: self._sign_upload,
            Call.UPLOAD: self._upload,
            Call.LIST: self._list,
            Call.LIST_V2: self._list_v2,
            Call.REMOVE: self._remove,
            Call.COPY: self._copy,
            Call.MOVE: self._copy,
            Call.UNSUPPORTED: self._unsupported,
        }

    async def answer(self, request: WireRequest) -> Answer | StreamedAnswer:
        """Return the answer to a request.

        Raises:
            ShelfsightError: it is refused.
            ThrottledError: whoever sends it asks too often.
            ClientDisconnect: the sender has gone.
        """
        asked = request.asked
        call = parse_call(asked.method, asked.path)
        if call.call is Call.SIGNED:
            return await self._signed(request, call)
        if call.call is Call.UPLOAD_SIGNED:
            return await self._upload_signed(request, call)
        visitor = await self._visitors.visitor(request)
        return await self._handlers[call.call](request, call, visitor)

    async def _find(self, call: StorageCall, visitor: Visitor) -> FoundObject:
        """Return the object that a call is about; whether a private channel has it, no stranger is told."""
        check_bucket(call.bucket)
        found: FoundObject | None
        try:
            found = await self._buckets.find(visitor.channel, call.bucket, call.path)
        except NotFoundError:
            found = None
        if found is not None and (not found.policy.private or visitor.sees(found.seen_by)):
            return found
        named = call.path.partition("/")[0] if call.bucket == MODELS else visitor.channel.id
        owner = await self._published.lookups.channel(named)
        is_hidden_blob = found is not None and call.bucket == MODELS
        if is_hidden_blob or (owner is not None and not visitor.sees([owner])):
            raise AccessError(PRIVATE)
        raise NotFoundError(NO_OBJECT)

    async def _download(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer | StreamedAnswer:
        found = await self._find(call, visitor)
        return await answer(self._published, found, admit(found, visitor), request.asked)

    async def _public(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer | StreamedAnswer:
        try:
            found = await self._find(call, visitor)
        except AccessError:  # as for what is there: no stranger is told which it is
            raise NotFoundError(NO_BUCKET) from None
        if found.policy.private:
            raise NotFoundError(NO_BUCKET)
        return await answer(self._published, found, admit(found, visitor), request.asked)

    async def _signed(self, request: WireRequest, call: StorageCall) -> Answer | StreamedAnswer:
        signed, channel = await self._signed_for(request)
        found = await self._buckets.find(channel, check_bucket(call.bucket), call.path)
        admitted = await admit_signed(found, signed, self._published.lookups)
        return await answer(self._published, found, admitted, request.asked)

    async def _signed_for(self, request: WireRequest) -> tuple[SignedGrant, ServedChannel]:
        """Return what the signed URL of a request grants, and of which channel."""
        signed = await self._visitors.signed(_token(request), request)
        channel = await self._published.lookups.channel(signed.grant.channel)
        if channel is None:
            raise NotFoundError(NO_BUCKET)
        check_channel(signed.grant, [channel])
        return signed, channel

    async def _info(self, _request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        found = await self._find(call, visitor)
        admit(found, visitor)
        return document(documents.info_document(found), headers=((b"etag", found.etag.encode()),))

    async def _sign(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.SignBody, await request.json())
        found = await self._find(call, visitor)
        admit(found, visitor)
        (url,) = await self._signing.urls([found], body, visitor, request.asked.address)
        return document({"signedURL": url})

    async def _sign_many(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.SignManyBody, await request.json())
        check_bucket(call.bucket)
        self._visitors.count_work(request.asked, len(body.paths))
        found: dict[str, FoundObject] = {}
        for path in dict.fromkeys(body.paths):
            try:
                one = await self._buckets.find(visitor.channel, call.bucket, check_key(path.lstrip("/")))
                admit(one, visitor)
            except (NotFoundError, AccessError, UsageError):
                continue
            found[path] = one
        signed = await self._signing.urls(list(found.values()), body, visitor, request.asked.address)
        urls = dict(zip(found, signed, strict=True))
        return document([documents.signed_document(path, urls.get(path)) for path in body.paths])

    async def _sign_upload(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        visitor.check_writes()
        replace = _replaces(request)
        await self._uploads.check_free(visitor.channel.id, call.bucket, call.path, replace=replace)
        url, token = await self._signing.upload(call, visitor, replace=replace)
        return document({"url": url, "token": token})

    async def _upload(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        visitor.check_writes()
        replace = request.asked.method == "PUT" or _replaces(request)
        row = await self._uploads.keep(request, _writer(request, visitor), call.bucket, call.path, replace=replace)
        return document({"Id": row.id, "Key": f"{row.bucket}/{row.path}"})

    async def _upload_signed(self, request: WireRequest, call: StorageCall) -> Answer:
        signed, channel = await self._signed_for(request)
        grant = self._signing.check_upload(signed.grant, call)
        by = Writer(actor=signed.actor, channel=channel.id, made_at=channel.created_at, address=request.asked.address)
        row = await self._uploads.keep(request, by, call.bucket, call.path, replace=grant.upsert)
        return document({"Id": row.id, "Key": f"{row.bucket}/{row.path}"})

    async def _list(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.ListBody, await request.json())
        folder = folder_of(body.prefix)
        place = Place(
            channel=visitor.channel.id, bucket=call.bucket, prefix=folder, folder=folder, search=body.search or ""
        )
        entries = await self._page(visitor, place, _sort(body.sort_by), body.offset or 0, body.most)
        return document([_listed(entry) for entry in entries])

    async def _list_v2(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.ListV2Body, await request.json())
        prefix, deep = body.prefix or "", not body.with_delimiter
        folder = "" if deep else prefix[: prefix.rfind("/") + 1]
        place = Place(channel=visitor.channel.id, bucket=call.bucket, prefix=prefix, folder=folder, deep=deep)
        offset = offset_of(body.cursor, MOST_SKIPPED)
        entries = await self._page(visitor, place, _sort(body.sort_by), offset, body.most + 1)
        more, shown = len(entries) > body.most, entries[: body.most]
        found = {
            "hasNext": more,
            "folders": [_folder_v2(folder + one.name) for one in shown if one.found is None],
            "objects": [_object_v2(one.found) for one in shown if one.found is not None],
        }
        return document({**found, **({"nextCursor": cursor_of(offset + body.most)} if more else {})})

    async def _page(
        self, visitor: Visitor, place: Place, sort: Sort, offset: int, limit: int
    ) -> list[Entry[FoundObject]]:
        check_bucket(place.bucket)
        visitor.check_sees_channel()
        if not (is_prefix(place.prefix) and is_prefix(place.search)):
            return []
        return await self._buckets.page(visitor.channel, place, sort, offset=offset, limit=limit)

    async def _remove(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.RemoveBody, await request.json())
        visitor.check_writes()
        rows = await self._uploads.remove(_writer(request, visitor), call.bucket, body.prefixes)
        removed = [self._buckets.uploaded(visitor.channel, row) for row in rows]
        return document([documents.removed_document(one) for one in removed])

    async def _copy(self, request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        body = parse_body(documents.MoveBody, await request.json())
        visitor.check_writes()
        if body.destination_bucket not in {None, body.bucket_id}:
            raise AccessError("objects stay in their bucket: there is no other that is written to")
        moves = call.call is Call.MOVE
        row = await self._uploads.copy(
            _writer(request, visitor), body.bucket_id, body.source_key, to=body.destination_key, move=moves
        )
        key = f"{row.bucket}/{row.path}"
        return document({"message": "Successfully moved"} if moves else {"Id": row.id, "Key": key})

    async def _list_buckets(self, _request: WireRequest, _call: StorageCall, visitor: Visitor) -> Answer:
        return document([await self._bucket_document(bucket, visitor) for bucket in BUCKETS])

    async def _bucket(self, _request: WireRequest, call: StorageCall, visitor: Visitor) -> Answer:
        return document(await self._bucket_document(check_bucket(call.bucket), visitor))

    async def _bucket_document(self, bucket: str, visitor: Visitor) -> dict[str, Any]:
        visitor.check_sees_channel()

        def created_at() -> Any:
            with self._database.read() as tx:
                return objects.channel_created_at(tx, visitor.channel.id)

        at = await asyncio.to_thread(created_at)
        if at is None:
            raise NotFoundError(NO_BUCKET)
        return documents.bucket_document(bucket, public=not visitor.channel.private, created_at=at)

    async def _make_bucket(self, request: WireRequest, _call: StorageCall, _visitor: Visitor) -> Answer:
        body = parse_body(documents.BucketBody, await request.json())
        if (body.id or body.name) in BUCKETS:
            raise ConflictError(DUPLICATE)
        raise AccessError(f"there are the buckets {' and '.join(BUCKETS)}, and no others can be made")

    async def _unsupported(self, request: WireRequest, _call: StorageCall, _visitor: Visitor) -> Answer:
        raise UsageError(f"{request.asked.method} of this path is not supported by this server's storage")


def _writer(request: WireRequest, visitor: Visitor) -> Writer:
    channel = visitor.channel
    return Writer(actor=visitor.actor, channel=channel.id, made_at=channel.created_at, address=request.asked.address)


def _replaces(request: WireRequest) -> bool:
    return request.headers.get("x-upsert", "").strip().lower() == "true"


def _token(request: WireRequest) -> str:
    return (query_value(request.asked.query, b"token") or b"").decode("latin-1")


def _sort(wanted: SortBy | None) -> Sort:
    if wanted is None:
        return Sort()
    column = "updated_at" if wanted.column == "last_accessed_at" else wanted.column
    return Sort(column=column or "name", descending=wanted.order == "desc")


def _listed(entry: Entry[FoundObject]) -> dict[str, Any]:
    if entry.found is None:
        return documents.folder_document(entry.name)
    return documents.object_document(entry.found, name=entry.name)


def _folder_v2(path: str) -> dict[str, Any]:
    return {"name": f"{path}/", "key": path}


def _object_v2(found: FoundObject) -> dict[str, Any]:
    return {**documents.object_document(found, name=found.path), "key": found.path}
