"""A channel of ours, with everything that it needs to be connected with one of the real Vendure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from shelfsight.access.rules import Asker
from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import channels
from shelfsight.database import clock
from shelfsight.database.tables import vendure_channels, vendure_orders, vendure_servers
from shelfsight.vendure.connections import Wish, connect
from shelfsight.vendure.rules import ConnectedChannel, Sells, SyncState
from shelfsight.vendure.sync import Order, sync
from tests.vendure.server import SUPERADMIN

if TYPE_CHECKING:
    from datetime import datetime

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage
    from shelfsight.vendure.rules import Server
    from shelfsight.vendure.sync import SyncResult
    from tests.vendure.server import ShopChannel, VendureServer

CHANNEL = "T_1"
SOMEBODY = Asker(actor="owner", address=None)


def connected(server: Server, theirs: str, scan_at: datetime) -> ConnectedChannel:
    """Return how `T_` and the id of a channel of Vendure is connected with it; it is scanned at `scan_at`."""
    return ConnectedChannel(
        channel=f"T_{theirs}",
        server=server,
        vendure_channel=theirs,
        token="t",
        sells=Sells.PRODUCTS,
        deploys=False,
        records_orders=False,
        created_at=scan_at,
        created_by="maria",
        state=SyncState(scan_at=scan_at),
    )


@dataclass(frozen=True)
class ConnectedShop:
    """A channel here and one there."""

    vendure: VendureServer
    there: ShopChannel
    database: Database
    storage: Storage

    def connect(self, **options: Any) -> None:
        """Connect the two, or change how they are connected."""
        wish = Wish(channel=CHANNEL, api_url=self.vendure.api, credentials=SUPERADMIN, vendure_channel=self.there.id)
        connect(self.database, replace(wish, **options), by=SOMEBODY)

    def sync(self) -> SyncResult:
        """Take over what is there."""
        return sync(self, CHANNEL, Order())

    def lose_vendure(self) -> None:
        """Let nothing answer where Vendure was."""
        with self.database.write() as tx:
            tx.execute(update(vendure_servers).values(api_url="http://127.0.0.1:9/admin-api"))

    def find_vendure(self) -> None:
        """Let Vendure be where it was, and what waits for it be due now."""
        with self.database.write() as tx:
            tx.execute(update(vendure_servers).values(api_url=self.vendure.api))
            now = clock.now(tx)
            tx.execute(update(vendure_channels).values(mirror_at=now))
            tx.execute(update(vendure_orders).where(vendure_orders.c.next_at.is_not(None)).values(next_at=now))


def make_shop(vendure: VendureServer, database: Database, storage: Storage) -> ConnectedShop:
    """Return a channel here and a new one there, which are not connected yet."""
    with database.write() as tx:
        channels.create(tx, CHANNEL, {}, Stamp(actor="owner", at=clock.now(tx)))
    return ConnectedShop(vendure, vendure.channel("connected"), database, storage)
