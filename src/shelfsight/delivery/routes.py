"""Routes of delivery: sign URLs of private channels, and see who downloaded what."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, Field, model_validator

from shelfsight.access.url_tokens import LIFETIME_S, MAX_LIFETIME_S, expiry
from shelfsight.api.documents import ApiDocument, Page, is_storable
from shelfsight.api.guards import DeviceCaller, ReaderCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf
from shelfsight.delivery import store
from shelfsight.delivery.signing import SignedUrl, SignedVersion, Terms, sign_files, sign_version
from shelfsight.delivery.store import DownloadCount
from shelfsight.errors import TooManyRequestsError, UsageError
from shelfsight.moments import is_sensible, nearest
from shelfsight.registry.publish import Registry
from shelfsight.registry.store import release_policy

router = APIRouter(prefix="/api/v1", tags=["delivery"])

MOST_PATHS = 100
DAYS = 7
"""How far back downloads are listed, unless somebody says."""

Path = Annotated[str, Field(max_length=400, examples=["T_1/v1.4.2/model.ort"])]


class SignDocument(ApiDocument):
    """What to sign, and for how long: either a whole version, or single files."""

    version: Annotated[str, Field(max_length=64, examples=["1.4.2"])] | None = None
    paths: Annotated[list[Path], Field(min_length=1, max_length=MOST_PATHS)] | None = Field(
        default=None, description="In the bucket `ml-models`"
    )
    expires_in: Annotated[int, Field(ge=1, le=MAX_LIFETIME_S, description="Seconds")] = LIFETIME_S

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if (self.version is None) == (self.paths is None):
            raise ValueError("name either a version or paths")
        return self


class SignedUrlDocument(ApiDocument):
    """A URL that needs no other token until it expires."""

    path: str = Field(description="In the bucket `ml-models`")
    url: str = Field(description="On this server")
    expires_at: datetime


class SignedUrlsDocument(ApiDocument):
    """Signed URLs. Of a version there is also its folder, and the one token for all of it and the blobs it uses."""

    items: list[SignedUrlDocument]
    base_url: str | None = None
    token: str | None = None

    @classmethod
    def of(cls, urls: tuple[SignedUrl, ...], terms: Terms) -> Self:
        """Return the document of single files."""
        return cls(items=[SignedUrlDocument(path=one.path, url=one.url, expires_at=terms.expires_at) for one in urls])

    @classmethod
    def of_version(cls, signed: SignedVersion, terms: Terms) -> Self:
        """Return the document of a version."""
        return cls(items=cls.of(signed.urls, terms).items, base_url=signed.base_url, token=signed.token)


class DownloadDocument(ApiDocument):
    """How often somebody was sent a file within an hour, whole or in part."""

    hour: datetime = Field(description="Its beginning")
    file: str
    version: str | None = Field(description="None for a blob, which several versions may use, or an uploaded object")
    actor: str = Field(description="`anonymous`, a token, a channel's key, or the key of signed URLs")
    count: int
    size_bytes: int = Field(description="As they were sent: compressed, a part")

    @classmethod
    def of(cls, found: DownloadCount) -> Self:
        """Return the document of a count."""
        own = {name: getattr(found, name) for name in cls.model_fields if name != "version"}
        return cls(**own, version=found.version or None)


@router.post("/channels/{channel_id}/signed-urls", status_code=201)
def sign_urls(
    channel_id: str,
    services: ServicesOf,
    caller: DeviceCaller,
    request: Request,
    response: Response,
    wanted: SignDocument,
) -> SignedUrlsDocument:
    """Sign URLs by which anybody may load files of a private channel for a while."""
    response.headers["cache-control"] = "no-store"
    address = address_of(request.scope)
    if services.limits.wait_s(address) is not None:
        raise TooManyRequestsError("this address asks too often: what was signed is good until it expires")
    registry = Registry(database=services.database, storage=services.storage)
    terms = Terms(by=caller, expires_at=expiry(wanted.expires_in, now=datetime.now(UTC)), address=address)
    if wanted.version is None:
        return SignedUrlsDocument.of(sign_files(registry, channel_id, wanted.paths or [], terms), terms)
    return SignedUrlsDocument.of_version(sign_version(registry, channel_id, wanted.version, terms), terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    since: datetime
    until: datetime
    after: tuple[datetime, str, str, str] | None
    limit: int


def _wanted(
    since: Annotated[
        AwareDatetime | None, Query(alias="from", description="Of hours that began then or later; 7 days ago")
    ] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="And before that; now")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> _Wanted:
    now = datetime.now(UTC)
    first, last = since or now - timedelta(days=DAYS), until or now
    return _Wanted(
        since=nearest(first),
        until=nearest(last),
        after=_position(cursor),
        limit=limit,
    )


@router.get("/channels/{channel_id}/downloads")
def list_downloads(
    channel_id: str,
    services: ServicesOf,
    _caller: ReaderCaller,
    request: Request,
    response: Response,
    wanted: Annotated[_Wanted, Depends(_wanted)],
) -> Page[DownloadDocument]:
    """List who downloaded what of a channel, hour by hour, the newest hour first; ninety days are kept."""
    with services.database.read() as tx:
        release_policy(tx, channel_id)
        found = store.page_of_downloads(
            tx, channel_id, since=wanted.since, until=wanted.until, after=wanted.after, limit=wanted.limit + 1
        )
    shown = found[: wanted.limit]
    following = _encoded(shown[-1]) if len(found) > wanted.limit else None
    return page_of(request, response, [DownloadDocument.of(one) for one in shown], following)


def _encoded(last: DownloadCount) -> str:
    return json.dumps([last.hour.isoformat(), last.file, last.version, last.actor])


def _position(cursor: str | None) -> tuple[datetime, str, str, str] | None:
    """Return hour, file, version and actor of the last item seen."""
    text = decode_cursor(cursor, str)
    if text is None:
        return None
    try:
        hour, file, version, actor = map(str, json.loads(text))
        at = datetime.fromisoformat(hour)
    except (TypeError, ValueError):
        at = None
    if at is None or not is_sensible(at) or not all(map(is_storable, (file, version, actor))):
        raise UsageError(f"{str(cursor)[:40]!r} is no cursor of this list: use nextCursor of the page before")
    return at, file, version, actor
