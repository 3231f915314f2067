"""The example shop on a real server, with its recogniser published, behind a network that may be bad or gone."""

from __future__ import annotations

import csv
import shutil
import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from shelfsight.access.keys import config_keys
from shelfsight.access.limits import RequestLimits
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import channels, products
from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.storage import open_storage
from shelfsight.till import store as sales
from shelfsight.till.rules import Period
from tests.e2e.client_shop import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.till.rules import Sale

CHANNEL = "corner-shop"
EMPTY_CHANNEL = "new-shop"
"""Has products, and nothing that recognises them."""
EXAMPLES = Path(__file__).parents[3] / "examples"
BARCODES = {
    "banana": "4011",
    "lemon": "4053",
    "oatly-oat-milk": "7394376616037",
    "arla-standard-milk": "7310865004703",
}
OWNER = Stamp(actor="owner", at=datetime(2026, 11, 20, tzinfo=UTC))
GIFT = "gift"
"""A product without a price."""


def make_shop(folder: Path, bundle: Path) -> Path:
    """Make a shop in a folder, with a bundle published; return the folder, to be copied."""
    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    migrate.prepare(database)
    storage = open_storage(folder / "assets")
    with database.write() as tx:
        for channel in (CHANNEL, EMPTY_CHANNEL):
            channels.create(tx, channel, {}, OWNER)
            products.put(tx, channel, _catalogue(), OWNER)
    publish(Registry(database=database, storage=storage), Order(folder=bundle, channel=CHANNEL))
    config_keys(database)
    database.close()
    return folder


class TillShop:
    """A shop that is open, on a port that stays the same."""

    def __init__(self, made: Path, folder: Path) -> None:
        """Open a copy of a shop that was made."""
        shutil.copytree(made, folder, symlinks=True)
        self.database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
        self._storage = open_storage(folder / "assets")
        services = Services(database=self.database, storage=self._storage, limits=RequestLimits(0))
        self.network = Network(app=build_app(services), pages=folder)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, channel: str = CHANNEL) -> str:
        """Return the public key of a channel."""
        with self.database.read() as tx:
            return channels.get(tx, channel).token

    def link(self, channel: str = CHANNEL, address: str | None = None) -> str:
        """Return the pairing link of a channel."""
        keys = ",".join(key.id for key in config_keys(self.database))
        return f"{address or self.address}/till/{channel}#token={self.token(channel)}&keys={keys}"

    def publish(self, bundle: Path) -> str:
        """Publish a bundle as the next version, and return its number."""
        registry = Registry(database=self.database, storage=self._storage)
        return publish(registry, Order(folder=bundle, channel=CHANNEL)).version

    def rename(self, name: str) -> None:
        """Call the channel something else."""
        with self.database.write() as tx:
            channels.change(tx, CHANNEL, {"name": name}, stamp=OWNER)

    def rotate_token(self) -> None:
        """Give the channel another public key."""
        with self.database.write() as tx:
            channels.rotate_token(tx, CHANNEL, OWNER)

    def start(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.network, log_level="critical", ws="none", timeout_graceful_shutdown=1, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the server ended before it started"

    def stop(self) -> None:
        """Be gone."""
        self.network.release()
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()
        self._server = self._thread = None

    def close(self) -> None:
        """Be gone for ever."""
        self.stop()
        self.database.close()

    def sales(self, channel: str = CHANNEL) -> list[Sale]:
        """Return all sales that are booked, the first one first."""
        with self.database.read() as tx:
            return sales.page(tx, channel, Period(), limit=1000, oldest_first=True)

    def sold(self, channel: str = CHANNEL) -> list[list[str]]:
        """Return the products of each sale, the first one first."""
        return [[line.product_id for line in sale.lines] for sale in self.sales(channel)]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what devices have reported of a kind."""
        with self.database.read() as tx:
            rows = tx.exec_driver_sql("SELECT * FROM events WHERE kind = ?", (kind,)).mappings()
            return [dict(row) for row in rows]

    def remove(self, *product_ids: str) -> None:
        """Take products out of the shop."""
        with self.database.write() as tx:
            for product_id in product_ids:
                products.delete(tx, CHANNEL, product_id, stamp=OWNER)

    def restore(self, product_id: str) -> None:
        """Put a product back into the shop."""
        with self.database.write() as tx:
            products.restore(tx, CHANNEL, product_id, stamp=OWNER)


def photos(*names: str) -> Sequence[Path]:
    """Return photos that the recogniser has never seen."""
    return [EXAMPLES / "try" / f"{name}.jpg" for name in names]


def _catalogue() -> dict[str, ProductDetails]:
    with (EXAMPLES / "corner-shop.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {
        row["id"]: ProductDetails(
            name=row["name"],
            sku=row["sku"],
            price=Decimal(row["price"]),
            currency=row["currency"],
            barcodes=(BARCODES[row["id"]],) if row["id"] in BARCODES else (),
        )
        for row in rows
    }
    return {**found, GIFT: ProductDetails(name="Gift wrapping", sku="GIFT-1")}
