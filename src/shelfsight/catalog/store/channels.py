"""Channels and their settings."""

from __future__ import annotations

import secrets
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import exists, insert, select, update

from shelfsight.catalog.rules import (
    DEFAULT_CHANNEL,
    ChangeKind,
    Channel,
    ChannelSettings,
    ChannelValues,
    ReleasePolicy,
    RetrainTrigger,
    Stamp,
    TrainingStatus,
    Visibility,
    with_values,
)
from shelfsight.catalog.store import due
from shelfsight.catalog.store.changes import Entry, lock, record
from shelfsight.catalog.zones import check_time_zone
from shelfsight.database import tables
from shelfsight.database.tables import channels
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row

_SETTINGS = tuple(each.name for each in fields(ChannelSettings))


def create(connection: Connection, channel_id: str, values: ChannelValues, stamp: Stamp) -> Channel:
    """Make a channel with a token of its own; it is named like its id unless `values` say otherwise.

    Raises:
        UsageError: the id or a value cannot be.
        ConflictError: the channel is there already.
    """
    empty = Channel(id=channel_id, name=channel_id, token=_new_token(), created_at=stamp.at)
    channel = with_values(empty, values)
    check_time_zone(channel.settings.time_zone)
    if connection.scalar(select(channels.c.id).where(channels.c.id == channel_id)) is not None:
        raise ConflictError(f"channel {channel_id!r} is there already: choose another id")
    row = {"id": channel.id, "created_at": channel.created_at, **_columns(channel)}
    connection.execute(insert(channels).values(row))
    return channel


def get(connection: Connection, channel_id: str) -> Channel:
    """Return a channel.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = connection.execute(select(channels).where(channels.c.id == channel_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"channel {channel_id!r} is not there")
    return _channel(row)


def page(
    connection: Connection, *, after: str | None = None, limit: int, among: Collection[str] | None = None
) -> list[Channel]:
    """Return the channels behind the id `after`, by id, at most `limit`; only those `among`, None = all."""
    found = select(channels).order_by(channels.c.id).limit(limit)
    if among is not None:
        found = found.where(channels.c.id.in_(list(among)))
    if after is not None:
        found = found.where(channels.c.id > after)
    return [_channel(row) for row in connection.execute(found)]


def change(
    connection: Connection, channel_id: str, values: ChannelValues, *, stamp: Stamp, expected: int | None = None
) -> Channel:
    """Change a channel's name or settings; return it as it is then.

    Args:
        expected: the settings revision that the caller has read, None = whatever it is.

    Raises:
        NotFoundError: there is no such channel.
        StaleWriteError: its settings are at another revision.
        UsageError: a value cannot be.
    """
    lock(connection, channel_id)
    before = get(connection, channel_id)
    if expected is not None and before.settings_revision != expected:
        raise StaleWriteError(
            f"settings of {channel_id} are at revision {before.settings_revision}, not {expected}: re-read and retry"
        )
    after = with_values(before, values)
    if after.settings.time_zone != before.settings.time_zone:
        check_time_zone(after.settings.time_zone)
    return before if after == before else _save(connection, after, stamp)


def rotate_token(connection: Connection, channel_id: str, stamp: Stamp) -> Channel:
    """Give a channel a new token; the old one names nothing from then on.

    Raises:
        NotFoundError: there is no such channel.
    """
    lock(connection, channel_id)
    return _save(connection, replace(get(connection, channel_id), token=_new_token()), stamp)


def sequence(connection: Connection, channel_id: str) -> int:
    """Return how often what devices are told of a channel has changed.

    Raises:
        NotFoundError: there is no such channel.
    """
    found: int | None = connection.scalar(select(channels.c.sequence).where(channels.c.id == channel_id))
    if found is None:
        raise NotFoundError(f"there is no channel {channel_id!r}: create it first, or check the id")
    return found


def set_training(
    connection: Connection, channel_id: str, status: TrainingStatus, *, last_trained: datetime | None = None
) -> None:
    """Note what a channel's training is doing; that is no change of its settings, nor of its catalogue.

    Args:
        last_trained: when a training ended well, None = as it was.
    """
    values: dict[str, object] = {"model_training_status": status.value}
    if last_trained is not None:
        values["model_last_trained"] = last_trained
    connection.execute(update(channels).where(channels.c.id == channel_id).values(values))


def delete(connection: Connection, channel_id: str) -> None:
    """Remove a channel with everything of it but its audit; its files are for the clean-up.

    Raises:
        NotFoundError: there is no such channel.
        ConflictError: it is the default channel, which devices without a key are given.
    """
    if channel_id == DEFAULT_CHANNEL:
        raise ConflictError(f"channel {DEFAULT_CHANNEL!r} is there for devices without a key: it cannot be deleted")
    _end_leases(connection, channel_id)
    lock(connection, channel_id)
    of_channel = (
        tables.images,
        tables.products,
        tables.changes,
        tables.version_blobs,
        tables.releases,
        tables.training_log,
        tables.objects,
        tables.downloads,
        tables.events,
        tables.sale_lines,
        tables.sales,
        tables.webhook_deliveries,
        tables.webhooks,
        tables.vendure_orders,
        tables.vendure_wanted,
        tables.vendure_assets,
        tables.vendure_products,
        tables.vendure_channels,
    )
    for table in (*of_channel, tables.model_metadata, tables.rollouts, tables.trainings, tables.tokens):
        connection.execute(delete_rows(table).where(table.c.channel_id == channel_id))
    _forget_scopes(connection, channel_id)
    _forget_servers(connection)
    connection.execute(delete_rows(channels).where(channels.c.id == channel_id))


def _end_leases(connection: Connection, channel_id: str) -> None:
    """Let no publish or sync go on that runs; tokens count on in a later channel of the same id."""
    leases = tables.leases
    ended = {"token": leases.c.token + 1, "holder": "", "expires_at": datetime.fromtimestamp(0, UTC)}
    mine = leases.c.name.endswith(f":{channel_id}", autoescape=True)
    connection.execute(update(leases).where(mine).values(ended))


def _forget_scopes(connection: Connection, channel_id: str) -> None:
    """Take a channel from the scopes of tokens, so that none opens a later channel of the same id."""
    gone = {f"channel:{channel_id}:{right}" for right in ("read", "write")}
    tokens = tables.tokens
    for token_id, scopes in connection.execute(select(tokens.c.id, tokens.c.scopes)).all():
        left = [scope for scope in scopes if scope not in gone]
        if not left and scopes:
            connection.execute(delete_rows(tokens).where(tokens.c.id == token_id))
        elif len(left) < len(scopes):
            connection.execute(update(tokens).where(tokens.c.id == token_id).values(scopes=left))


def _forget_servers(connection: Connection) -> None:
    """Forget Vendure servers, and how they let us in, of which no channel is connected any more."""
    servers, messages = tables.vendure_servers, tables.vendure_messages
    used = exists().where(tables.vendure_channels.c.server_id == servers.c.id)
    gone = list(connection.scalars(select(servers.c.id).where(~used)))
    connection.execute(delete_rows(messages).where(messages.c.server_id.in_(gone)))
    connection.execute(delete_rows(servers).where(servers.c.id.in_(gone)))


def _save(connection: Connection, channel: Channel, stamp: Stamp) -> Channel:
    (revision,) = record(connection, channel.id, [Entry(ChangeKind.SETTINGS_CHANGED)], stamp)
    saved = replace(channel, revision=revision, settings_revision=revision)
    connection.execute(update(channels).where(channels.c.id == channel.id).values(_columns(saved)))
    due.after_settings(connection, channel.id, stamp.at)
    return saved


def _columns(channel: Channel) -> dict[str, Any]:
    """Return what people change of a channel, as columns; trainings and releases write the others."""
    settings = {name: getattr(channel.settings, name) for name in ChannelValues.__annotations__ if name != "name"}
    triggers = [trigger.value for trigger in RetrainTrigger if trigger in channel.settings.model_retrain_triggers]
    return {
        "name": channel.name,
        "token": channel.token,
        "settings_revision": channel.settings_revision,
        **settings,
        "model_retrain_triggers": triggers,
    }


def _channel(row: Row[Any]) -> Channel:
    values = row._mapping  # noqa: SLF001
    settings = {name: values[name] for name in _SETTINGS} | {
        "model_training_status": TrainingStatus(row.model_training_status),
        "model_retrain_triggers": frozenset(set(RetrainTrigger) & set(row.model_retrain_triggers)),
        "visibility": Visibility(row.visibility),
        "release_policy": ReleasePolicy(row.release_policy),
    }
    return Channel(
        id=row.id,
        name=row.name,
        token=row.token,
        created_at=row.created_at,
        revision=row.revision,
        settings_revision=row.settings_revision,
        sequence=row.sequence,
        settings=ChannelSettings(**settings),
    )


def _new_token() -> str:
    return f"ck_{secrets.token_hex(16)}"
