"""SQL of Vendure servers, of the channels that are connected to theirs, and of what was taken over from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, exists, literal, or_, select, update

from shelfsight.database.batches import delete_older
from shelfsight.database.tables import vendure_channels as channels
from shelfsight.database.tables import vendure_messages as messages
from shelfsight.database.tables import vendure_orders as orders
from shelfsight.database.tables import vendure_servers as servers
from shelfsight.database.tables import vendure_wanted as wanted
from shelfsight.database.upsert import insert_into, upsert
from shelfsight.errors import NotFoundError
from shelfsight.vendure.rules import ConnectedChannel, Sells, Server, SyncState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

_ERROR_MOST = 500
_SERVER = ("api_url", "secret", "user_id", "username", "password", "api_key")


def get_server(tx: Connection, server_id: str) -> Server | None:
    """Return a Vendure server, None where there is none of that id."""
    row = tx.execute(select(servers).where(servers.c.id == server_id)).one_or_none()
    return None if row is None else _server(row)


def server_at(tx: Connection, api_url: str) -> Server | None:
    """Return the Vendure server with that Admin API, None where it is not known."""
    row = tx.execute(select(servers).where(servers.c.api_url == api_url)).one_or_none()
    return None if row is None else _server(row)


def put_server(tx: Connection, server: Server, *, at: datetime, by: str) -> None:
    """Write a server; of one that is there, everything but when and by whom it was added."""
    row = {"id": server.id, **{name: getattr(server, name) for name in _SERVER}}
    upsert(
        tx, servers, [{**row, "created_at": at, "created_by": by}], keys=["id"], stays=["created_at", "created_by"]
    )


def find(tx: Connection, channel_id: str) -> ConnectedChannel | None:
    """Return how a channel is connected, None if it is not."""
    row = tx.execute(_connected().where(channels.c.channel_id == channel_id)).one_or_none()
    return None if row is None else _channel(row)


def get(tx: Connection, channel_id: str) -> ConnectedChannel:
    """Return how a channel is connected.

    Raises:
        NotFoundError: it is not.
    """
    found = find(tx, channel_id)
    if found is None:
        raise NotFoundError(f"channel {channel_id!r} is not connected with Vendure: run `shelfsight vendure connect`")
    return found


def by_theirs(tx: Connection, server_id: str, vendure_channel: str) -> ConnectedChannel | None:
    """Return the channel that is connected with one of a server, None if none is."""
    theirs = (channels.c.server_id == server_id, channels.c.vendure_channel_id == vendure_channel)
    row = tx.execute(_connected().where(*theirs)).one_or_none()
    return None if row is None else _channel(row)


def connected(tx: Connection) -> list[ConnectedChannel]:
    """Return all channels that are connected, by id."""
    return [_channel(row) for row in tx.execute(_connected().order_by(channels.c.channel_id))]


def of_server(tx: Connection, server_id: str) -> dict[str, str]:
    """Return the channels that are connected with those of a server, by the id there."""
    columns = (channels.c.vendure_channel_id, channels.c.channel_id)
    rows = tx.execute(select(*columns).where(channels.c.server_id == server_id))
    return {row.vendure_channel_id: row.channel_id for row in rows}


def put_channel(tx: Connection, one: ConnectedChannel) -> None:
    """Write how a channel is connected; of one that is there, the options, and that it is to be looked at now."""
    row = {
        "channel_id": one.channel,
        "server_id": one.server.id,
        "vendure_channel_id": one.vendure_channel,
        "token": one.token,
        "sells": one.sells.value,
        "deploys": one.deploys,
        "records_orders": one.records_orders,
        "created_at": one.created_at,
        "created_by": one.created_by,
        "scan_at": one.state.scan_at,
        "retry_at": None,
        "sync_attempts": 0,
        "sync_error": None,
        "mirrored_status": None,  # so that all is written there again
        "mirrored_version": None,
        "mirrored_trained": None,
        "mirror_at": None,
    }
    upsert(tx, channels, [row], keys=["channel_id"], stays=["created_at", "created_by"])
    idle = (channels.c.channel_id == one.channel, ~channels.c.records_orders)
    tx.execute(update(channels).where(*idle).values(sales_taken=None))  # what is sold meanwhile becomes no order


def delete_channel(tx: Connection, one: ConnectedChannel) -> None:
    """Forget how a channel is connected, and its server if it was the last one of it; its products stay."""
    for table in (wanted, orders, channels):
        tx.execute(delete(table).where(table.c.channel_id == one.channel))
    if not tx.scalar(select(exists().where(channels.c.server_id == one.server.id))):
        tx.execute(delete(messages).where(messages.c.server_id == one.server.id))
        tx.execute(delete(servers).where(servers.c.id == one.server.id))


def due(tx: Connection, now: datetime) -> list[str]:
    """Return the channels that are to be looked at now: first those with events, last those that failed before."""
    named = exists().where(wanted.c.channel_id == channels.c.channel_id)
    may = or_(channels.c.retry_at.is_(None), channels.c.retry_at <= now)
    found = select(channels.c.channel_id).where(may, or_(named, channels.c.scan_at <= now))
    urgency = (channels.c.sync_attempts > 0, named.desc(), channels.c.scan_at, channels.c.channel_id)
    return list(tx.scalars(found.order_by(*urgency)))


def note_synced(tx: Connection, channel_id: str, now: datetime, *, began: datetime, scan_at: datetime | None) -> None:
    """Write that a sync ended well.

    Args:
        began: when it read how the channel is connected; what was asked for since is still to be done.
        scan_at: when to look at everything next, if this one has; None = only at what was named.
    """
    values: dict[str, Any] = {"retry_at": None, "sync_attempts": 0, "sync_error": None}
    if scan_at is not None:
        later = literal(scan_at, channels.c.scan_at.type)
        is_asked = and_(channels.c.scan_at > began, channels.c.scan_at <= now)
        values |= {"scan_at": case((is_asked, channels.c.scan_at), else_=later), "synced_at": now}
    tx.execute(update(channels).where(channels.c.channel_id == channel_id).values(values))


def note_failed(tx: Connection, channel_id: str, error: str, *, attempts: int, retry_at: datetime) -> None:
    """Write that a sync failed, and when to try again."""
    values = {"sync_error": error[:_ERROR_MOST], "sync_attempts": attempts, "retry_at": retry_at}
    tx.execute(update(channels).where(channels.c.channel_id == channel_id).values(values))


def scan_now(tx: Connection, channel_ids: Collection[str], now: datetime) -> None:
    """Let everything of these channels be looked at now."""
    tx.execute(update(channels).where(channels.c.channel_id.in_(list(channel_ids))).values(scan_at=now))


def want(tx: Connection, channel_id: str, vendure_products: Collection[str], now: datetime) -> None:
    """Let products of Vendure be looked at soon."""
    rows = [{"channel_id": channel_id, "vendure_product_id": one, "since": now} for one in vendure_products]
    upsert(tx, wanted, rows, keys=["channel_id", "vendure_product_id"])


def wanted_of(tx: Connection, channel_id: str, limit: int) -> dict[str, datetime]:
    """Return the products of Vendure that are to be looked at soon, and since when, at most `limit`."""
    found = select(wanted.c.vendure_product_id, wanted.c.since).where(wanted.c.channel_id == channel_id)
    rows = tx.execute(found.order_by(wanted.c.since, wanted.c.vendure_product_id).limit(limit))
    return {row.vendure_product_id: row.since for row in rows}


def forget_wanted(tx: Connection, channel_id: str, seen: Mapping[str, datetime]) -> None:
    """Note that products were looked at; what an event named again in the meantime stays wanted."""
    for since in set(seen.values()):
        ids = [one for one, at in seen.items() if at == since]
        mine = (wanted.c.channel_id == channel_id, wanted.c.since == since)
        tx.execute(delete(wanted).where(*mine, wanted.c.vendure_product_id.in_(ids)))


def forget_all_wanted(tx: Connection, channel_id: str, before: datetime) -> None:
    """Note that everything was looked at, in a sync that began then."""
    tx.execute(delete(wanted).where(wanted.c.channel_id == channel_id, wanted.c.since <= before))


def was_received(tx: Connection, server_id: str, message_id: str) -> bool:
    """Return whether a message came before."""
    return bool(tx.scalar(select(exists().where(messages.c.server_id == server_id, messages.c.id == message_id))))


def note_message(tx: Connection, server_id: str, message_id: str, now: datetime) -> bool:
    """Write that a message came; return False where it had before."""
    row = {"server_id": server_id, "id": message_id, "received_at": now}
    written = insert_into(tx, messages).values(row).on_conflict_do_nothing(index_elements=["server_id", "id"])
    return tx.scalar(written.returning(messages.c.id)) is not None


def purge(tx: Connection, before: datetime, limit: int) -> int:
    """Forget messages that came before then, at most `limit`; return how many."""
    return delete_older(tx, messages.c.received_at, before, limit)


def _connected() -> Select[Any]:
    named = [servers.c[name].label(f"server_{name}") for name in _SERVER]
    return select(channels, *named).join(servers, servers.c.id == channels.c.server_id)


def _server(row: Row[Any]) -> Server:
    return Server(id=row.id, **{name: getattr(row, name) for name in _SERVER})


def _channel(row: Row[Any]) -> ConnectedChannel:
    return ConnectedChannel(
        channel=row.channel_id,
        server=Server(id=row.server_id, **{name: getattr(row, f"server_{name}") for name in _SERVER}),
        vendure_channel=row.vendure_channel_id,
        token=row.token,
        sells=Sells(row.sells),
        deploys=bool(row.deploys),
        records_orders=bool(row.records_orders),
        created_at=row.created_at,
        created_by=row.created_by,
        state=SyncState(
            scan_at=row.scan_at,
            retry_at=row.retry_at,
            attempts=row.sync_attempts,
            error=row.sync_error,
            synced_at=row.synced_at,
        ),
    )
