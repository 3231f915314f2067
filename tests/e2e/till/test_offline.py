"""The till without a network: it opens, recognises and sells, and each sale arrives once, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.client_shop import Fault
from tests.e2e.till.device import (
    check_out,
    is_booked,
    is_kept,
    is_ready,
    lines,
    offers,
    open_till,
    ready_till,
    scan,
    sell,
    send,
    show,
    total,
)
from tests.e2e.till.shop import BARCODES, CHANNEL

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext
    from starlette.types import Scope

    from tests.e2e.till.shop import TillShop

SALES = f"/api/v1/channels/{CHANNEL}/sales"


class LostAnswers:
    """A network on which the answers to so many requests for booking sales are lost: the server has booked them."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, scope: Scope) -> Fault | None:
        """Return what happens to the answer of a request."""
        if scope["path"] != SALES or self.left == 0:
            return None
        self.left -= 1
        return Fault(lose=True)


def test_after_one_visit_it_opens_recognises_and_sells_without_a_network(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    shop.stop()
    page.reload()
    is_ready(page, "Offline")
    for photo in ("pineapple", "banana", "carrots"):
        sell(page, photo)
    expect(page.locator("#queue-words")).to_have_text("3 sales wait to be sent.")
    expect(page.locator("#sold-detail")).to_contain_text("No connection: it is kept on this device")
    shop.start()
    send(page)
    assert shop.sold() == [["pineapple"], ["banana"], ["carrots"]]
    expect(page.locator("#status-words")).to_have_text("Ready")


def test_a_page_that_was_closed_and_opened_without_a_network_is_a_till(
    device: BrowserContext, shop: TillShop
) -> None:
    ready_till(device, shop).close()
    shop.stop()
    page = device.new_page()
    page.goto(f"{shop.address}/till/{CHANNEL}")
    is_ready(page, "Offline")
    show(page, "lemon")
    expect(offers(page).first).to_contain_text("Lemon")


def test_a_sale_whose_answer_is_lost_arrives_once(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.network.trouble = lost = LostAnswers(1)
    sell(page, "banana")
    send(page)
    assert lost.left == 0
    assert shop.sold() == [["banana"]]
    is_booked(page)


def test_offline_sales_arrive_once_when_the_answer_to_the_first_try_is_lost(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    shop.stop()
    sell(page, "pineapple")
    sell(page, "banana")
    sell(page, "carrots")
    shop.network.trouble = lost = LostAnswers(2)
    shop.start()
    send(page)
    assert lost.left == 0
    assert shop.sold() == [["pineapple"], ["banana"], ["carrots"]]


def test_sales_of_a_tab_that_was_closed_in_between_arrive_once(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.stop()
    sell(page, "pineapple")
    sell(page, "banana")
    sell(page, "carrots")
    page.close()
    shop.network.trouble = lost = LostAnswers(1)
    shop.start()
    page = device.new_page()
    page.goto(f"{shop.address}/till/{CHANNEL}")
    is_ready(page)
    send(page)
    assert lost.left == 0
    assert shop.sold() == [["pineapple"], ["banana"], ["carrots"]]


def test_sales_of_two_tabs_arrive_once_each(device: BrowserContext, shop: TillShop) -> None:
    first = ready_till(device, shop)
    second = device.new_page()
    second.goto(f"{shop.address}/till/{CHANNEL}")
    is_ready(second)
    shop.stop()
    sell(first, "pineapple")
    sell(second, "banana")
    sell(first, "carrots")
    expect(second.locator("#queue-words")).to_have_text("3 sales wait to be sent.")
    shop.network.trouble = LostAnswers(1)
    shop.start()
    send(first)
    send(second)
    assert shop.sold() == [["pineapple"], ["banana"], ["carrots"]]


def test_two_tabs_have_one_basket(device: BrowserContext, shop: TillShop) -> None:
    first = ready_till(device, shop)
    second = device.new_page()
    second.goto(f"{shop.address}/till/{CHANNEL}")
    is_ready(second)
    scan(first, BARCODES["banana"])
    expect(lines(second)).to_have_count(1)
    scan(second, BARCODES["lemon"])
    expect(lines(first)).to_have_count(2)
    check_out(first)
    is_booked(first)
    expect(lines(second)).to_have_count(0)
    assert shop.sold() == [["banana", "lemon"]]


def test_a_basket_that_was_sold_when_the_page_was_killed_is_not_sold_again(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    scan(page, BARCODES["banana"])
    key = f"shelfsight till {CHANNEL} basket"
    basket = page.evaluate("key => localStorage.getItem(key)", key)
    check_out(page)
    is_booked(page)
    page.evaluate("([key, basket]) => localStorage.setItem(key, basket)", [key, basket])  # as it was just before
    page.reload()
    is_ready(page)
    expect(page.get_by_role("button", name="Check out")).to_be_disabled()
    assert shop.sold() == [["banana"]]


def test_the_basket_is_there_after_a_reload(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    scan(page, BARCODES["banana"])
    scan(page, BARCODES["lemon"])
    scan(page, BARCODES["banana"])
    before = total(page)
    shop.stop()
    page.reload()
    is_ready(page, "Offline")
    expect(lines(page)).to_have_count(2)
    assert total(page) == before == "€0.97"


def test_the_101st_sale_is_refused_with_words_and_nothing_of_the_others_is_lost(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    shop.stop()
    for _ in range(100):
        scan(page, BARCODES["banana"])
        check_out(page)
    expect(page.locator("#queue-words")).to_have_text("100 sales wait to be sent. Room for 0 more.")
    scan(page, BARCODES["lemon"])
    page.get_by_role("button", name="Check out").click()
    expect(page.locator("#checkout-problem")).to_contain_text("100 sales are waiting to be sent")
    expect(lines(page)).to_have_count(1)
    shop.start()
    send(page)
    check_out(page)
    send(page)
    sold = shop.sold()
    assert (len(sold), sold[:100], sold[100:]) == (101, [["banana"]] * 100, [["lemon"]])


def test_a_refused_sale_is_shown_with_what_to_do_and_can_be_mended(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.stop()
    scan(page, BARCODES["lemon"])
    scan(page, BARCODES["banana"])
    check_out(page)
    shop.remove("lemon")
    shop.start()
    page.locator("#queue").click()
    expect(page.locator(".refusal-reason")).to_have_text("Product not found: Lemon")
    expect(page.locator(".refusal-lines")).to_have_text("1 × Lemon, 1 × Bananas")
    expect(page.locator("#sold-words")).to_have_text("Sale refused")
    page.get_by_role("button", name="Put back into the basket").click()
    expect(lines(page)).to_have_count(2)
    page.get_by_role("button", name="Remove Lemon").click()
    check_out(page)
    send(page)
    assert shop.sold() == [["banana"]]


def test_a_refused_sale_can_be_tried_again_with_the_keyboard(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    scan(page, BARCODES["lemon"])
    shop.remove("lemon")
    page.get_by_role("button", name="Check out").click()
    page.locator("#queue").click()
    again = page.locator("dialog").get_by_role("button", name="Try again")
    again.press("Enter")
    expect(page.locator("#sales-words")).to_have_text("1 sale was refused: look at it.")
    expect(page.locator("#sales-title")).to_be_focused()
    expect(again).to_have_count(1)
    shop.restore("lemon")
    again.press("Enter")
    expect(page.locator("#sales-words")).to_have_text("All sales are sent.")
    expect(again).to_have_count(0)
    expect(page.locator("#queue")).to_be_hidden()
    assert shop.sold() == [["lemon"]]


@pytest.mark.parametrize("status", [200, 405, 451])
def test_a_captive_portal_refuses_no_sale(device: BrowserContext, shop: TillShop, status: int) -> None:
    page = ready_till(device, shop)
    shop.network.trouble = lambda scope: Fault(status=status) if scope["path"] == SALES else None
    sell(page, "banana")
    sell(page, "pineapple")
    expect(page.locator("#queue-words")).to_have_text("2 sales wait to be sent.")
    shop.network.trouble = lambda _scope: None
    send(page)
    assert shop.sold() == [["banana"], ["pineapple"]]


def test_a_sale_that_nobody_wants_can_be_forgotten(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    scan(page, BARCODES["lemon"])
    shop.remove("lemon")
    page.get_by_role("button", name="Check out").click()
    expect(page.locator("#queue-words")).to_have_text("1 sale was refused: look at it")
    page.locator("#queue").click()
    page.get_by_role("button", name="Forget this sale").click()
    expect(page.locator("#sales-words")).to_have_text("All sales are sent.")
    assert shop.sold() == []


def test_a_logout_keeps_unsent_sales_says_so_and_the_next_login_sends_them(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    shop.stop()
    sell(page, "banana")
    sell(page, "pineapple")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#ask-words")).to_contain_text("2 sales are not sent yet: they stay")
    page.locator("#ask-yes").click()
    expect(page.locator("#login-told")).to_contain_text("2 sales are not sent yet: they stay on this device")
    assert page.evaluate("JSON.stringify(localStorage)").count("ck_") == 0
    shop.start()
    page.locator("#link").fill(shop.link())
    page.get_by_role("button", name="Log in").click()
    is_ready(page)
    send(page)
    assert shop.sold() == [["banana"], ["pineapple"]]


def test_clearing_the_cache_keeps_sales_and_basket_and_downloads_anew(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.stop()
    sell(page, "banana")
    scan(page, BARCODES["lemon"])
    shop.start()
    shop.network.log.clear()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Clear the cache").click()
    page.locator("#ask-yes").click()
    is_ready(page)
    send(page)
    assert len(shop.network.seen("/blobs/")) > 0
    expect(lines(page)).to_have_count(1)
    assert shop.sold() == [["banana"]]


def test_the_service_worker_keeps_nothing_of_the_api(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    sell(page, "banana")
    is_booked(page)
    kept = page.evaluate(
        """async () => {
          const all = await Promise.all((await caches.keys()).map(async (name) => (await caches.open(name)).keys()))
          return all.flat().map(({ url }) => new URL(url).pathname)
        }"""
    )
    assert {path.split("/")[1] for path in kept} == {"static", "till"}
    assert [path for path in kept if path.startswith("/till")] == [f"/till/{CHANNEL}"]


@pytest.mark.parametrize("moment", ["page", "script"])
def test_a_server_that_goes_during_the_first_visit_leaves_a_page_that_says_so(
    device: BrowserContext, shop: TillShop, moment: str
) -> None:
    shop.network.trouble = lambda scope: Fault(status=503) if "/blobs/" in scope["path"] else None
    page = open_till(device, shop)
    is_kept(page)
    shop.stop()
    if moment == "page":
        page.reload()
    expect(page.locator("#lacking-words")).to_contain_text("connect", ignore_case=True, timeout=60_000)
    shop.network.trouble = lambda _scope: None
    shop.start()
    page.get_by_role("button", name="Try again").click()
    is_ready(page)
