"""The till page in a real browser, with a bundle trained on the example shop."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from shelfsight.web.demo import DemoProduct, build_demo
from tests.e2e.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from playwright.sync_api import Browser, Locator

EXAMPLES = Path(__file__).parents[2] / "examples"
PINEAPPLE = EXAMPLES / "try" / "pineapple.jpg"
KNOWN = "I know this one"
UNKNOWN = "Not sure"
NO_MODEL = "Camera recognition not yet set up. Add products with images first."
PRETEND_CARD = """
const getContext = HTMLCanvasElement.prototype.getContext
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return getContext.call(this, kind, { ...options, failIfMajorPerformanceCaveat: false })
}
const getParameter = WebGL2RenderingContext.prototype.getParameter
WebGL2RenderingContext.prototype.getParameter = function (name) {
  const unmaskedRenderer = 0x9246
  return name === unmaskedRenderer ? 'A graphics card' : getParameter.call(this, name)
}
"""

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).is_file(), reason="needs a browser: install the Debian package chromium"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a browser whose camera sees a pineapple."""
    film = tmp_path_factory.mktemp("camera") / "pineapple.mjpeg"
    film.write_bytes(_camera_frame(PINEAPPLE) * 10)
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
        "--enable-unsafe-swiftshader",  # WebGL on the processor, which the page must not take for a card
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop(demo_bundle: Path) -> Iterator[str]:
    """Yield the address of a demo server of the example shop."""
    with _serve(demo_bundle) as address:
        yield address


@pytest.fixture(scope="module")
def doubting_shop(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of the same shop with a recogniser that is never sure enough."""
    bundle = tmp_path_factory.mktemp("doubting") / "bundle"
    shutil.copytree(demo_bundle, bundle)
    metadata = json.loads((bundle / "metadata.json").read_text())
    (bundle / "metadata.json").write_text(json.dumps({**metadata, "threshold": 1.01}))
    with _serve(bundle) as address:
        yield address


@pytest.fixture
def page(browser: Browser, shop: str) -> Iterator[Page]:
    """Yield the till page, ready; fail if anything went wrong on it or if it asked another host."""
    with _till(browser, shop) as page:
        yield page


def test_a_photo_to_try_is_recognised_with_name_price_and_confidence(page: Page) -> None:
    page.get_by_role("button", name="banana").click()
    expect(page.get_by_role("heading", name=KNOWN)).to_be_visible()
    expect(_offers(page)).to_have_count(3)
    expect(_offers(page).first).to_contain_text(re.compile(r"Bananas.*€0\.29.*\d+% confidence", re.DOTALL))
    assert page.get_by_role("status").inner_text().startswith("Bananas, €0.29, ")


@pytest.mark.parametrize("photo", ["carrots", "oatly-oat-milk", "pineapple"])
def test_a_chosen_file_is_recognised(page: Page, photo: str) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files(EXAMPLES / "try" / f"{photo}.jpg")
    expect(_offers(page).first).to_contain_text(_product_names()[photo])
    expect(page.get_by_role("heading", name=KNOWN)).to_be_visible()


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_pasted_or_dropped_photo_is_recognised(page: Page, event: str) -> None:
    page.evaluate(
        """([type, photo]) => {
          const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0))
          const data = new DataTransfer()
          data.items.add(new File([bytes], 'photo.jpg', { type: 'image/jpeg' }))
          document.dispatchEvent(type === 'paste'
            ? new ClipboardEvent('paste', { clipboardData: data })
            : new DragEvent('drop', { dataTransfer: data, cancelable: true }))
        }""",
        [event, base64.b64encode(PINEAPPLE.read_bytes()).decode()],
    )
    expect(_offers(page).first).to_contain_text("Pineapple")


@pytest.mark.parametrize("photo", ["asparagus", "watermelon"])
def test_a_photo_of_what_the_shop_does_not_sell_is_not_known(page: Page, photo: str) -> None:
    page.get_by_role("button", name=photo).click()
    expect(page.get_by_role("heading", name=UNKNOWN)).to_be_visible()


def test_below_the_threshold_the_nearest_products_are_only_a_question(browser: Browser, doubting_shop: str) -> None:
    with _till(browser, doubting_shop) as page:
        page.get_by_role("button", name="banana").click()
        expect(page.get_by_role("heading", name=UNKNOWN)).to_be_visible()
        expect(page.get_by_text("Could it be…", exact=True)).to_be_visible()
        expect(_offers(page)).to_have_count(3)
        expect(_offers(page).first).to_contain_text("Bananas")
        assert page.get_by_role("status").inner_text().startswith(f"{UNKNOWN}. Could it be Bananas, ")


def test_only_what_the_shop_still_sells_is_offered(browser: Browser, demo_bundle: Path) -> None:
    with _serve(demo_bundle, sold={"carrots", "banana"}) as address, _till(browser, address) as page:
        page.get_by_role("button", name="pineapple").click()
        expect(page.get_by_role("heading", name=UNKNOWN)).to_be_visible()
        expect(_offers(page)).to_have_count(2)


def test_the_camera_is_watched_until_it_is_stopped(browser: Browser, shop: str) -> None:
    with _till(browser, shop, permissions=["camera"]) as page:
        page.get_by_role("button", name="Start camera").click()
        expect(_offers(page).first).to_contain_text("Pineapple")
        expect(page.get_by_role("status")).to_contain_text("Pineapple")
        page.get_by_role("button", name="Stop camera").click()
        expect(page.get_by_role("button", name="Start camera")).to_be_visible()
        assert page.locator("#video").evaluate("video => video.srcObject") is None


def test_a_photo_takes_the_place_of_the_camera(browser: Browser, shop: str) -> None:
    with _till(browser, shop, permissions=["camera"]) as page:
        page.get_by_role("button", name="Start camera").click()
        expect(_offers(page).first).to_contain_text("Pineapple")
        page.get_by_role("button", name="banana").click()
        expect(_offers(page).first).to_contain_text("Bananas")
        expect(page.get_by_role("button", name="Start camera")).to_be_visible()


def test_a_blocked_camera_says_what_to_do_and_takes_the_last_answer_back(page: Page) -> None:
    page.get_by_role("button", name="banana").click()
    expect(_offers(page).first).to_contain_text("Bananas")
    page.get_by_role("button", name="Start camera").click()
    expect(page.get_by_role("alert")).to_contain_text("The camera is blocked for this page: allow it")
    expect(_offers(page)).to_have_count(0)


def test_a_file_that_is_no_photo_says_what_to_choose(page: Page) -> None:
    page.locator("#file").set_input_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"})
    expect(page.get_by_role("alert")).to_contain_text("choose a JPEG, PNG or WebP file")


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.photo?.endsWith('/samples/1')"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")
    expect(_offers(page).first).to_contain_text("Bananas")
    assert outline == "solid"


def test_without_a_graphics_card_webassembly_computes(page: Page) -> None:
    expect(page.locator("#facts")).to_contain_text("WebAssembly")


def test_a_graphics_card_gives_the_same_answer(browser: Browser, shop: str) -> None:
    with _till(browser, shop, before=PRETEND_CARD) as page:
        expect(page.locator("#facts")).to_contain_text("WebGL")
        page.get_by_role("button", name="banana").click()
        expect(_offers(page).first).to_contain_text("Bananas")


def test_a_graphics_card_that_fails_is_replaced_by_webassembly(browser: Browser, shop: str) -> None:
    page = browser.new_page()
    page.add_init_script(PRETEND_CARD)
    page.add_init_script("WebGL2RenderingContext.prototype.getProgramParameter = () => false")
    page.goto(shop)
    page.get_by_role("button", name="banana").click()
    expect(_offers(page).first).to_contain_text("Bananas")
    expect(page.locator("#facts")).to_contain_text("WebAssembly")
    page.close()


def test_a_failed_download_can_be_tried_again(browser: Browser, shop: str) -> None:
    page = browser.new_page()
    page.route("**/weights.bin", lambda route: route.abort(), times=1)
    page.goto(shop)
    expect(page.locator("#error-words")).to_contain_text("check the connection, then try again")
    page.get_by_role("button", name="banana").click()
    page.get_by_role("button", name="Try again").click()
    expect(_offers(page).first).to_contain_text("Bananas")
    page.close()


def test_a_channel_without_a_model_says_what_to_add(browser: Browser, shop: str) -> None:
    page = browser.new_page()
    page.goto(f"{shop}/till/other-shop")
    expect(page.get_by_role("main").get_by_text(NO_MODEL)).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    page.close()


def _offers(page: Page) -> Locator:
    """Return the products that are offered for the picture, best first."""
    return page.locator(".offer:visible")


def _rows() -> list[dict[str, str]]:
    with (EXAMPLES / "corner-shop.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _product_names() -> dict[str, str]:
    return {row["id"]: row["name"] for row in _rows()}


def _camera_frame(photo: Path) -> bytes:
    """Return what a camera in landscape sees of a photo: the photo in the middle, grey beside it."""
    frame = Image.new("RGB", (640, 480), "grey")
    with Image.open(photo) as image:
        frame.paste(image.convert("RGB").resize((480, 480)), (80, 0))
    buffer = io.BytesIO()
    frame.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextmanager
def _serve(bundle: Path, sold: Container[str] | None = None) -> Iterator[str]:
    """Serve a bundle as the example shop's demo, all of its products or those `sold`, and yield the address."""
    products = [
        DemoProduct(
            id=row["id"],
            name=row["name"],
            price=row["price"],
            currency=row["currency"],
            picture=min((EXAMPLES / "corner-shop" / row["id"]).iterdir()),
        )
        for row in _rows()
        if sold is None or row["id"] in sold
    ]
    samples = sorted((EXAMPLES / "try").iterdir())
    app = build_demo(bundle=bundle, channel="corner-shop", products=products, samples=samples)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the server ended before it started"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _till(browser: Browser, address: str, *, permissions: Sequence[str] = (), before: str = "") -> Iterator[Page]:
    """Yield the till page, ready; in the end nothing may have gone wrong on it or left 127.0.0.1.

    Args:
        before: a script that runs before those of the page.
    """
    context = browser.new_context(permissions=permissions, locale="en-GB")
    page = context.new_page()
    page.add_init_script(before)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(error.message))
    page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
    page.on("request", lambda request: wrong.extend(_foreign(request.url, address)))
    page.goto(address)
    expect(page.get_by_role("heading", name="Ready")).to_be_visible(timeout=60_000)  # WebGL on the processor is slow
    yield page
    context.close()
    assert wrong == []


def _foreign(url: str, address: str) -> list[str]:
    return [] if url.startswith((f"{address}/", "blob:", "data:")) else [url]
