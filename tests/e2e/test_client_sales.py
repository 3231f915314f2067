"""Sales, products and logout of the browser client in Chromium, against a real server behind a bad network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browser import missing
from tests.e2e.client_shop import CHANNEL, Fault, only, tiny
from tests.e2e.client_tab import open_client, ready_with, sync, tab, until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page
    from starlette.types import Scope

    from tests.e2e.client_shop import ClientShop

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

SELL = "shelf.client.salesQueue.put({ at: new Date().toISOString(), lines: [{ productId: '%s', quantity: 1 }] })"
OUTCOME = "shelf.client.salesQueue.outcome()"


def test_three_sales_without_the_server_arrive_once_each_when_it_is_back(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.stop()
    sold = [sell(page, product) for product in ("apple", "birne", "apple")]
    outcome = page.evaluate("shelf.client.salesQueue.send()")
    assert outcome["words"] == "No connection: sales are sent when it is back. 3 sales wait to be sent."
    client_shop.start()
    assert page.evaluate("shelf.client.salesQueue.send()")["words"] == "All sales are sent."
    assert booked(client_shop) == sorted(sold)


def test_a_sale_whose_answer_was_lost_is_booked_once(device: BrowserContext, client_shop: ClientShop) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    lost: list[Scope] = []

    def lose(scope: Scope) -> Fault | None:
        if not scope["path"].endswith("/sales") or len(lost) == 2:
            return None
        lost.append(scope)
        return Fault(lose=True)

    client_shop.network.trouble = lose
    sold = sell(page, "apple")
    until(page, "shelf.client.salesQueue.send().then(({ waiting }) => waiting === 0)")
    assert booked(client_shop) == [sold]
    assert len(client_shop.network.seen("/sales")) >= 3


def test_a_tab_that_is_closed_while_it_sells_leaves_the_sale_to_the_next(
    device: BrowserContext, client_shop: ClientShop
) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    arrived = threading.Event()
    never = threading.Event()

    def hold(scope: Scope) -> Fault | None:
        if not scope["path"].endswith("/sales"):
            return None
        arrived.set()
        return Fault(hold=never)

    client_shop.network.trouble = hold
    sold = sell(page, "apple")
    assert arrived.wait(30)
    page.close()
    never.set()
    client_shop.network.trouble = lambda _scope: None
    page = tab(device, client_shop)
    open_client(page, client_shop)
    until(page, "shelf.client.salesQueue.outcome().then(({ waiting }) => waiting === 0)")
    assert booked(client_shop) == [sold]


def test_of_two_tabs_one_sends_each_sale(device: BrowserContext, client_shop: ClientShop) -> None:
    first, second = tab(device, client_shop), tab(device, client_shop)
    client_shop.network.trouble = only("/sales", lambda: Fault(status=503))
    for page in (first, second):
        open_client(page, client_shop)
    sold = [sell(page, "apple") for page in (first, second) for _ in range(15)]
    for page in (first, second):
        until(page, "shelf.salesChanges >= 30")
    client_shop.network.trouble = lambda _scope: None
    client_shop.network.log.clear()
    for page in (first, second):
        page.evaluate("void shelf.client.salesQueue.send()")
    until(first, "shelf.client.salesQueue.outcome().then(({ waiting }) => waiting === 0)")
    assert booked(client_shop) == sorted(sold)
    assert len(client_shop.network.seen("/sales")) == 2  # of 25 and of 5


def test_the_101st_sale_without_the_server_is_refused_and_none_of_the_hundred_is_lost(
    device: BrowserContext, client_shop: ClientShop
) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    sync(page)
    client_shop.stop()
    words = page.evaluate(
        f"""async () => {{
          for (let number = 0; number < 100; number += 1) await {SELL % "apple"}
          return {SELL % "apple"}.then(() => 'it was kept', (error) => `${{error.name}}: ${{error.message}}`)
        }}"""
    )
    assert words.startswith("QueueFullError: 100 sales are waiting")
    client_shop.start()
    assert page.evaluate("shelf.client.salesQueue.send()")["waiting"] == 0
    assert len(booked(client_shop)) == 100


def test_a_sale_of_what_is_not_sold_is_set_aside_with_the_server_s_words(
    device: BrowserContext, client_shop: ClientShop
) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    client_shop.network.trouble = only("/sales", lambda: Fault(status=503))
    sold = [sell(page, product) for product in ("apple", "unknown", "birne")]
    client_shop.network.trouble = lambda _scope: None
    until(page, "shelf.client.salesQueue.send().then(({ waiting }) => waiting === 0)")
    [refused] = page.evaluate(OUTCOME)["refused"]
    assert refused["id"] == sold[1]
    assert "names product 'unknown'" in refused["reason"]
    assert booked(client_shop) == sorted([sold[0], sold[2]])


def test_without_a_token_sales_stay_and_it_says_log_in(device: BrowserContext, client_shop: ClientShop) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop, token="ck_unknown")
    sell(page, "apple")
    words = page.evaluate("shelf.client.salesQueue.send()")["words"]
    assert words == "Log in again, so that sales can be sent. 1 sale waits to be sent."
    page.evaluate("shelf.client.close()")
    open_client(page, client_shop)
    until(page, "shelf.client.salesQueue.outcome().then(({ waiting }) => waiting === 0)")
    assert len(booked(client_shop)) == 1


def test_the_product_list_is_asked_for_by_its_tag_and_goes_on_without_the_server(
    device: BrowserContext, client_shop: ClientShop
) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    names = "shelf.client.productList().then(({ products }) => products.map(({ id }) => id).sort())"
    assert page.evaluate(names) == ["apple", "birne", "ця груша"]
    assert page.evaluate(names) == ["apple", "birne", "ця груша"]
    assert [one.status for one in client_shop.network.seen("/till/products")] == [200, 304]
    client_shop.sell_no_more("birne")
    assert page.evaluate(names) == ["apple", "ця груша"]
    client_shop.stop()
    page.evaluate("shelf.client.close()")
    open_client(page, client_shop)
    assert page.evaluate(names) == ["apple", "ця груша"]
    assert page.evaluate("shelf.client.productList().then(({ search }) => search.find('ГРУ')[0].id)") == "ця груша"


def test_a_logout_empties_the_cache_and_keeps_what_is_not_sold_yet(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    page.evaluate("shelf.client.productList()")
    client_shop.network.trouble = only("/sales", lambda: Fault(status=503))
    sold = sell(page, "apple")
    left = page.evaluate("shelf.client.logout()")
    assert left["unsentSales"] == 1
    assert left["words"].endswith(
        "1 sale is not sent yet: it stays on this device and will be sent after the next login."
    )
    [tables] = page.evaluate("shelf.stored()").values()
    assert {name for name, keys in tables.items() if keys} == {"sales", "state"}
    assert tables["state"] == ["askedToPersist", "device"]
    page.evaluate("shelf.recogniser.recognise(shelf.picture('red')).then(() => null, (error) => error.name)")
    client_shop.network.trouble = lambda _scope: None
    open_client(page, client_shop)
    until(page, "shelf.client.salesQueue.outcome().then(({ waiting }) => waiting === 0)")
    assert booked(client_shop) == [sold]
    assert sync(page)["version"] == "1.0.0"


def test_a_logout_in_one_tab_is_one_in_all(device: BrowserContext, client_shop: ClientShop, tmp_path: Path) -> None:
    first = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    second = tab(device, client_shop)
    open_client(second, client_shop)
    sync(second)
    first.evaluate("shelf.client.logout()")
    until(second, "shelf.client.state.name === 'error'")
    assert "log in again" in second.evaluate("shelf.client.state.words")


def test_clear_begins_anew_and_keeps_what_is_not_sold_yet(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.network.trouble = only("/sales", lambda: Fault(status=503))
    sell(page, "apple")
    assert page.evaluate("shelf.client.clear()")["unsentSales"] == 1
    until(page, "shelf.client.state.name === 'ready'")
    assert len(client_shop.network.seen("/blobs/")) > 0
    until(page, "shelf.recogniser.version === '1.0.0'")
    assert page.evaluate(OUTCOME)["waiting"] == 1


def sell(page: Page, product: str) -> str:
    """Put a sale into the queue; return its id."""
    sold: str = page.evaluate(SELL % product)
    return sold


def booked(shop: ClientShop) -> list[str]:
    """Return the ids of the sales that the server has, each as often as it was booked."""
    rows: list[dict[str, Any]] = shop.rows(f"SELECT id FROM sales WHERE channel_id = '{CHANNEL}' ORDER BY id")
    return [row["id"] for row in rows]
