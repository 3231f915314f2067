"""SQL of delivery: which versions and blobs may be served, to whom, and how often they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from shelfsight.database.batches import delete_older
from shelfsight.database.tables import channels, downloads, model_metadata, version_blobs
from shelfsight.database.upsert import insert_into

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Row, RowMapping

_COLUMNS = (channels.c.id, channels.c.token, channels.c.visibility, channels.c.created_at)
_PUBLIC = "public"
_AT_ONCE = 500
"""Rows of one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedChannel:
    """A channel, and what it takes to see its files; another of the same id has another `created_at`."""

    id: str
    token: str = field(repr=False)
    private: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """What `model_metadata` says of a version; another row of the same name is another value."""

    id: int
    created_at: datetime
    checksum_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobUse:
    """Who uses a blob: anybody may have it, or only who may see one of `channels`.

    Attributes:
        counted: the public channel that alone makes it public, for which its downloads count; empty: several do.
    """

    public: bool
    channels: tuple[ServedChannel, ...]
    counted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadCount:
    """How often, in one hour, somebody was sent one file, whole or in part.

    Attributes:
        channel: empty for a blob that several public channels share.
        version: such as 1.4.2; empty for a blob or an uploaded object.
        actor: who; `anonymous`, a token, a signed URL's key.
    """

    channel: str
    hour: datetime
    file: str
    version: str
    actor: str
    count: int
    size_bytes: int


def find_channel(connection: Connection, channel: str) -> ServedChannel | None:
    """Return the channel, None where there is none."""
    row = connection.execute(select(*_COLUMNS).where(channels.c.id == channel)).one_or_none()
    return None if row is None else _channel(row)


def find_version(connection: Connection, channel: str, version: str) -> VersionRow | None:
    """Return the row of the version `1.4.2` whatever its status, None where there is none."""
    table = model_metadata.c
    found = connection.execute(
        select(table.id, table.created_at, table.checksum_sha256).where(
            table.channel_id == channel, table.version == f"v{version}"
        )
    ).one_or_none()
    if found is None:
        return None
    return VersionRow(id=found.id, created_at=found.created_at, checksum_sha256=found.checksum_sha256 or "")


def find_blob_use(connection: Connection, sha256: str) -> BlobUse | None:
    """Return who uses the blob, None where nobody does. One public channel is enough to make it public."""
    used = select(*_COLUMNS).distinct().join(version_blobs, version_blobs.c.channel_id == channels.c.id)
    used = used.where(version_blobs.c.sha256 == sha256)
    public = connection.execute(used.where(channels.c.visibility == _PUBLIC).limit(2)).all()
    if public:
        return BlobUse(public=True, channels=(), counted=public[0].id if len(public) == 1 else "")
    users = tuple(_channel(row) for row in connection.execute(used))
    return BlobUse(public=False, channels=users) if users else None


def uses_blob(connection: Connection, channel: str, version: str, sha256: str) -> bool:
    """Return whether the version `1.4.2` of a channel uses a blob."""
    table = version_blobs.c
    query = select(table.sha256).where(
        table.channel_id == channel, table.version == f"v{version}", table.sha256 == sha256
    )
    return connection.execute(query).first() is not None


def add_downloads(connection: Connection, counts: Iterable[DownloadCount]) -> None:
    """Add counts to those of the same hour; rows of one key come once."""
    # In one order, so that servers that add at the same time wait for each other instead of locking each other out.
    rows = sorted((_row_of(one) for one in counts), key=lambda row: [str(cell) for cell in row.values()])
    for start in range(0, len(rows), _AT_ONCE):
        new = insert_into(connection, downloads).values(rows[start : start + _AT_ONCE])
        added = {name: downloads.c[name] + new.excluded[name] for name in ("count", "size_bytes")}
        connection.execute(new.on_conflict_do_update(index_elements=list(downloads.primary_key), set_=added))


def page_of_downloads(
    connection: Connection,
    channel: str,
    *,
    since: datetime,
    until: datetime,
    after: tuple[datetime, str, str, str] | None = None,
    limit: int,
) -> list[DownloadCount]:
    """Return counts of a channel, the newest hour first.

    Args:
        since: of hours that began then or later.
        until: and before that.
        after: hour, file, version and actor of the last one already seen.
        limit: that many at most.
    """
    table = downloads.c
    query = select(downloads).where(table.channel_id == channel, table.hour >= since, table.hour < until)
    if after is not None:
        hour, file, version, actor = after
        names = tuple_(table.file, table.version, table.actor)
        is_later = names > tuple_(file, _named(version), actor)
        query = query.where((table.hour < hour) | ((table.hour == hour) & is_later))
    query = query.order_by(table.hour.desc(), table.file, table.version, table.actor).limit(limit)
    return [_count(row) for row in connection.execute(query).mappings()]


def purge_downloads(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the counts of hours that began before then, at most `limit` rows; return how many."""
    return delete_older(connection, downloads.c.hour, before, limit)


def _row_of(one: DownloadCount) -> dict[str, Any]:
    return {
        "channel_id": one.channel,
        "hour": one.hour,
        "file": one.file,
        "version": _named(one.version),
        "actor": one.actor,
        "count": one.count,
        "size_bytes": one.size_bytes,
    }


def _named(version: str) -> str:
    return version and f"v{version}"


def _count(row: RowMapping) -> DownloadCount:
    return DownloadCount(
        channel=row["channel_id"],
        hour=row["hour"],
        file=row["file"],
        version=row["version"].removeprefix("v"),
        actor=row["actor"],
        count=row["count"],
        size_bytes=row["size_bytes"],
    )


def _channel(row: Row[Any, Any, Any, Any]) -> ServedChannel:
    private = row.visibility != _PUBLIC
    return ServedChannel(id=row.id, token=row.token, private=private, created_at=row.created_at)
