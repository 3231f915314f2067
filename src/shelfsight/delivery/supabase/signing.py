"""Signed URLs as Supabase's clients ask for them: to read one object, to load a version, or to write one object."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.access import audit
from shelfsight.access.keys import url_secrets
from shelfsight.access.rules import Right, may_more_than_devices
from shelfsight.access.url_tokens import LIFETIME_S, Grant, Use, expiry, issue
from shelfsight.delivery.grants import file_grant, version_grant
from shelfsight.delivery.rules import VersionFile
from shelfsight.delivery.supabase.rules import MODELS, NO_OBJECT, loads_others, seconds_of
from shelfsight.errors import AccessError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.access.keys import UrlSecret
    from shelfsight.database.engine import Database
    from shelfsight.delivery.lookups import Lookups
    from shelfsight.delivery.supabase.documents import SignBody
    from shelfsight.delivery.supabase.found import FoundObject
    from shelfsight.delivery.supabase.rules import StorageCall
    from shelfsight.delivery.supabase.visitors import Visitor

_UPLOAD_WITHIN_S = 2 * 3600


class Signing:
    """Signs URLs. Who may have them is for others to say."""

    def __init__(self, *, database: Database, lookups: Lookups) -> None:
        """Sign with the secret that `database` has; `lookups` knows what `latest` is."""
        self._database = database
        self._lookups = lookups

    async def urls(
        self, found: Sequence[FoundObject], body: SignBody, visitor: Visitor, address: str | None
    ) -> list[str]:
        """Return a URL for each object, relative to `/storage/v1`, its path not percent-encoded: the clients do that.

        Raises:
            UsageError: it would last too short or too long, or is to transform an image.
            NotFoundError: `latest` names no version any more.
        """
        if body.transform:
            raise UsageError("images are not transformed by this server: leave transform out")
        expires_at = expiry(seconds_of(body.expires_in, LIFETIME_S), now=datetime.now(UTC))
        grants = [await self._grant(one, visitor) for one in found]
        secret = await self._secret()
        await self._note([path for path, _ in grants], expires_at, visitor, address)
        return [
            f"/object/sign/{grant.bucket}/{path}?token={issue(secret, grant, expires_at=expires_at)}"
            for path, grant in grants
        ]

    async def upload(self, call: StorageCall, visitor: Visitor, *, replace: bool) -> tuple[str, str]:
        """Return a URL to which one object can be sent within two hours, and the token in it."""
        grant = Grant(
            channel=visitor.channel.id,
            made_at=visitor.channel.created_at,
            bucket=call.bucket,
            path=call.path,
            use=Use.UPLOAD,
            upsert=replace,
        )
        expires_at = expiry(_UPLOAD_WITHIN_S, now=datetime.now(UTC))
        token = issue(await self._secret(), grant, expires_at=expires_at)
        return f"/object/upload/sign/{call.bucket}/{call.path}?token={token}", token

    def check_upload(self, grant: Grant, call: StorageCall) -> Grant:
        """Return a grant that lets the object of a call be written.

        Raises:
            AccessError: it does not.
        """
        if grant != replace(grant, bucket=call.bucket, path=call.path, use=Use.UPLOAD):
            raise AccessError("this signed URL is not for sending this object: ask for one that is")
        return grant

    async def _grant(self, found: FoundObject, visitor: Visitor) -> tuple[str, Grant]:
        """Return the path that is signed, and what is granted; a version's number in the place of `latest`."""
        wanted = found.published
        if found.bucket == MODELS and isinstance(wanted, VersionFile):
            version = wanted.version or await self._lookups.latest(wanted.channel)
            if version is None:
                raise NotFoundError(NO_OBJECT)
            (owner,) = found.seen_by
            exact = file_grant(owner, version, wanted.name)
            whole = version_grant(owner, version)
            return exact.path, whole if loads_others(wanted.name) else exact
        channel = visitor.channel
        if wanted is not None:
            seeing = (one for one in found.seen_by if visitor.may(Right.DEVICE, one.id))
            channel = next(seeing, channel)
        grant = Grant(
            channel=channel.id, made_at=channel.created_at, bucket=found.bucket, path=found.path, use=Use.FILE
        )
        return found.path, grant

    async def _secret(self) -> UrlSecret:
        secrets = await asyncio.to_thread(url_secrets, self._database)
        return secrets[0]

    async def _note(self, paths: Sequence[str], expires_at: datetime, visitor: Visitor, address: str | None) -> None:
        """Let the audit have it, unless a device asked, as it does whenever it loads a model."""
        if not any(map(may_more_than_devices, visitor.callers)) or not paths:
            return

        def write() -> None:
            with self._database.write(actor=visitor.actor) as tx:
                audit.record(
                    tx,
                    actor=visitor.actor,
                    action="urls_signed",
                    channel=visitor.channel.id,
                    address=address,
                    details={"paths": list(paths), "expiresAt": expires_at.isoformat()},
                )

        await asyncio.to_thread(write)
