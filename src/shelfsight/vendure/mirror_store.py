"""What a channel is like here, and what was last written of that to Vendure, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from shelfsight.database.tables import channels, vendure_channels
from shelfsight.errors import NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

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
        attempts: that failed since one that did not.
    """

    now: Standing
    told: Standing
    base_url: str | None
    attempts: int


def due_channels(tx: Connection, now: datetime) -> list[str]:
    """Return the connected channels that are not as Vendure was told, and may be told now."""
    differs = or_(
        channels.c.model_training_status.is_distinct_from(vendure_channels.c.mirrored_status),
        channels.c.model_version.is_distinct_from(vendure_channels.c.mirrored_version),
        channels.c.model_last_trained.is_distinct_from(vendure_channels.c.mirrored_trained),
    )
    may = or_(vendure_channels.c.mirror_at.is_(None), vendure_channels.c.mirror_at <= now)
    found = select(channels.c.id).join(vendure_channels, vendure_channels.c.channel_id == channels.c.id)
    return list(tx.scalars(found.where(differs, may).order_by(channels.c.id)))


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
        attempts=row.mirror_attempts,
    )


def note_told(tx: Connection, channel_id: str, standing: Standing) -> None:
    """Write what Vendure was told."""
    values = {
        "mirrored_status": standing.status,
        "mirrored_version": standing.version,
        "mirrored_trained": standing.trained_at,
        "mirror_error": None,
        "mirror_attempts": 0,
        "mirror_at": None,
    }
    tx.execute(update(vendure_channels).where(vendure_channels.c.channel_id == channel_id).values(values))


def note_failed(tx: Connection, channel_id: str, error: str, *, attempts: int, again_at: datetime) -> None:
    """Write that it could not be told, and when to try again."""
    values = {"mirror_error": error[:_ERROR_MOST], "mirror_attempts": attempts, "mirror_at": again_at}
    tx.execute(update(vendure_channels).where(vendure_channels.c.channel_id == channel_id).values(values))
