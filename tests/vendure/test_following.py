"""Workers that follow Vendure: events at once, everything from time to time, and on after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.engine import open_database
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage
from shelfsight.vendure import rounds, rules, sync, syncs
from shelfsight.vendure.pictures import Pictures
from shelfsight.vendure.syncs import sync_due
from shelfsight.webhooks.rules import headers_of
from tests.vendure.followed import Followed
from tests.vendure.server import TO_CONNECT, jpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from tests.vendure.server import VendureServer

COLOURS = [(number * 20, 99, 255 - number * 20) for number in range(12)]
WAIT_S = 60.0
_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def shop(database: Database, vendure: VendureServer, tmp_path: Path) -> Followed:
    """Two channels that are not connected yet, on both kinds of database."""
    stores = Registry(database=database, storage=open_storage(tmp_path / "assets"))
    return Followed(stores, vendure, vendure.channel())


def until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.05)


def test_a_running_worker_takes_over_what_events_name_and_what_nobody_tells(shop: Followed) -> None:
    tea = shop.product("Tea", [jpeg(COLOURS[0])])
    cup = shop.product("Cup")
    shop.connect()
    with rounds.working(syncs.syncs(shop.stores), every_s=0.05):
        until(lambda: set(shop.products) == {tea, cup})
        until(lambda: shop.state().state.synced_at is not None)
        shop.rename(tea, "Green tea")
        shop.rename(cup, "Mug")
        shop.want(tea)
        until(lambda: shop.products[tea].name == "Green tea")
        assert shop.products[cup].name == "Cup"
        shop.let_be_due()
        until(lambda: shop.products[cup].name == "Mug")
    until(lambda: shop.wanted() == set())


def test_a_signed_event_of_somebody_elses_change_brings_the_product(shop: Followed) -> None:
    tea, cup = shop.product("Tea"), shop.product("Cup")
    shop.connect(credentials=shop.server.administrator(TO_CONNECT, [shop.theirs.id]))
    shop.sync()
    app = build_app(Services(database=shop.stores.database, storage=shop.stores.storage))
    server = shop.state().server
    shop.rename(tea, "Green tea")
    shop.rename(cup, "Mug")

    def tell(product_id: str, user_id: str) -> None:
        change = {"kind": "product", "action": "updated", "productIds": [product_id], "channelIds": None}
        event = {**change, "userId": user_id, "at": "2026-11-20T12:00:00Z"}
        body = json.dumps({"events": [event]}).encode()
        headers = headers_of(server.secret, f"msg_{product_id}", body, shop.now())
        answer = TestClient(app).post(
            f"/api/v1/vendure/{server.id}/events",
            content=body,
            headers={name.decode(): value.decode() for name, value in headers},
        )
        assert answer.status_code == 202, answer.text

    with rounds.working(syncs.syncs(shop.stores), every_s=0.05):
        tell(cup, server.user_id)  # our own
        tell(tea, "1")
        until(lambda: shop.products[tea].name == "Green tea")
    assert shop.products[cup].name == "Cup"


def test_what_an_event_names_during_a_sync_is_looked_at_again(
    shop: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = shop.product("Tea")
    shop.connect()
    shop.sync()
    shop.want(tea)
    plan = rules.plan

    def plan_while_somebody_changes_it(*args: object, **more: object) -> object:
        shop.rename(tea, "Green tea")
        shop.want(tea)
        return plan(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sync, "plan", plan_while_somebody_changes_it)
    shop.sync(named=True)
    monkeypatch.undo()
    assert shop.wanted() == {tea}
    shop.sync(named=True)
    assert shop.products[tea].name == "Green tea"


def test_several_workers_at_once_take_everything_over_once(shop: Followed) -> None:
    ids = {shop.product(f"p{number}", [jpeg(colour)]) for number, colour in enumerate(COLOURS[:6])}
    shop.connect()
    workers = [Thread(target=sync_due, args=(shop.stores, "default")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(shop.products) == ids
    assert len(shop.history()) == 12  # each product once, each picture once
    assert shop.state().state.attempts == 0


def test_a_sync_that_is_killed_is_gone_on_with_and_fetches_nothing_twice(
    shop: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [shop.product(f"p{number}", [jpeg(colour)]) for number, colour in enumerate(COLOURS)]
    shop.connect()
    url = shop.stores.database.engine.url.render_as_string(hide_password=False)
    root = str(shop.stores.storage._root)  # type: ignore[attr-defined]
    child = _SPAWN.Process(target=_sync_until_killed, args=(url, root))
    child.start()
    child.join(WAIT_S)
    assert child.exitcode == -signal.SIGKILL
    before = set(shop.products)
    assert 0 < len(before) < len(ids)
    for product_id in before:  # never half visible
        assert len(shop.pictures(product_id)) == 1

    fetched: list[str] = []
    fetch = Pictures.fetch

    def counted(self: Pictures, address: str) -> bytes:
        fetched.append(address)
        return fetch(self, address)

    monkeypatch.setattr(Pictures, "fetch", counted)
    result = shop.sync()
    assert set(shop.products) == set(ids)
    assert (result.added, len(fetched)) == (len(ids) - len(before), len(ids) - len(before))
    hashes = {picture for product_id in ids for picture in shop.pictures(product_id)}
    assert hashes == {sha256(jpeg(colour)).hexdigest() for colour in COLOURS}


def _sync_until_killed(url: str, root: str) -> None:
    """Sync in small steps; die in the middle of the transaction of the third."""
    from shelfsight.vendure import product_store

    put, seen = product_store.put, []

    def put_and_die(*args: object) -> None:
        put(*args)  # type: ignore[arg-type]
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    product_store.put = put_and_die  # type: ignore[assignment]
    sync.BATCH = sync.FIRST_BATCH = 2  # type: ignore[attr-defined]
    stores = Registry(database=open_database(url), storage=open_storage(root))
    sync.sync(stores, "default", sync.Order())
