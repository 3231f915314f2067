"""A shop with tills: a server, its database, and clients with keys and tokens."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient

from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import channels, products

if TYPE_CHECKING:
    from fastapi import FastAPI

    from shelfsight.database.engine import Database

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
MARIA = Stamp(actor="maria", at=NOW)
APPLE = ProductDetails(name="Apple", sku="A-1", barcodes=("4006381333931",), price=Decimal("0.35"), currency="EUR")
PEAR = ProductDetails(name="Pear", price=Decimal("2.99"), currency="EUR")
BAG = ProductDetails(name="Bag")


@dataclass(frozen=True)
class Shop:
    """A server with the channels T_1, which sells apples, pears and bags, and T_2, which sells plums."""

    app: FastAPI
    database: Database

    def till(self, channel: str = "T_1") -> TestClient:
        """Return a client with the public key of a channel, as every till has it."""
        with self.database.read() as tx:
            return self._client(channels.get(tx, channel).token)

    def client(self, *scopes: str, channel: str | None = None) -> TestClient:
        """Return a client with a token of those scopes."""
        new = NewToken(name="test", scopes=scopes, channel=channel)
        return self._client(create_token(self.database, new, by=COMMAND_LINE).text)

    def nobody(self) -> TestClient:
        """Return a client that says nothing of itself."""
        return TestClient(self.app, raise_server_exceptions=False)

    def change(self, product_id: str, **values: Any) -> None:
        """Change a product of T_1."""
        with self.database.write() as tx:
            products.change(tx, "T_1", product_id, values, stamp=MARIA)  # type: ignore[arg-type]

    def delete(self, product_id: str) -> None:
        """Delete a product of T_1."""
        with self.database.write() as tx:
            products.delete(tx, "T_1", product_id, stamp=MARIA)

    def restore(self, product_id: str) -> None:
        """Take the deletion back."""
        with self.database.write() as tx:
            products.restore(tx, "T_1", product_id, stamp=MARIA)

    def sell(self, *sold: dict[str, Any]) -> list[dict[str, Any]]:
        """Book sales of T_1; return what the till is told."""
        answer = self.till().post(SALES, json={"sales": list(sold)})
        assert answer.status_code == 200, answer.text
        receipts: list[dict[str, Any]] = answer.json()["sales"]
        return receipts

    def sold(self, **query: Any) -> list[dict[str, Any]]:
        """Return the sales of T_1 as its owner sees them."""
        answer = self.client("channel:T_1:read").get(SALES, params=query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def _client(self, token: str) -> TestClient:
        return TestClient(
            self.app,
            raise_server_exceptions=False,
            headers={"authorization": f"Bearer {token}"},
            client=("192.0.2.7", 1),
        )


SALES = "/api/v1/channels/T_1/sales"
PRODUCTS = "/api/v1/channels/T_1/till/products"


def sale(*lines: tuple[str, Any], **values: Any) -> dict[str, Any]:
    """Return a sale as a till sends it, of (product, quantity); with an id of its own unless `values` name one."""
    said = [{"productId": product, "quantity": quantity} for product, quantity in lines or [("apple", 1)]]
    return {"id": str(uuid.uuid4()), "at": "2026-11-20T10:00:00+01:00", "lines": said, **values}
