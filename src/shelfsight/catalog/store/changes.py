"""What changed in a channel and since when: revisions 1, 2, 3 … in the order of commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import insert, select, update

from shelfsight.catalog.rules import Change, ChangeKind, Stamp
from shelfsight.catalog.store import due
from shelfsight.database.tables import changes, channels
from shelfsight.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row


class Entry(NamedTuple):
    """What is written into a channel's history; what it is about may be the channel itself."""

    kind: ChangeKind
    product_id: str | None = None
    image_sha256: str | None = None


def lock(connection: Connection, channel_id: str) -> None:
    """Keep everybody else from writing to a channel until the transaction ends.

    Raises:
        NotFoundError: there is no such channel.
    """
    row = select(channels.c.id).where(channels.c.id == channel_id)
    if connection.scalar(row.with_for_update(key_share=True)) is None:
        raise NotFoundError(f"channel {channel_id!r} is not there")


def record(connection: Connection, channel_id: str, entries: Sequence[Entry], stamp: Stamp) -> range:
    """Write into the history of a locked channel, and when it is due for a training; return the revisions."""
    if not entries:
        return range(0)
    counted = (
        update(channels)
        .where(channels.c.id == channel_id)
        .values(revision=channels.c.revision + len(entries))
        .returning(channels.c.revision)
    )
    last = connection.execute(counted).scalar_one()
    revisions = range(last - len(entries) + 1, last + 1)
    connection.execute(
        insert(changes),
        [
            {"channel_id": channel_id, "revision": revision, "at": stamp.at, "actor": stamp.actor, **entry._asdict()}
            for revision, entry in zip(revisions, entries, strict=True)
        ],
    )
    due.after_changes(connection, channel_id, [entry.kind for entry in entries], stamp.at)
    return revisions


def changes_since(connection: Connection, channel_id: str, revision: int, limit: int) -> list[Change]:
    """Return what came after `revision`, oldest first, at most `limit` entries."""
    later = (
        select(changes)
        .where(changes.c.channel_id == channel_id, changes.c.revision > revision)
        .order_by(changes.c.revision)
        .limit(limit)
    )
    return [_change(row) for row in connection.execute(later)]


def _change(row: Row[tuple[object, ...]]) -> Change:
    return Change(
        revision=row.revision,
        kind=ChangeKind(row.kind),
        product_id=row.product_id,
        image_sha256=row.image_sha256,
        at=row.at,
        actor=row.actor,
    )
