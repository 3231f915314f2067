"""What a channel is like here, and what was last written of that to Vendure, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, literal, or_, select, update

from shelfsight.database.tables import channels, vendure_channels
from shelfsight.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

LOOK_AFTER = timedelta(seconds=10)
"""How soon after a change there its fields are looked at: no sooner, lest two that disagree never rest."""

_ERROR_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a channel is, as far as Vendure is told: its training's status, and the stable version."""

    status: str | None
    version: str | None
    trained_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A channel, and what Vendure was told of it.

    Attributes:
        base_url: where devices download models from, here.
        due_at: when Vendure is to be looked at, None = now.
        attempts: that failed since one that did not.
    """

    now: Standing
    told: Standing
    base_url: str | None
    due_at: datetime | None
    attempts: int


def due_channels(tx: Connection, now: datetime) -> list[str]:
    """Return the connected channels that are not as Vendure was told, then those that it is time to look at there."""
    differs = or_(
        channels.c.model_training_status.is_distinct_from(vendure_channels.c.mirrored_status),
        channels.c.model_version.is_distinct_from(vendure_channels.c.mirrored_version),
        channels.c.model_last_trained.is_distinct_from(vendure_channels.c.mirrored_trained),
    )
    is_time = or_(vendure_channels.c.mirror_at.is_(None), vendure_channels.c.mirror_at <= now)
    waits = vendure_channels.c.mirror_attempts > 0  # after a failure
    found = select(channels.c.id).join(vendure_channels, vendure_channels.c.channel_id == channels.c.id)
    urgency = (waits, differs.desc(), vendure_channels.c.mirror_at, channels.c.id)
    return list(tx.scalars(found.where(or_(is_time, and_(differs, ~waits))).order_by(*urgency)))


def errors(tx: Connection) -> dict[str, str]:
    """Return why Vendure could not be told the last time, by channel; those that could are left out."""
    columns = (vendure_channels.c.channel_id, vendure_channels.c.mirror_error)
    rows = tx.execute(select(*columns).where(vendure_channels.c.mirror_error.is_not(None)))
    return {row.channel_id: row.mirror_error for row in rows}


def get(tx: Connection, channel_id: str) -> Mirrored:
    """Return how a channel is, and what Vendure was told.

    Raises:
        NotFoundError: it is not connected.
    """
    columns = (
        channels.c.model_training_status,
        channels.c.model_version,
        channels.c.model_last_trained,
        channels.c.model_base_url,
        vendure_channels.c.mirrored_status,
        vendure_channels.c.mirrored_version,
        vendure_channels.c.mirrored_trained,
        vendure_channels.c.mirror_at,
        vendure_channels.c.mirror_attempts,
    )
    found = select(*columns).join(vendure_channels, vendure_channels.c.channel_id == channels.c.id)
    row = tx.execute(found.where(channels.c.id == channel_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"channel {channel_id!r} is not connected with Vendure")
    return Mirrored(
        now=Standing(status=row.model_training_status, version=row.model_version, trained_at=row.model_last_trained),
        told=Standing(status=row.mirrored_status, version=row.mirrored_version, trained_at=row.mirrored_trained),
        base_url=row.model_base_url,
        due_at=row.mirror_at,
        attempts=row.mirror_attempts,
    )


def look_soon(tx: Connection, channel_ids: Collection[str], now: datetime) -> None:
    """Let it be seen what these channels say in Vendure, for somebody has changed them there."""
    at, due_at = now + LOOK_AFTER, vendure_channels.c.mirror_at
    may_be_looking = or_(due_at.is_(None), due_at <= now)  # too early to see the change
    mine = vendure_channels.c.channel_id.in_(list(channel_ids))
    tx.execute(update(vendure_channels).where(mine, or_(may_be_looking, due_at > at)).values(mirror_at=at))


def note_told(tx: Connection, channel_id: str, mirrored: Mirrored, *, again_at: datetime) -> None:
    """Write what Vendure was told, and when to look again; what was asked for meanwhile is still to be done."""
    due_at = vendure_channels.c.mirror_at
    is_asked = due_at.is_distinct_from(literal(mirrored.due_at, due_at.type))
    values = {
        "mirrored_status": mirrored.now.status,
        "mirrored_version": mirrored.now.version,
        "mirrored_trained": mirrored.now.trained_at,
        "mirror_error": None,
        "mirror_attempts": 0,
        "mirror_at": case((is_asked, due_at), else_=literal(again_at, due_at.type)),
    }
    tx.execute(update(vendure_channels).where(vendure_channels.c.channel_id == channel_id).values(values))


def note_failed(tx: Connection, channel_id: str, error: str, *, attempts: int, again_at: datetime) -> None:
    """Write that it could not be told, and when to try again."""
    values = {"mirror_error": error[:_ERROR_MOST], "mirror_attempts": attempts, "mirror_at": again_at}
    tx.execute(update(vendure_channels).where(vendure_channels.c.channel_id == channel_id).values(values))
