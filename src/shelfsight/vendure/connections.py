"""Connects channels with those of Vendure servers, checked there first; each with an entry in the audit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shelfsight.access import audit
from shelfsight.catalog.store import changes, channels
from shelfsight.database import clock
from shelfsight.errors import ConflictError
from shelfsight.leases import lease
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.channels import model_fields
from shelfsight.partners.vendure.client import VendureClient
from shelfsight.partners.vendure.credentials import ApiKey, Login
from shelfsight.vendure import order_store, product_store, store
from shelfsight.vendure.catalogue import check_readable
from shelfsight.vendure.deploy_channel import find_channel
from shelfsight.vendure.permissions import check_connection
from shelfsight.vendure.rules import (
    ConnectedChannel,
    Sells,
    Server,
    SyncState,
    mirror_lease,
    orders_lease,
    sync_lease,
)
from shelfsight.webhooks.rules import SECRET_BYTES, secret_text

if TYPE_CHECKING:
    from collections.abc import Set

    from sqlalchemy import Connection

    from shelfsight.access.rules import Asker
    from shelfsight.database.engine import Database
    from shelfsight.partners.vendure.records import VendureChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants to be connected.

    Attributes:
        credentials: how Vendure lets us in.
        vendure_channel: id or code of the channel there.
        key_token: token of the channel that an API key is of, which works in that one only.
        sells, deploys, records_orders: as of `ConnectedChannel`; None = as it is, at first products and neither.
        new_secret: whether the server's plugin shall sign with another secret from now on.
    """

    channel: str
    api_url: str
    credentials: Login | ApiKey
    vendure_channel: str
    key_token: str | None = None
    sells: Sells | None = None
    deploys: bool | None = None
    records_orders: bool | None = None
    new_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A connection that was made.

    Attributes:
        secret: what the server's plugin is to sign with, if it is new; it is never to be had again.
        user: who we are there.
    """

    connected: ConnectedChannel
    secret: str | None = field(repr=False)
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """How a channel is to be connected."""

    sells: Sells
    deploys: bool
    records_orders: bool

    @classmethod
    def of(cls, wish: Wish, before: ConnectedChannel | None) -> _Options:
        """Return what is wished, and for the rest how it is already."""
        return cls(
            sells=wish.sells or (before.sells if before else Sells.PRODUCTS),
            deploys=bool(before and before.deploys) if wish.deploys is None else wish.deploys,
            records_orders=bool(before and before.records_orders)
            if wish.records_orders is None
            else wish.records_orders,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What Vendure says of a wish; `seen`: ids of the channels there that the credentials are good for."""

    api_url: str
    channel: VendureChannel
    user_id: str
    user: str
    seen: Set[str]


def client_of(server: Server) -> VendureClient:
    """Return what asks a server, as the user that it was connected with; to be closed."""
    if server.username is not None and server.password is not None:
        return VendureClient(server.api_url, Login(server.username, server.password))
    return VendureClient(server.api_url, ApiKey(server.api_key or ""))


def connect(database: Database, wish: Wish, *, by: Asker) -> Made:
    """Connect a channel, or change how it is; everything of it is looked at soon, and orders that wait are tried.

    Raises:
        NotFoundError: there is no such channel, here or there.
        ConflictError: it is connected with another one, or that one with another channel.
        UsageError: the address is none.
        VendureError: Vendure does not know who asks, or lacks what is needed.
        UnavailableError: it does not answer.
    """
    with database.read() as tx:
        channels.get(tx, wish.channel)
        options = _Options.of(wish, store.find(tx, wish.channel))
    found = _looked_up(wish, options)
    with database.write(actor=by.actor) as tx:
        for work in (sync_lease(wish.channel), mirror_lease(wish.channel)):
            lease.end(tx, work)  # they would write that all is as it was wished before
        changes.lock(tx, wish.channel)
        server, secret = _server(tx, wish, found)
        before = _before(tx, wish, server, found)
        _check_others(tx, server, found)
        now = clock.now(tx)
        store.put_server(tx, server, at=now, by=by.actor)
        connected = ConnectedChannel(
            channel=wish.channel,
            server=server,
            vendure_channel=found.channel.id,
            token=found.channel.token,
            sells=options.sells,
            deploys=options.deploys,
            records_orders=options.records_orders,
            created_at=now if before is None else before.created_at,
            created_by=by.actor if before is None else before.created_by,
            state=SyncState(scan_at=now),
        )
        store.put_channel(tx, connected)
        order_store.begin(tx, wish.channel)
        order_store.hurry(tx, wish.channel, now)
        details = {"sells": options.sells, "deploys": options.deploys, "orders": options.records_orders}
        _audit(tx, "vendure_connected", connected, by, user=found.user, new_secret=secret is not None, **details)
    return Made(connected=connected, secret=secret, user=found.user)


def disconnect(database: Database, channel_id: str, *, by: Asker) -> ConnectedChannel:
    """Forget how a channel is connected; its products stay, and go on where they are when it is connected again.

    Raises:
        NotFoundError: it is not connected.
    """
    with database.write(actor=by.actor) as tx:
        for work in (sync_lease(channel_id), mirror_lease(channel_id), orders_lease(channel_id)):
            lease.end(tx, work)  # what they find out now is of nothing that is connected
        changes.lock(tx, channel_id)
        connected = store.get(tx, channel_id)
        product_store.forget_marks(tx, channel_id)
        product_store.forget_assets(tx, channel_id)  # ids of another server's assets mean other pictures
        store.delete_channel(tx, connected)
        _audit(tx, "vendure_disconnected", connected, by)
    return connected


def _looked_up(wish: Wish, options: _Options) -> _Found:
    """Return what is to be known of the channel there, after trying what will be asked of it."""
    with VendureClient(wish.api_url, wish.credentials) as client:
        channel = find_channel(client, wish.vendure_channel, key_token=wish.key_token)
        check_connection(client, channel, deploys=options.deploys, records_orders=options.records_orders)
        check_readable(client, channel.token)
        if options.deploys:
            model_fields(client, channel)
        if client.has_key:  # of which Vendure does not say who they are: their changes count as others'
            return _Found(api_url=client.url, channel=channel, user_id="", user="an API key", seen={channel.id})
        me = client.query(documents.ME)["me"]
    seen = {str(one["id"]) for one in me["channels"]}
    return _Found(api_url=client.url, channel=channel, user_id=str(me["id"]), user=str(me["identifier"]), seen=seen)


def _server(tx: Connection, wish: Wish, found: _Found) -> tuple[Server, str | None]:
    """Return the server with the credentials of the wish, and its secret if that is new."""
    before = store.server_at(tx, found.api_url)
    new_secret = secret_text(secrets.token_bytes(SECRET_BYTES)) if before is None or wish.new_secret else None
    server = Server(
        id=secrets.token_hex(8) if before is None else before.id,
        api_url=found.api_url,
        secret=new_secret or (before.secret if before else ""),
        user_id=found.user_id,
    )
    match wish.credentials:
        case Login(username, password):
            return replace(server, username=username, password=password), new_secret
        case ApiKey(key):
            return replace(server, api_key=key), new_secret


def _before(tx: Connection, wish: Wish, server: Server, found: _Found) -> ConnectedChannel | None:
    """Return how the channel is connected already, None if it is not.

    Raises:
        ConflictError: one of the two channels is connected with another.
    """
    ours, theirs = store.find(tx, wish.channel), store.by_theirs(tx, server.id, found.channel.id)
    if ours is not None and (ours.server.id, ours.vendure_channel) != (server.id, found.channel.id):
        raise ConflictError(
            f"channel {wish.channel} is connected with channel {ours.vendure_channel} of {ours.server.api_url}: "
            f"run `shelfsight vendure disconnect {wish.channel}` first"
        )
    if theirs is not None and theirs.channel != wish.channel:
        raise ConflictError(
            f"channel {found.channel.id} of {found.api_url} is connected with channel {theirs.channel}: "
            f"run `shelfsight vendure disconnect {theirs.channel}` first"
        )
    return ours


def _check_others(tx: Connection, server: Server, found: _Found) -> None:
    """Refuse credentials that would lock us out of another channel of the server, for it has these alone.

    Raises:
        ConflictError: they would.
    """
    lost = sorted(ours for theirs, ours in store.of_server(tx, server.id).items() if theirs not in found.seen)
    if lost:
        raise ConflictError(
            f"{found.user} is not let into the channels of {', '.join(lost)} at {found.api_url}, which have the same "
            "credentials: use an administrator with a role in all of them"
        )


def _audit(tx: Connection, action: str, connected: ConnectedChannel, by: Asker, **details: object) -> None:
    audit.record(
        tx,
        actor=by.actor,
        action=action,
        channel=connected.channel,
        subject=connected.server.id,
        address=by.address,
        details={"api": connected.server.api_url, "vendure_channel": connected.vendure_channel, **details},
    )
