"""Selling with the till: answers, basket, search, scanner, corrections, and what is said where something lacks."""

from __future__ import annotations

import re
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.e2e.client_shop import Fault
from tests.e2e.till.device import (
    ASKED,
    KNOWN,
    NO_MODEL,
    check_out,
    is_booked,
    is_ready,
    lines,
    offers,
    open_till,
    ready_till,
    scan,
    show,
    total,
    until,
)
from tests.e2e.till.shop import BARCODES, CHANNEL, EMPTY_CHANNEL, GIFT

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.till.shop import TillShop


@pytest.fixture
def page(device: BrowserContext, shop: TillShop) -> Page:
    """A till that is ready."""
    return ready_till(device, shop)


def search(page: Page, query: str) -> None:
    """Type into the search."""
    page.get_by_role("button", name="Search products").click()
    page.locator("#query").fill(query)


def put(page: Page, query: str) -> None:
    """Put the first product that is found into the basket."""
    search(page, query)
    page.get_by_role("option").first.click()
    expect(page.locator("#search")).to_be_hidden()


def test_a_tap_on_an_answer_is_in_the_basket_before_the_next_frame(page: Page) -> None:
    show(page, "pineapple")
    expect(page.get_by_role("heading", name=KNOWN)).to_be_visible()
    seen = page.evaluate(
        """() => {
          document.querySelector('.offer').click()
          const added = document.querySelector('.offer').hasAttribute('data-added')
          return [document.querySelectorAll('#lines .line').length, added]
        }"""
    )
    assert seen == [1, True]
    expect(lines(page)).to_contain_text("Pineapple")
    assert total(page) == "€2.49"


def test_below_the_threshold_the_till_asks_and_reports_no_correction(page: Page, shop: TillShop) -> None:
    show(page, "watermelon")
    expect(page.get_by_role("heading", name=ASKED)).to_be_visible()
    expect(offers(page)).to_have_count(3)
    offers(page).nth(1).click()
    expect(lines(page)).to_have_count(1)
    offers(page).first.click()
    assert _reported(page, shop, kind="prediction") == []


def test_another_product_than_the_answer_is_reported_as_a_correction(page: Page, shop: TillShop) -> None:
    show(page, "pineapple")
    page.get_by_role("button", name="This is another product").click()
    page.locator("#query").fill("oat")
    page.get_by_role("option", name="Oatly oat drink").click()
    expect(lines(page)).to_contain_text("Oatly oat drink")
    [event] = _reported(page, shop)
    assert (event["product_id"], event["correct_product_id"]) == ("pineapple", "oatly-oat-milk")
    assert 0.5 < event["confidence"] <= 1


def test_the_second_answer_instead_of_the_first_is_a_correction_too(page: Page, shop: TillShop) -> None:
    show(page, "pineapple")
    second = offers(page).nth(1).locator(".offer-name").inner_text()
    offers(page).nth(1).click()
    expect(lines(page)).to_contain_text(second)
    [event] = _reported(page, shop)
    assert event["product_id"] == "pineapple"


def test_what_left_the_shop_is_not_offered(device: BrowserContext, shop: TillShop) -> None:
    shop.remove("pineapple")
    page = ready_till(device, shop)
    show(page, "pineapple")
    expect(page.get_by_role("heading", name=ASKED)).to_be_visible()
    expect(offers(page)).to_have_count(3)
    expect(page.locator("#offers")).not_to_contain_text("Pineapple")


def test_the_camera_recognises_by_itself_and_is_off_when_nobody_looks(device: BrowserContext, shop: TillShop) -> None:
    device.grant_permissions(["camera"])
    device.add_init_script(
        """const release = async () => (awake = false)
        if (navigator.wakeLock) navigator.wakeLock.request = async () => (globalThis.awake = true, { release })"""
    )
    page = ready_till(device, shop)
    page.get_by_role("button", name="Start camera").click()
    expect(offers(page).first).to_contain_text("Pineapple")
    assert page.evaluate("awake")
    _hide(page, hidden=True)
    expect(page.locator("#stage")).to_have_attribute("data-state", "empty")
    assert page.evaluate("[document.querySelector('#video').srcObject, awake]") == [None, False]
    _hide(page, hidden=False)
    expect(offers(page).first).to_contain_text("Pineapple")
    assert page.evaluate("awake")
    page.get_by_role("button", name="Stop camera").click()
    expect(offers(page)).to_have_count(0)


def test_the_screen_reader_is_told_an_answer_once_however_often_it_comes(
    device: BrowserContext, shop: TillShop
) -> None:
    device.grant_permissions(["camera"])
    device.add_init_script(
        """globalThis.pictures = 0
        const read = CanvasRenderingContext2D.prototype.getImageData
        CanvasRenderingContext2D.prototype.getImageData = function (...area) {
          globalThis.pictures += 1
          return read.apply(this, area)
        }"""
    )
    page = ready_till(device, shop)
    page.evaluate(
        """() => {
          globalThis.said = []
          const place = document.querySelector('#announcement')
          new MutationObserver(() => said.push(place.textContent)).observe(place, { childList: true })
        }"""
    )
    page.get_by_role("button", name="Start camera").click()
    expect(offers(page).first).to_contain_text("Pineapple")
    seen = page.evaluate("pictures")
    until(page, lambda: bool(page.evaluate("pictures") >= seen + 6))
    [said] = page.evaluate("said")
    assert said.startswith("Pineapple, €2.49, ")


def test_what_was_said_of_a_picture_is_taken_back_with_it(page: Page, tmp_path: Path) -> None:
    show(page, "watermelon")
    expect(page.locator("#announcement")).to_have_text(re.compile(r"^Not sure\. Could it be "))
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    page.locator("#file").set_input_files(tmp_path / "broken.jpg")
    expect(page.locator("#advice")).to_contain_text("That is no photo")
    expect(page.locator("#announcement")).to_have_text("")


def test_a_camera_that_ran_runs_again_after_a_reload(device: BrowserContext, shop: TillShop) -> None:
    device.grant_permissions(["camera"])
    page = ready_till(device, shop)
    page.get_by_role("button", name="Start camera").click()
    expect(offers(page).first).to_contain_text("Pineapple")
    page.reload()
    expect(offers(page).first).to_contain_text("Pineapple", timeout=60_000)
    page.get_by_role("button", name="Stop camera").click()
    page.reload()
    is_ready(page)
    expect(page.get_by_role("button", name="Start camera")).to_be_visible()


def test_answers_that_change_move_nothing(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    page.evaluate(
        """() => {
          globalThis.shift = 0
          const add = (list) => list.getEntries().forEach(({ value }) => (shift += value))
          new PerformanceObserver(add).observe({ type: 'layout-shift' })
        }"""
    )
    places = []
    for photo in ("pineapple", "watermelon", "banana", "oatly-oat-milk"):
        page.locator("#answers").evaluate("answers => (answers.dataset.state = 'waiting')")
        show(page, photo)
        places.append(
            page.evaluate(
                """() => Array.from(document.querySelectorAll('#till section, #till button'), (node) => {
                  const { x, y, width, height } = node.getBoundingClientRect()
                  return [node.id || node.className, x, y, width, height]
                })"""
            )
        )
    assert places == [places[0]] * 4
    page.wait_for_timeout(100)
    assert page.evaluate("shift") < 0.001  # a word that is longer than the one before


def test_quantities_are_counted_typed_and_taken_back(page: Page) -> None:
    scan(page, BARCODES["lemon"])
    scan(page, BARCODES["banana"])
    page.get_by_role("button", name="One more Lemon").click()
    page.get_by_role("button", name="One more Lemon").click()
    page.get_by_role("button", name="One less Lemon").click()
    expect(page.get_by_label("Quantity of Lemon")).to_have_value("2")
    page.get_by_label("Quantity of Bananas").fill("0,347")
    page.get_by_label("Quantity of Bananas").press("Enter")
    assert total(page) == "€0.88"
    page.get_by_role("button", name="One less Bananas").click()
    expect(lines(page)).to_have_count(1)
    expect(page.locator("#removed")).to_contain_text("Bananas removed")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Quantity of Bananas")).to_have_value("0.347")
    assert total(page) == "€0.88"


@pytest.mark.parametrize("typed", ["two", "1.2345", "100001", "-1", ""])
def test_a_quantity_that_is_none_is_not_taken(page: Page, typed: str) -> None:
    scan(page, BARCODES["lemon"])
    page.get_by_label("Quantity of Lemon").fill(typed)
    page.get_by_label("Quantity of Lemon").press("Enter")
    expect(page.locator("#toast")).to_contain_text("A quantity is more than 0")
    expect(page.get_by_label("Quantity of Lemon")).to_have_value("1")


def test_a_quantity_of_nothing_removes_the_product(page: Page) -> None:
    scan(page, BARCODES["lemon"])
    page.get_by_label("Quantity of Lemon").fill("0")
    page.get_by_label("Quantity of Lemon").press("Enter")
    expect(lines(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Check out")).to_be_disabled()


def test_an_emptied_basket_can_be_taken_back(page: Page) -> None:
    scan(page, BARCODES["lemon"])
    scan(page, BARCODES["banana"])
    page.get_by_role("button", name="Empty").click()
    expect(lines(page)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(lines(page)).to_have_count(2)


def test_what_is_sold_is_booked_at_the_shown_prices(page: Page, shop: TillShop) -> None:
    scan(page, BARCODES["oatly-oat-milk"])
    page.get_by_label("Quantity of Oatly oat drink").fill("2.5")
    page.get_by_label("Quantity of Oatly oat drink").press("Enter")
    put(page, "gift")
    expect(page.locator("#basket-count")).to_have_text("2 products, 1 without a price")
    shown = total(page)
    check_out(page)
    is_booked(page)
    [sale] = shop.sales()
    assert [(line.product_id, line.quantity) for line in sale.lines] == [
        ("oatly-oat-milk", Decimal("2.5")),
        (GIFT, Decimal(1)),
    ]
    amounts = [line.amount for line in sale.lines]
    assert (shown, amounts[1]) == (f"€{amounts[0]}", None)
    assert sale.model_version == "1.0.0"
    assert sale.device is not None
    assert re.fullmatch("till-[0-9a-f]{6}", sale.device)


def test_the_button_twice_is_one_sale(page: Page, shop: TillShop) -> None:
    scan(page, BARCODES["lemon"])
    page.get_by_role("button", name="Check out").evaluate("button => { button.click(); button.click() }")
    is_booked(page)
    assert shop.sold() == [["lemon"]]


@pytest.mark.parametrize(("query", "found"), [("oat", "Oatly oat drink"), ("FRU-003", "Lemon"), ("4011", "Bananas")])
def test_products_are_found_by_name_sku_and_barcode(page: Page, query: str, found: str) -> None:
    search(page, query)
    expect(page.get_by_role("option").first).to_contain_text(found)
    page.keyboard.press("Enter")
    expect(lines(page)).to_contain_text(found)


def test_what_is_not_found_is_said(page: Page) -> None:
    search(page, "caviar")
    expect(page.locator("#search-words")).to_have_text("Nothing found for “caviar”.")
    page.keyboard.press("Enter")
    expect(page.locator("#search")).to_be_visible()


def test_a_scanner_that_types_puts_products_into_the_basket(page: Page) -> None:
    page.get_by_role("button", name="Settings").focus()
    scan(page, BARCODES["banana"])
    scan(page, "FRU-003")
    expect(lines(page)).to_have_count(2)
    expect(page.locator("#settings")).to_be_hidden()  # the Enter of the scanner presses no button
    expect(page.locator("#toast")).to_have_text("Added: Lemon, €0.39")


def test_a_scanner_leaves_nothing_in_the_field_it_types_into(page: Page) -> None:
    scan(page, BARCODES["lemon"])
    page.get_by_label("Quantity of Lemon").focus()
    scan(page, BARCODES["banana"])
    expect(lines(page)).to_have_count(2)
    expect(page.get_by_label("Quantity of Lemon")).to_have_value("1")
    search(page, "app")
    scan(page, BARCODES["oatly-oat-milk"])
    expect(page.locator("#search")).to_be_hidden()
    expect(lines(page)).to_have_count(3)


def test_a_code_that_no_product_has_is_said(page: Page) -> None:
    scan(page, "9999999999999")
    expect(page.locator("#toast")).to_have_text("No product has the code 9999999999999.")
    expect(lines(page)).to_have_count(0)
    search(page, "")
    scan(page, "9999999999999")
    expect(page.locator("#search-words")).to_have_text("Nothing found for “9999999999999”.")


def test_a_channel_without_a_model_says_so_and_sells_by_search(device: BrowserContext, shop: TillShop) -> None:
    page = open_till(device, shop, EMPTY_CHANNEL)
    expect(page.get_by_text(NO_MODEL)).to_be_visible()
    expect(page.locator("#status-words")).to_have_text("Without camera")
    page.locator("#search-instead").click()
    page.locator("#query").fill("lem")
    page.get_by_role("option", name="Lemon").click()
    check_out(page)
    is_booked(page)
    assert shop.sold(EMPTY_CHANNEL) == [["lemon"]]


def test_the_first_download_shows_how_far_it_is(device: BrowserContext, shop: TillShop) -> None:
    hold = threading.Event()
    shop.network.trouble = lambda scope: Fault(hold=hold) if "/blobs/" in scope["path"] else None
    page = open_till(device, shop)
    expect(page.locator("#lacking-words")).to_have_text("The recogniser is being downloaded.")
    expect(page.locator("#lacking-detail")).to_have_text(re.compile(r"^\d\.\d of 4\.\d MB$"))
    expect(page.locator("#status-words")).to_have_text(re.compile(r"^Downloading \d+%$"))
    hold.set()
    is_ready(page)


def test_a_newer_version_takes_over_while_the_one_before_answers(
    page: Page, shop: TillShop, demo_bundle: Path
) -> None:
    show(page, "pineapple")
    hold = threading.Event()
    shop.network.trouble = lambda scope: Fault(hold=hold) if "/metadata.json" in scope["path"] else None
    version = shop.publish(demo_bundle)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Look for updates").click()
    until(page, lambda: shop.network.running > 0)
    page.locator("#close-settings").click()
    show(page, "banana")
    expect(offers(page).first).to_contain_text("Bananas")
    hold.set()
    is_ready(page)
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#shop-facts")).to_contain_text(version)


def test_new_products_are_found_after_a_refresh(page: Page, shop: TillShop) -> None:
    shop.remove("lemon")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Look for updates").click()
    expect(page.locator("#model-words")).to_have_text("Ready.")
    page.locator("#close-settings").click()
    search(page, "lemon")
    expect(page.locator("#search-words")).to_have_text("Nothing found for “lemon”.")


def test_settings_say_what_somebody_needs_and_no_secret(page: Page, shop: TillShop) -> None:
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#shop-facts")).to_contain_text("1.0.0")
    expect(page.locator("#shop-facts")).to_contain_text("2026")
    expect(page.locator("#shop-facts")).to_contain_text("13, as of")
    expect(page.locator("#shop-facts")).not_to_contain_text("MB")
    expect(page.locator("#diagnostics")).to_be_hidden()
    page.get_by_text("Diagnostics", exact=True).click()
    expect(page.locator("#device-facts")).to_contain_text("WebAssembly")
    text = page.locator("#diagnostics").inner_text()
    assert f"channel: {CHANNEL}" in text
    assert "sales: 0 waiting, 0 refused" in text
    assert shop.token() not in text
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == text


_KEPT = """async (kind) => {
  const [{ name }] = await indexedDB.databases()
  const done = (asking) => new Promise((resolve) => (asking.onsuccess = () => resolve(asking.result)))
  const database = await done(indexedDB.open(name))
  const events = await done(database.transaction('events').objectStore('events').getAll())
  database.close()
  return events.some(({ event }) => event.kind === kind)
}"""


def _reported(page: Page, shop: TillShop, kind: str = "correction") -> list[dict[str, Any]]:
    """Return the corrections that reach the server, once something of a kind is kept, and has."""
    until(page, lambda: bool(page.evaluate(_KEPT, kind) or shop.events(kind)))
    page.reload()  # which sends what is kept
    until(page, lambda: bool(shop.events(kind)))
    return shop.events("correction")


def _hide(page: Page, *, hidden: bool) -> None:
    """Let the page believe that nobody, or somebody, looks at it."""
    page.evaluate(
        """hidden => {
          const tell = (name, value) => Object.defineProperty(document, name, { value, configurable: true })
          tell('hidden', hidden)
          tell('visibilityState', hidden ? 'hidden' : 'visible')
          document.dispatchEvent(new Event('visibilitychange'))
        }""",
        hidden,
    )
