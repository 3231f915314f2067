"""Take the pictures of the till page that the docs show, of the example shop on a real server.

    python -m tools.till_screenshots docs/images

Needs Chromium and the built page (`npm run build`).
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.e2e.till import device as till
from tests.e2e.till.conftest import frame
from tests.e2e.till.shop import BARCODES, CHANNEL, EXAMPLES, TillShop, make_shop

from shelfsight.settings import cache_dir
from shelfsight.training.train import TrainingOptions, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

SIZES = {"phone": (390, 844), "laptop": (1440, 900)}
PICTURES = {"phone": {"selling", "search", "unknown", "offline"}, "laptop": {"selling", "offline"}}
QUALITY = 82


class Look(NamedTuple):
    """A screen, and what is done on it: each name that `walk` yields is a picture."""

    size: str
    scheme: Literal["light", "dark"]
    walk: Callable[[Page, TillShop], Iterator[str]]


def main(out: Path) -> None:
    """Write the pictures into a folder."""
    with tempfile.TemporaryDirectory() as work, _browser(Path(work)) as browser, _shop(Path(work)) as shop:
        for size in SIZES:
            _walk(browser, shop, Look(size, "light", _selling), out)
            _walk(browser, shop, Look(size, "dark", _offline), out)


def _selling(page: Page, shop: TillShop) -> Iterator[str]:
    page.get_by_label("Pairing link").fill(shop.link())
    page.keyboard.press("Enter")
    till.is_ready(page)
    page.get_by_role("button", name="Start camera").click()
    expect(till.offers(page).first).to_contain_text("Pineapple")
    till.scan(page, BARCODES["banana"])
    till.scan(page, BARCODES["oatly-oat-milk"])
    page.get_by_role("button", name="One more Oatly oat drink").click()
    page.evaluate("document.querySelector('#toast').hidden = true")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    yield "selling"
    page.locator("#open-search").click()
    page.locator("#query").fill("a")
    yield "search"


def _offline(page: Page, shop: TillShop) -> Iterator[str]:
    page.goto(shop.link())
    till.is_ready(page)
    till.is_kept(page)
    shop.stop()
    till.scan(page, BARCODES["banana"])
    till.check_out(page)
    page.reload()
    till.is_ready(page, "Offline")
    till.show(page, "watermelon")
    yield "unknown"
    till.scan(page, BARCODES["lemon"])
    till.check_out(page)
    page.evaluate("document.querySelector('#toast').hidden = true")
    page.locator("#sold").scroll_into_view_if_needed()
    expect(page.locator("#sold-detail")).to_contain_text("No connection")
    yield "offline"
    shop.start()


def _walk(browser: Browser, shop: TillShop, look: Look, out: Path) -> None:
    width, height = SIZES[look.size]
    is_phone = look.size == "phone"
    with browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=2 if is_phone else 1.5,
        is_mobile=is_phone,
        has_touch=is_phone,
        color_scheme=look.scheme,
        locale="en-GB",
        permissions=["camera"],
    ) as context:
        page = context.new_page()
        page.goto(f"{shop.address}/till/{CHANNEL}")
        for name in look.walk(page, shop):
            if name not in PICTURES[look.size]:
                continue
            page.wait_for_timeout(1500)  # so that nothing moves any more
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                picture.save(out / f"till-{name}-{look.size}.webp", quality=QUALITY, method=6)


@contextmanager
def _browser(work: Path) -> Iterator[Browser]:
    film = work / "pineapple.mjpeg"
    film.write_bytes(frame(EXAMPLES / "try" / "pineapple.jpg") * 10)
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser,
    ):
        yield browser


@contextmanager
def _shop(work: Path) -> Iterator[TillShop]:
    bundle = work / "bundle"
    train(EXAMPLES / "corner-shop", bundle, cache_dir=cache_dir(), options=TrainingOptions(channel=CHANNEL))
    made = work / "made"
    made.mkdir()
    shop = TillShop(make_shop(made, bundle), work / "shop")
    shop.rename("Corner shop")
    shop.start()
    yield shop
    shop.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
