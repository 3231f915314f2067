"""`shelfsight vendure orders`, and what `connections` says of them, as somebody types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shelfsight.storage import open_storage
from shelfsight.vendure.orders import place_due
from tests.cli.command import done, run, run_here
from tests.vendure.connected import make_shop
from tests.vendure.test_orders import Till
from tests.vendure.till_channel import count_stock

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database
    from tests.vendure.server import VendureServer


@pytest.fixture
def till(vendure: VendureServer, sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Till:
    """A till in a service that commands find."""
    monkeypatch.setenv("SHELFSIGHT_DATABASE_URL", sqlite.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("SHELFSIGHT_STORAGE_URL", str(tmp_path / "assets"))
    till = Till(make_shop(vendure, sqlite, open_storage(tmp_path / "assets")))
    till.place()
    return till


def listed(*options: str) -> list[tuple[str, str]]:
    """Return the sales that are listed, and their states."""
    found = json.loads(done("vendure", "orders", "T_1", "--json", *options))
    return [(one["saleId"], one["state"]) for one in found]


def test_what_was_refused_is_listed_and_tried_again(till: Till) -> None:
    placed = till.sell()
    till.place()
    count_stock(till.shop.vendure, till.shop.there, till.milk, is_counted=True)
    refused = till.sell()
    till.place()
    assert listed() == [(refused, "refused")]
    assert sorted(listed("--all")) == sorted([(placed, "placed"), (refused, "refused")])
    assert "Milk: " in done("vendure", "orders", "T_1")
    assert "yes, 1 refused" in done("vendure", "connections")
    count_stock(till.shop.vendure, till.shop.there, till.milk, is_counted=False)
    assert listed("--retry", refused) == []
    assert till.placed() == sorted([placed, refused])


def test_trying_again_shows_a_bar_at_a_terminal(till: Till) -> None:
    count_stock(till.shop.vendure, till.shop.there, till.milk, is_counted=True)
    refused = till.sell()
    till.place()
    shown = run("vendure", "orders", "T_1", "--retry", refused, FORCE_COLOR="1")  # as a terminal would
    assert (shown.returncode, "Placing orders" in shown.stderr, "1/1" in shown.stderr) == (0, True, True)
    silent = run("vendure", "orders", "T_1", "--retry", refused)
    assert (silent.returncode, silent.stderr) == (0, "")


def test_what_waits_is_counted(till: Till) -> None:
    till.sell()
    till.shop.lose_vendure()
    place_due(till.shop.database, "T_1")
    assert "yes, 1 wait" in done("vendure", "connections")


def test_a_sale_or_a_channel_that_is_none_is_said(till: Till) -> None:
    assert "waits for no order" in run_here("vendure", "orders", "T_1", "--retry", "sale-9999").stderr
    assert "not connected" in run_here("vendure", "orders", "default").stderr
