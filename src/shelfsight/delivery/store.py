"""SQL of delivery: which versions and blobs may be served, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from shelfsight.database.tables import channels, model_metadata, version_blobs

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

_COLUMNS = (channels.c.id, channels.c.token, channels.c.visibility)
_PUBLIC = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedChannel:
    """A channel, and what it takes to see its files."""

    id: str
    token: str
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """What `model_metadata` says of a version; another row of the same name is another value."""

    id: int
    created_at: datetime
    checksum_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobUse:
    """Who uses a blob: anybody may have it, or only who may see one of `channels`."""

    public: bool
    channels: tuple[ServedChannel, ...]


def find_channel(connection: Connection, channel: str) -> ServedChannel | None:
    """Return the channel, None where there is none."""
    row = connection.execute(select(*_COLUMNS).where(channels.c.id == channel)).one_or_none()
    return None if row is None else _channel(row.id, row.token, row.visibility)


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
    if connection.execute(used.where(channels.c.visibility == _PUBLIC).limit(1)).first():
        return BlobUse(public=True, channels=())
    users = tuple(_channel(row.id, row.token, row.visibility) for row in connection.execute(used))
    return BlobUse(public=False, channels=users) if users else None


def _channel(channel: str, token: str, visibility: str) -> ServedChannel:
    return ServedChannel(id=channel, token=token, private=visibility != _PUBLIC)
