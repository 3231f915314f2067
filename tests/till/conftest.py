"""A shop on both kinds of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import ProductDetails
from shelfsight.catalog.store import channels, products
from shelfsight.storage import open_storage
from tests.till.shop import APPLE, BAG, MARIA, PEAR, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    """A server with the channels T_1, which sells apples, pears and bags, and T_2, which sells plums."""
    with database.write() as tx:
        for channel in ("T_1", "T_2"):
            channels.create(tx, channel, {}, MARIA)
        products.put(tx, "T_1", {"apple": APPLE, "pear": PEAR, "bag": BAG}, MARIA)
        products.put(tx, "T_2", {"plum": ProductDetails(name="Plum")}, MARIA)
    return Shop(
        app=build_app(Services(database=database, storage=open_storage(tmp_path / "assets"))), database=database
    )
