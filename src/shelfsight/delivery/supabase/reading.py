"""Objects on their way out: whoever may have one gets it by delivery's own machinery, with what Supabase adds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from shelfsight.access.url_tokens import Use
from shelfsight.delivery.answers import Answer
from shelfsight.delivery.downloads import ANONYMOUS, Source
from shelfsight.delivery.grants import check_blob, check_file, granted_version
from shelfsight.delivery.published import Reader
from shelfsight.delivery.rules import BlobFile, VersionFile, attachment, query_value
from shelfsight.delivery.supabase.answers import EXPOSED, document
from shelfsight.delivery.supabase.rules import NO_OBJECT, PHONES, PRIVATE, sent_cache_control, sent_media_type
from shelfsight.errors import AccessError, NotFoundError

if TYPE_CHECKING:
    from shelfsight.access.url_tokens import Grant, SignedGrant
    from shelfsight.delivery.answers import Headers, StreamedAnswer
    from shelfsight.delivery.lookups import Lookups
    from shelfsight.delivery.published import Published
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.supabase.found import FoundObject
    from shelfsight.delivery.supabase.visitors import Visitor

_log = structlog.get_logger()
_SANDBOX = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox")
"""What somebody uploaded runs nothing and reaches nothing here, whatever a browser takes it for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Who may have an object, as audits show it; `headers` are for them alone."""

    actor: str
    channel: str
    headers: Headers = ()


def admit(found: FoundObject, visitor: Visitor) -> Admitted:
    """Return who asks for an object, by the keys that came along.

    Raises:
        AccessError: they may not have it.
    """
    if not found.policy.private:
        return Admitted(actor=ANONYMOUS, channel=found.channel)
    if not visitor.sees(found.seen_by):
        raise AccessError(PRIVATE)
    return Admitted(actor=visitor.actor, channel=found.channel)


async def admit_signed(found: FoundObject, signed: SignedGrant, lookups: Lookups) -> Admitted:
    """Return who asks for an object by a signed URL.

    Raises:
        AccessError: it is for another one.
    """
    grant = signed.grant
    if (grant.bucket, grant.path, grant.use) != (found.bucket, found.path, Use.FILE):
        await _check_version_grant(grant, found, lookups)
    if found.policy.private and grant.channel not in {one.id for one in found.seen_by}:
        raise AccessError("this signed URL is of another channel")
    expires = format_datetime(signed.expires_at, usegmt=True).encode()
    return Admitted(actor=signed.actor, channel=grant.channel, headers=((b"expires", expires),))


async def _check_version_grant(grant: Grant, found: FoundObject, lookups: Lookups) -> None:
    if isinstance(found.published, BlobFile):
        version = granted_version(grant)
        check_blob(used=await lookups.uses_blob(grant.channel, version, found.published.sha256))
    elif isinstance(found.published, VersionFile) and found.bucket == grant.bucket:
        check_file(grant, found.published)
    else:
        raise AccessError("this signed URL is for another object: sign this one")


async def answer(
    published: Published, found: FoundObject, admitted: Admitted, asked: Asked
) -> Answer | StreamedAnswer:
    """Return the answer to a request for an object by who may have it.

    Raises:
        NotFoundError: its bytes are gone, or damaged.
        StorageError: storage does not answer.
    """
    try:
        sent = await _sent(published, found, admitted, asked)
    except NotFoundError as exc:
        _log.error("object_not_served", channel=found.channel, bucket=found.bucket, path=found.path, reason=str(exc))
        raise NotFoundError(NO_OBJECT) from exc  # where it should lie in storage is for the log
    if isinstance(sent, Answer) and sent.status >= HTTPStatus.BAD_REQUEST:
        return _in_our_words(sent)
    return _by_its_key(sent) if found.bucket == PHONES else sent


async def _sent(
    published: Published, found: FoundObject, admitted: Admitted, asked: Asked
) -> Answer | StreamedAnswer:
    headers = (*admitted.headers, *_download(asked), (b"access-control-expose-headers", EXPOSED))
    wanted = found.published
    reader = Reader(actor=admitted.actor, channel=admitted.channel, private=found.policy.private, headers=headers)
    match wanted:
        case VersionFile():
            return await published.version_file(wanted, asked, reader)
        case BlobFile():
            return await published.blob(wanted, asked, reader)
        case None:
            file = f"{found.bucket}/{found.path}"
            source = Source(channel=found.channel, file=file, version="", actor=admitted.actor)
            own = (*_of_uploaded(found), *headers)
            return _by_its_token(await published.file(found.file, found.policy, source, asked, headers=own))


def _by_its_token(sent: Answer | StreamedAnswer) -> Answer | StreamedAnswer:
    """Return an answer that a browser keeps for one `?token=` alone: behind a newer one there may be other bytes."""
    return replace(sent, headers=tuple(one for one in sent.headers if one[0] != b"no-vary-search"))


def _by_its_key(sent: Answer | StreamedAnswer) -> Answer | StreamedAnswer:
    """Return an answer that caches keep for one key alone: with another, the same path is another channel's."""
    names = dict(sent.headers).get(b"vary", b"")
    missing = [name for name in (b"Authorization", b"apikey") if name not in names]
    vary = b", ".join([names, *missing] if names else missing)
    return replace(sent, headers=(*(one for one in sent.headers if one[0] != b"vary"), (b"vary", vary)))


def _of_uploaded(found: FoundObject) -> Headers:
    return (
        (b"content-type", sent_media_type(found.media_type).encode("latin-1")),
        (b"cache-control", sent_cache_control(found.cache_control, private=found.policy.private).encode()),
        (b"last-modified", format_datetime(found.updated_at, usegmt=True).encode()),
        _SANDBOX,
    )


def _download(asked: Asked) -> Headers:
    """Return what `?download`, `?download=` and `?download=name.bin` ask for."""
    name = query_value(asked.query, b"download")
    if name is None:
        return ()
    return ((b"content-disposition", attachment(name.decode("utf-8", "replace"))),)


def _in_our_words(sent: Answer) -> Answer:
    """Return a refusal of delivery's in Supabase's shape: a range that cannot be had, or no fitting encoding."""
    kept = tuple(one for one in sent.headers if one[0] in {b"content-range", b"accept-ranges", b"vary"})
    is_range = sent.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    content = {
        "statusCode": str(sent.status),
        "error": "invalid_range" if is_range else "not_acceptable",
        "message": json.loads(bytes(sent.body))["detail"],
    }
    return document(content, status=sent.status if is_range else HTTPStatus.BAD_REQUEST, headers=kept)
