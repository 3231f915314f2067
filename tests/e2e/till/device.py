"""A device with the till page: what a person does with it, and what it says."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.till.shop import CHANNEL, EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Locator, Page

    from tests.e2e.till.shop import TillShop

PATIENCE_MS = 60_000
"""For what a busy machine takes long for: a recogniser that is loaded."""
KNOWN = "I know this one"
ASKED = "Not sure. Could it be…"
NO_MODEL = "Camera recognition not yet set up. Add products with images first."

_SCAN = """async (code) => {
  const press = (key) => {
    const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })
    const { activeElement } = document
    if (!activeElement.dispatchEvent(event)) return
    if (key.length === 1 && 'value' in activeElement) document.execCommand('insertText', false, key)
    if (key === 'Enter' && activeElement instanceof HTMLButtonElement) activeElement.click()
  }
  for (const key of [...code, 'Enter']) press(key)
}"""
"""As a scanner types: all keys at once, which a test that presses keys one by one on a busy machine cannot."""


def open_till(device: BrowserContext, shop: TillShop, channel: str = CHANNEL) -> Page:
    """Return a tab in which the pairing link was opened."""
    page = device.new_page()
    page.goto(shop.link(channel))
    return page


def ready_till(device: BrowserContext, shop: TillShop) -> Page:
    """Return a tab in which the recogniser answers, of a page that is kept on the device."""
    page = open_till(device, shop)
    is_ready(page)
    is_kept(page)
    return page


def is_ready(page: Page, words: str = "Ready") -> None:
    """Wait until the recogniser answers."""
    expect(page.locator("#status-words")).to_have_text(words, timeout=PATIENCE_MS)
    expect(page.locator("#lacking")).to_be_hidden(timeout=PATIENCE_MS)


def is_kept(page: Page) -> None:
    """Wait until the page opens without a network."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")


def show(page: Page, photo: str) -> None:
    """Choose a photo, and wait for the answer to it."""
    page.locator("#file").set_input_files(EXAMPLES / "try" / f"{photo}.jpg")
    expect(page.locator("#answers")).to_have_attribute("data-state", re.compile("^(known|unknown)$"))


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait until something is true that the page does not show."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        page.wait_for_timeout(20)


def offers(page: Page) -> Locator:
    """Return the products that are offered for the picture, best first."""
    return page.locator(".offer:visible")


def lines(page: Page) -> Locator:
    """Return what is in the basket."""
    return page.locator("#lines .line")


def scan(page: Page, code: str) -> None:
    """Let a scanner type a code."""
    page.evaluate(_SCAN, code)


def sell(page: Page, photo: str) -> None:
    """Recognise a product by a photo, and sell one."""
    show(page, photo)
    offers(page).first.click()
    check_out(page)


def check_out(page: Page) -> None:
    """Check out, and wait until the sale is safe on the device."""
    page.get_by_role("button", name="Check out").click()
    expect(page.locator("#sold-words")).to_be_visible()
    expect(page.locator("#sold-words")).to_have_text("Sale recorded")


def is_booked(page: Page) -> None:
    """Wait until the server has the sale."""
    expect(page.locator("#sold-detail")).to_have_text("Booked on the server.")


def send(page: Page) -> None:
    """Send what waits until nothing does: on a bad network it may take several tries."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Show them").click()
    words = page.locator("#sales-words")
    expect(words).to_be_visible()
    for _ in range(20):
        expect(words).not_to_have_text("Sending …", timeout=PATIENCE_MS)
        if words.inner_text() == "All sales are sent.":
            break
        page.locator("#send-sales").evaluate("button => button.click()")  # nothing, where it was done meanwhile
        page.wait_for_timeout(100)
    expect(words).to_have_text("All sales are sent.")
    page.locator("#close-sales").click()
    expect(page.locator("#queue")).to_be_hidden()


def total(page: Page) -> str:
    """Return what the basket comes to."""
    return page.locator("#sum-amounts").inner_text()
