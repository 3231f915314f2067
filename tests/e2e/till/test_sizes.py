"""The till on screens of all sizes: no word is cut, and what a sale needs is in sight."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.till.device import check_out, lines, offers, open_till, ready_till, scan, show
from tests.e2e.till.shop import BARCODES, EMPTY_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

    from tests.e2e.till.shop import TillShop

UPRIGHT: ViewportSize = {"width": 390, "height": 844}
ON_ITS_SIDE: ViewportSize = {"width": 844, "height": 390}
TABLET: ViewportSize = {"width": 1024, "height": 768}
LAPTOP: ViewportSize = {"width": 1280, "height": 800}
_CUT = """() => Array.from(document.querySelectorAll('#counter *, dialog[open] *'))
  .filter((node) => node.checkVisibility({ visibilityProperty: true }))
  .filter((node) => node.clientWidth > 1 && getComputedStyle(node).clipPath === 'none')
  .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
  .map(({ id, className, scrollWidth, clientWidth }) => `${id || className} ${scrollWidth}>${clientWidth}`)"""


@contextmanager
def screen(chromium: Browser, size: ViewportSize) -> Iterator[BrowserContext]:
    """Yield a device with a screen of this size."""
    is_phone = size in (UPRIGHT, ON_ITS_SIDE)
    with chromium.new_context(viewport=size, locale="en-GB", is_mobile=is_phone, has_touch=is_phone) as device:
        yield device


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what the page shows."""
    found = page.locator(selector).bounding_box()
    assert found is not None
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


@pytest.mark.parametrize("size", [UPRIGHT, ON_ITS_SIDE, TABLET, LAPTOP], ids=lambda size: f"{size['width']}")
def test_no_word_is_cut(chromium: Browser, shop: TillShop, size: ViewportSize) -> None:
    with screen(chromium, size) as device:
        page = ready_till(device, shop)
        assert page.evaluate(_CUT) == []
        show(page, "watermelon")
        assert page.evaluate(_CUT) == []
        show(page, "pineapple")
        scan(page, BARCODES["banana"])
        scan(page, BARCODES["oatly-oat-milk"])
        assert page.evaluate(_CUT) == []
        check_out(page)
        assert page.evaluate(_CUT) == []
        page.get_by_role("button", name="Settings").click()
        expect(page.locator("#shop-facts")).not_to_be_empty()
        page.get_by_text("Diagnostics", exact=True).click()
        assert page.evaluate(_CUT) == []


@pytest.mark.parametrize("size", [UPRIGHT, ON_ITS_SIDE], ids=["upright", "on its side"])
def test_a_phone_shows_what_came_in_last_the_sum_and_what_was_recorded(
    chromium: Browser, shop: TillShop, size: ViewportSize
) -> None:
    with screen(chromium, size) as device:
        page = ready_till(device, shop)
        show(page, "pineapple")
        offers(page).first.click()
        scan(page, BARCODES["banana"])
        scan(page, BARCODES["banana"])
        expect(page.locator(".latest")).to_have_text("2 × Bananas€0.58")
        expect(page.locator(".latest")).to_be_in_viewport(ratio=1)
        expect(page.locator("#sum-amounts")).to_have_text("€3.07")
        expect(page.locator("#sum-amounts")).to_be_in_viewport(ratio=1)
        page.get_by_role("button", name="One less Bananas").evaluate("button => button.click()")
        expect(page.locator(".latest")).to_have_text("1 × Bananas€0.29")
        check_out(page)
        expect(page.locator("#sold-short")).to_be_in_viewport(ratio=1)
        expect(page.locator("#sold-short-total")).to_have_text("€2.78")
        expect(page.locator(".latest")).to_be_hidden()


def test_on_a_phone_the_basket_comes_before_answers_that_are_not_there(chromium: Browser, shop: TillShop) -> None:
    with screen(chromium, UPRIGHT) as device:
        page = ready_till(device, shop)
        expect(page.locator(".idle")).to_be_in_viewport(ratio=1)
        scan(page, BARCODES["banana"])
        expect(page.locator(".idle")).to_be_hidden()
        expect(lines(page)).to_be_in_viewport(ratio=1)


def test_on_a_phone_that_lies_on_its_side_everything_for_a_sale_is_in_sight(
    chromium: Browser, shop: TillShop
) -> None:
    with screen(chromium, ON_ITS_SIDE) as device:
        page = ready_till(device, shop)
        show(page, "pineapple")
        offers(page).first.click()
        stage, answers, foot = box(page, "#stage"), box(page, "#answers"), box(page, "#foot")
        assert stage[2] <= answers[0]  # camera left, answers right
        assert max(stage[3], answers[3]) <= foot[1]  # the bar covers neither
        assert foot[3] == ON_ITS_SIDE["height"]
        buttons = box(page, ".controls")
        assert buttons[3] - buttons[1] < (stage[3] - stage[1]) / 4
        expect(page.get_by_role("button", name="Check out")).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name="This is another product")).to_be_in_viewport(ratio=1)


def test_before_there_is_a_picture_a_sentence_says_what_to_do(chromium: Browser, shop: TillShop) -> None:
    with screen(chromium, LAPTOP) as device:
        page = ready_till(device, shop)
        expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
        expect(page.get_by_text("the most likely products appear here")).to_be_visible()
        expect(page.locator("#offers")).to_be_hidden()
        show(page, "pineapple")
        expect(page.get_by_text("the most likely products appear here")).to_be_hidden()


def test_where_nothing_recognises_a_phone_shows_what_is_sold(chromium: Browser, shop: TillShop) -> None:
    with screen(chromium, UPRIGHT) as device:
        page = open_till(device, shop, EMPTY_CHANNEL)
        expect(page.locator("#status-words")).to_have_text("Without camera")
        page.locator("#search-instead").click()
        page.locator("#query").fill("lem")
        page.get_by_role("option", name="Lemon").click()
        expect(lines(page)).to_be_in_viewport(ratio=1)
        assert page.evaluate(_CUT) == []
