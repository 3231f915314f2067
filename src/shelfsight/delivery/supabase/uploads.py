"""The writing side of the buckets: objects kept, removed, copied and moved. Bytes first, then the row."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from shelfsight.access import audit
from shelfsight.delivery.supabase.receive import received
from shelfsight.delivery.supabase.rules import DUPLICATE, PHONES, check_bucket, check_key, is_key
from shelfsight.delivery.supabase.store import objects
from shelfsight.delivery.supabase.store.objects import ObjectRow
from shelfsight.errors import AccessError, ConflictError
from shelfsight.registry import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database
    from shelfsight.delivery.supabase.buckets import Buckets
    from shelfsight.delivery.supabase.receive import Received
    from shelfsight.delivery.supabase.request import WireRequest
    from shelfsight.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes into which channel, as audits show it; `made_at` is when that channel was made."""

    actor: str
    channel: str
    made_at: datetime
    address: str | None


class Uploads:
    """Writes objects of channels. Who may is for others to say."""

    def __init__(self, *, database: Database, storage: Storage, buckets: Buckets) -> None:
        """Write rows to `database` and bytes to `storage`; `buckets` knows which names are taken."""
        self._database = database
        self._storage = storage
        self._buckets = buckets

    async def check_free(self, channel: str, bucket: str, path: str, *, replace: bool) -> None:
        """Check that an object may be written; what is published stays as it is, whatever `replace` says.

        Raises:
            NotFoundError: there is no such bucket.
            AccessError: nothing can be written to this one.
            UsageError: the path can be no object's.
            ConflictError: the name is taken.
        """
        _check_writable(bucket)
        check_key(path)
        if await self._buckets.is_published(channel, path):
            raise ConflictError(DUPLICATE)
        if not replace and await asyncio.to_thread(self._is_there, channel, bucket, path):
            raise ConflictError(DUPLICATE)

    async def keep(self, request: WireRequest, by: Writer, bucket: str, path: str, *, replace: bool) -> ObjectRow:
        """Take the object that a request sends, and return it once it is kept.

        Raises:
            NotFoundError, AccessError, UsageError, ConflictError: as `check_free`, and `received`; or the channel was
                deleted while the object came.
            TooLargeError: it is larger than 50 MiB.
            StorageError: there is no room for it.
            ClientDisconnect: the sender has gone.
        """
        await self.check_free(by.channel, bucket, path, replace=replace)
        async with received(request) as upload:
            now = datetime.now(UTC)
            new = ObjectRow(
                id=str(uuid4()),
                channel=by.channel,
                bucket=bucket,
                path=path,
                content=upload.content,
                created_at=now,
                updated_at=now,
            )
            return await asyncio.to_thread(self._keep, upload, new, by, replace)

    async def remove(self, by: Writer, bucket: str, paths: Sequence[str]) -> list[ObjectRow]:
        """Remove objects, and return those that were there; the clean-up removes their bytes.

        Raises:
            NotFoundError, AccessError: as `check_free`.
            ConflictError: one of them is published; then none is removed.
        """
        _check_writable(bucket)
        keys = [path for path in dict.fromkeys(paths) if is_key(path)]
        for path in keys:
            if await self._buckets.is_published(by.channel, path):
                raise ConflictError(f"{path} is published, and stays as it is: nothing was removed")

        def write() -> list[ObjectRow]:
            with self._database.write(actor=by.actor) as tx:
                removed = objects.remove(tx, by.channel, bucket, keys)
                for row in removed:
                    _record(tx, by, "object_removed", row)
            return removed

        return await asyncio.to_thread(write)

    async def copy(self, by: Writer, bucket: str, path: str, *, to: str, move: bool) -> ObjectRow:
        """Give an uploaded object another path, or one more; return it as it is then.

        Raises:
            NotFoundError: it is not there.
            AccessError, UsageError: as `check_free`.
            ConflictError: it is published, or the other name is taken.
        """
        await self.check_free(by.channel, bucket, path, replace=True)
        await self.check_free(by.channel, bucket, to, replace=move and path == to)

        def write() -> ObjectRow:
            with self._database.write(actor=by.actor) as tx:
                if move:
                    row = objects.move(tx, by.channel, bucket, path, to=to)
                else:
                    row = objects.copy(tx, by.channel, bucket, path, to=to, at=datetime.now(UTC))
                _record(tx, by, "object_moved" if move else "object_copied", row, source=path)
            return row

        return await asyncio.to_thread(write)

    def _is_there(self, channel: str, bucket: str, path: str) -> bool:
        with self._database.read() as tx:
            return objects.find(tx, channel, bucket, path) is not None

    def _keep(self, upload: Received, new: ObjectRow, by: Writer, replace: bool) -> ObjectRow:
        place = layout.object_file(new.channel, new.content.sha256)
        self._storage.put_file(place, upload.file)  # before there is a row: no row is ever without its bytes
        with self._database.write(actor=by.actor) as tx:
            objects.lock_made(tx, by.channel, by.made_at)  # the object may have been hours on its way
            row = objects.put(tx, new, replace=replace)
            _record(tx, by, "object_uploaded", row, size_bytes=new.content.size_bytes)
        if not self._storage.exists(place):  # the clean-up came in between, and had not seen the row
            self._storage.put_file(place, upload.file)
        return row


def _check_writable(bucket: str) -> None:
    check_bucket(bucket)
    if bucket != PHONES:
        raise AccessError(f"{bucket} is read only: publish a version, or write to {PHONES}")


def _record(tx: Connection, by: Writer, action: str, row: ObjectRow, **details: object) -> None:
    audit.record(
        tx,
        actor=by.actor,
        action=action,
        channel=row.channel,
        subject=row.path,
        address=by.address,
        details={"bucket": row.bucket, "sha256": row.content.sha256, **details},
    )
