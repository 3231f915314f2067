"""Objects that clients have uploaded, as rows; their bytes lie in the storage, under their hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, func, insert, select, update

from shelfsight.catalog.store.changes import lock
from shelfsight.database.tables import channels, model_metadata, objects
from shelfsight.delivery.store import VersionRow
from shelfsight.delivery.supabase.rules import DUPLICATE, NO_OBJECT
from shelfsight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from shelfsight.delivery.supabase.listing import Place, Sort


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was uploaded: bytes by their hash, and what its sender says of them."""

    sha256: str
    size_bytes: int
    media_type: str
    cache_control: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """An object of a channel's bucket."""

    id: str
    channel: str
    bucket: str
    path: str
    content: Content
    created_at: datetime
    updated_at: datetime


def find(tx: Connection, channel: str, bucket: str, path: str) -> ObjectRow | None:
    """Return an object, None where there is none."""
    row = tx.execute(select(objects).where(*_is(channel, bucket, path))).one_or_none()
    return None if row is None else _object(row)


def lock_made(tx: Connection, channel: str, made_at: datetime) -> None:
    """Keep everybody else from writing to a channel that was made then, until the transaction ends.

    Raises:
        NotFoundError: it is gone, whether or not there is another of its id.
    """
    lock(tx, channel)
    if channel_created_at(tx, channel) != made_at:
        raise NotFoundError(f"channel {channel!r} was deleted, and another made: ask for its keys")


def put(tx: Connection, new: ObjectRow, *, replace: bool) -> ObjectRow:
    """Write an object, and return it as it is then: one that is replaced keeps its id and its age.

    Raises:
        NotFoundError: the channel is gone.
        ConflictError: it is there, and may not be replaced.
    """
    lock(tx, new.channel)
    before = find(tx, new.channel, new.bucket, new.path)
    if before is None:
        tx.execute(insert(objects).values(_row(new)))
        return new
    if not replace:
        raise ConflictError(DUPLICATE)
    changed = {**_content_row(new.content), "updated_at": new.updated_at}
    tx.execute(update(objects).where(*_is(new.channel, new.bucket, new.path)).values(changed))
    return ObjectRow(
        id=before.id,
        channel=new.channel,
        bucket=new.bucket,
        path=new.path,
        content=new.content,
        created_at=before.created_at,
        updated_at=new.updated_at,
    )


def copy(tx: Connection, channel: str, bucket: str, path: str, *, to: str, at: datetime) -> ObjectRow:
    """Write an object once more, under another path, and return that one.

    Raises:
        NotFoundError: it is not there, or the channel is gone.
        ConflictError: one is there already.
    """
    lock(tx, channel)
    source = find(tx, channel, bucket, path)
    if source is None:
        raise NotFoundError(NO_OBJECT)
    copied = ObjectRow(
        id=str(uuid4()),
        channel=channel,
        bucket=bucket,
        path=to,
        content=source.content,
        created_at=at,
        updated_at=at,
    )
    return put(tx, copied, replace=False)


def move(tx: Connection, channel: str, bucket: str, path: str, *, to: str) -> ObjectRow:
    """Give an object another path, and return it.

    Raises:
        NotFoundError: it is not there, or the channel is gone.
        ConflictError: another is there already.
    """
    lock(tx, channel)
    if path != to and find(tx, channel, bucket, to) is not None:
        raise ConflictError(DUPLICATE)
    tx.execute(update(objects).where(*_is(channel, bucket, path)).values(path=to))
    moved = find(tx, channel, bucket, to)
    if moved is None:
        raise NotFoundError(NO_OBJECT)
    return moved


def remove(tx: Connection, channel: str, bucket: str, paths: Collection[str]) -> list[ObjectRow]:
    """Delete objects, and return those that were there, by path.

    Raises:
        NotFoundError: the channel is gone.
    """
    lock(tx, channel)
    wanted = (objects.c.channel_id == channel, objects.c.bucket == bucket, objects.c.path.in_(list(paths)))
    found = [_object(row) for row in tx.execute(select(objects).where(*wanted).order_by(objects.c.path))]
    tx.execute(delete(objects).where(*wanted))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which objects of a list: so many behind the first `offset` of those whose paths are not among `without`."""

    offset: int = 0
    limit: int
    without: tuple[str, ...] = ()


def files(tx: Connection, place: Place, sort: Sort, part: Part) -> list[ObjectRow]:
    """Return some objects of a place in that order."""
    column = objects.c[sort.column] if sort.column != "name" else objects.c.path
    order = [column.desc() if sort.descending else column.asc(), objects.c.path]
    query = select(objects).where(*_in(place)).order_by(*order).offset(part.offset).limit(part.limit)
    if part.without:
        query = query.where(objects.c.path.not_in(part.without))
    if not place.deep:
        query = query.where(~_name(place).contains("/"))
    return [_object(row) for row in tx.execute(query)]


def folders(tx: Connection, place: Place, *, descending: bool, limit: int) -> list[str]:
    """Return the first folders right in a place, without the place itself, by name."""
    name = _name(place)
    first: ColumnElement[str] = (
        func.split_part(name, "/", 1).collate("C")
        if tx.dialect.name == "postgresql"
        else func.substr(name, 1, func.instr(name, "/") - 1)
    )
    query = select(first).distinct().where(*_in(place), name.contains("/"))
    return list(tx.scalars(query.order_by(first.desc() if descending else first).limit(limit)))


def published(tx: Connection, channel: str, *, limit: int) -> list[tuple[str, VersionRow]]:
    """Return the versions of a channel such as 1.4.2, the newest first, each with its row of `model_metadata`."""
    table = model_metadata.c
    query = select(table.version, table.id, table.created_at, table.checksum_sha256)
    rows = tx.execute(query.where(table.channel_id == channel).order_by(table.id.desc()).limit(limit))
    return [
        (
            row.version.removeprefix("v"),
            VersionRow(id=row.id, created_at=row.created_at, checksum_sha256=row.checksum_sha256 or ""),
        )
        for row in rows
    ]


def channel_created_at(tx: Connection, channel: str) -> datetime | None:
    """Return how old a channel is, None where there is none."""
    found: datetime | None = tx.scalar(select(channels.c.created_at).where(channels.c.id == channel))
    return found


def _is(channel: str, bucket: str, path: str) -> tuple[ColumnElement[bool], ...]:
    return objects.c.channel_id == channel, objects.c.bucket == bucket, objects.c.path == path


def _in(place: Place) -> list[ColumnElement[bool]]:
    where = [objects.c.channel_id == place.channel, objects.c.bucket == place.bucket]
    if place.prefix:  # a range, for which there is an index; paths are ASCII
        where += [objects.c.path >= place.prefix, objects.c.path < place.end]
    if place.search:
        where.append(_name(place).istartswith(place.search, autoescape=True))
    return where


def _name(place: Place) -> Any:
    """Return the part of the path behind the place's folder."""
    return func.substr(objects.c.path, len(place.folder) + 1)


def _row(new: ObjectRow) -> dict[str, Any]:
    return {
        "channel_id": new.channel,
        "bucket": new.bucket,
        "path": new.path,
        "id": new.id,
        "created_at": new.created_at,
        "updated_at": new.updated_at,
        **_content_row(new.content),
    }


def _content_row(content: Content) -> dict[str, Any]:
    return {
        "sha256": content.sha256,
        "size_bytes": content.size_bytes,
        "media_type": content.media_type,
        "cache_control": content.cache_control,
        "metadata": dict(content.metadata),
    }


def _object(row: Row[Any]) -> ObjectRow:
    content = Content(
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        cache_control=row.cache_control,
        metadata=row._mapping["metadata"],  # noqa: SLF001 (a row has an attribute of that name)
    )
    return ObjectRow(
        id=row.id,
        channel=row.channel_id,
        bucket=row.bucket,
        path=row.path,
        content=content,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
