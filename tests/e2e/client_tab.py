"""A tab of a device, in which the client of a shop runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.e2e.client_shop import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.client_shop import ClientShop

PATIENCE_S = 60


def tab(device: BrowserContext, shop: ClientShop) -> Page:
    """Return a tab with the page of the tests."""
    page = device.new_page()
    page.goto(f"{shop.address}{PAGE}index.html")
    return page


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way evaluates texts, which the page's policy forbids."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(f"Promise.resolve({expression}).then(Boolean)"):
        assert time.monotonic() < deadline, f"never came: {expression}"
        page.wait_for_timeout(20)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has happened outside of the browser."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def open_client(page: Page, shop: ClientShop, **more: Any) -> None:
    """Open the client in a tab."""
    until(page, "globalThis.shelf")
    page.evaluate("options => shelf.open(options)", shop.options(**more))


def sync(page: Page) -> Any:
    """Let the client look for news; return its state then."""
    return page.evaluate("shelf.client.sync()")


def recognise(page: Page, colour: str = "red") -> Any:
    """Return the answer to a picture of one colour."""
    return page.evaluate("colour => shelf.recognise(colour)", colour)


def ready_with(device: BrowserContext, shop: ClientShop, bundle: Path) -> Page:
    """Return a tab whose client answers with a bundle; what the server has seen so far is forgotten."""
    version = shop.publish(bundle)
    page = tab(device, shop)
    open_client(page, shop)
    assert sync(page)["version"] == version
    page.evaluate("shelf.load()")
    shop.network.log.clear()
    return page
