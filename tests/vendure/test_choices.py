"""What the shop chooses in Vendure about trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.catalog.rules import RetrainTrigger
from shelfsight.catalog.store import channels
from shelfsight.storage import open_storage
from shelfsight.vendure.rules import chosen
from tests.vendure.connected import CHANNEL, ConnectedShop, make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.catalog.rules import ChannelSettings
    from shelfsight.database.engine import Database
    from tests.vendure.server import VendureServer

CHOOSE = "mutation($input: UpdateChannelInput!) { updateChannel(input: $input) { __typename } }"


@pytest.fixture
def shop(vendure: VendureServer, database: Database, tmp_path: Path) -> ConnectedShop:
    """A channel that is connected."""
    shop = make_shop(vendure, database, open_storage(tmp_path / "assets"))
    shop.connect()
    return shop


def settings(shop: ConnectedShop) -> ChannelSettings:
    """Return the settings of the channel here."""
    with shop.database.read() as tx:
        return channels.get(tx, CHANNEL).settings


def test_what_the_shop_chooses_there_holds_here_after_a_sync(shop: ConnectedShop) -> None:
    assert settings(shop).model_auto_retrain_enabled
    wanted = {"modelAutoRetrainEnabled": False, "modelRetrainTriggers": ["schedule", "product-added"]}
    shop.vendure.ask(CHOOSE, input={"id": shop.there.id, "customFields": wanted})
    shop.sync()
    found = settings(shop)
    assert not found.model_auto_retrain_enabled
    assert found.model_retrain_triggers == {RetrainTrigger.SCHEDULE, RetrainTrigger.PRODUCT_ADDED}


def test_a_choice_that_stays_is_no_change(shop: ConnectedShop) -> None:
    shop.sync()
    with shop.database.read() as tx:
        before = channels.get(tx, CHANNEL)
    shop.sync()
    with shop.database.read() as tx:
        assert channels.get(tx, CHANNEL) == before


def test_what_is_not_set_or_not_known_there_changes_nothing_here() -> None:
    assert chosen({"modelAutoRetrainEnabled": None, "modelRetrainTriggers": None}) == {}
    assert chosen({"modelAutoRetrainEnabled": True, "modelRetrainTriggers": ["full-moon"]}) == {
        "model_auto_retrain_enabled": True,
        "model_retrain_triggers": frozenset(),
    }
