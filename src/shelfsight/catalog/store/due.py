"""When channels are due for a training: written in the transaction of what changed, so that no change is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from shelfsight.catalog import retrain
from shelfsight.catalog.retrain import Due
from shelfsight.catalog.rules import ChannelSettings, RetrainTrigger
from shelfsight.catalog.zones import zone_of
from shelfsight.database.tables import channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, tzinfo

    from sqlalchemy import Connection

    from shelfsight.catalog.rules import ChangeKind

_DUE = (channels.c.changed_since, channels.c.quiet_since, channels.c.train_at)
_TRIGGERS = (
    channels.c.model_auto_retrain_enabled,
    channels.c.model_retrain_triggers,
    channels.c.model_retrain_debounce_seconds,
    channels.c.time_zone,
)


def due_channels(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Return the channels whose training is to begin, those that wait longest first; one look into an index."""
    waiting = select(channels.c.id).where(channels.c.train_at <= now).order_by(channels.c.train_at).limit(limit)
    return list(connection.scalars(waiting))


def get(connection: Connection, channel_id: str) -> Due:
    """Return what a channel waits for."""
    row = connection.execute(select(*_DUE).where(channels.c.id == channel_id)).one()
    return Due(**row._mapping)  # noqa: SLF001


def after_changes(connection: Connection, channel_id: str, kinds: Iterable[ChangeKind], now: datetime) -> None:
    """Note changes of a locked channel."""
    kinds = list(kinds)
    if any(map(retrain.is_trained, kinds)):
        _save(
            connection, channel_id, lambda due, settings, zone: retrain.after_changes(due, kinds, settings, now, zone)
        )


def after_settings(connection: Connection, channel_id: str, now: datetime) -> None:
    """Note that the settings of a locked channel have been saved."""
    _save(connection, channel_id, lambda due, settings, zone: retrain.after_settings(due, settings, now, zone))


def at_night(connection: Connection, channel_id: str, now: datetime) -> None:
    """Let what a training could not learn wait for the night."""
    changed = update(channels).where(channels.c.id == channel_id, channels.c.changed_since.is_(None))
    connection.execute(changed.values(changed_since=now))
    _save(connection, channel_id, lambda due, settings, zone: retrain.at_night(due, settings, now, zone))


def not_before(connection: Connection, channel_id: str) -> None:
    """Let a channel wait for nothing by itself: a training is on its way, which will see every change."""
    connection.execute(update(channels).where(channels.c.id == channel_id).values(train_at=None))


def forget(connection: Connection, channel_id: str) -> None:
    """Note that a training begins now, which sees every change so far."""
    nothing = dict.fromkeys(column.name for column in _DUE)
    connection.execute(update(channels).where(channels.c.id == channel_id).values(nothing))


def _save(connection: Connection, channel_id: str, decide: Callable[[Due, ChannelSettings, tzinfo], Due]) -> None:
    row = connection.execute(select(*_DUE, *_TRIGGERS).where(channels.c.id == channel_id)).one()
    before = Due(changed_since=row.changed_since, quiet_since=row.quiet_since, train_at=row.train_at)
    settings = ChannelSettings(
        model_auto_retrain_enabled=bool(row.model_auto_retrain_enabled),
        model_retrain_triggers=frozenset(set(RetrainTrigger) & set(row.model_retrain_triggers)),
        model_retrain_debounce_seconds=row.model_retrain_debounce_seconds,
    )
    after = decide(before, settings, zone_of(row.time_zone))
    if after != before:
        values = {column.name: getattr(after, column.name) for column in _DUE}
        connection.execute(update(channels).where(channels.c.id == channel_id).values(values))
