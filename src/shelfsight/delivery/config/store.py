"""SQL of the config: whether a channel has changed, and all that its config says as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, select

from shelfsight.database.tables import channels, model_metadata
from shelfsight.delivery.store import VersionRow
from shelfsight.rollout import store as rollouts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection, Row

    from shelfsight.rollout.decisions import Standing

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    channels.c.id,
    channels.c.token,
    channels.c.visibility,
    channels.c.sequence,
    # As it is written: of one question about many channels, none may fail because of a time that is none.
    cast(channels.c.created_at, Text).label("created_at"),
)
_PUBLIC = "public"
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """What a channel's config depends on beside its versions; equal while nothing has changed.

    Attributes:
        token: its public key, as requests bring it.
        sequence: counted up by every change of its versions and rollouts, and of the keys that sign.
        created_at: another one is another channel, whose sequence begins anew.
    """

    id: str
    token: bytes
    private: bool
    sequence: int
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A channel, how its versions stand, and their rows by version, all as of one moment."""

    channel: ChannelRow
    standing: Standing
    rows: Mapping[str, VersionRow]


def channel_rows(connection: Connection, wanted: Collection[str]) -> dict[str, ChannelRow]:
    """Return those of the wanted channels that there are."""
    found: dict[str, ChannelRow] = {}
    for part in _parts(sorted(wanted)):
        rows = connection.execute(select(*_COLUMNS).where(channels.c.id.in_(part)))
        found |= {row.id: _channel(row) for row in rows}
    return found


def snapshot(connection: Connection, channel: str) -> Snapshot | None:
    """Return a channel as of one moment, None where there is none; the first thing that its transaction does."""
    if connection.dialect.name == "postgresql":  # else every query would see a moment of its own
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    row = connection.execute(select(*_COLUMNS).where(channels.c.id == channel)).one_or_none()
    if row is None:
        return None
    return Snapshot(
        channel=_channel(row), standing=rollouts.standing(connection, channel), rows=_versions(connection, channel)
    )


def _versions(connection: Connection, channel: str) -> dict[str, VersionRow]:
    table = model_metadata.c
    query = select(table.id, table.version, table.created_at, table.checksum_sha256)
    return {
        row.version.removeprefix("v"): VersionRow(
            id=row.id, created_at=row.created_at, checksum_sha256=row.checksum_sha256 or ""
        )
        for row in connection.execute(query.where(table.channel_id == channel))
    }


def _channel(row: Row[Any]) -> ChannelRow:
    return ChannelRow(
        id=row.id,
        token=(row.token or "").encode(),
        private=row.visibility != _PUBLIC,
        sequence=row.sequence,
        created_at=row.created_at,
    )


def _parts(wanted: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]
