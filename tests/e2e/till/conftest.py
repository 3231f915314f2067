"""A browser whose camera sees a pineapple, and the example shop, which is open."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.e2e.browser import CHROMIUM
from tests.e2e.till.shop import EXAMPLES, TillShop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext

OF_THE_NETWORK = ("Failed to load resource", "An unknown error occurred when fetching the script")
"""How begins what the browser itself says of a network that tests let fail."""
INSECURE_HOST = "till.test"
"""A name of this machine that is not localhost."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    if not Path(CHROMIUM).is_file():
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs a browser: install the Debian package chromium"))


@pytest.fixture(scope="session")
def made_shop(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example shop, to be copied."""
    return make_shop(tmp_path_factory.mktemp("shop"), demo_bundle)


@pytest.fixture
def shop(made_shop: Path, tmp_path: Path) -> Iterator[TillShop]:
    """Yield the example shop, open."""
    shop = TillShop(made_shop, tmp_path / "shop")
    shop.start()
    yield shop
    shop.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a browser."""
    film = tmp_path_factory.mktemp("camera") / "pineapple.mjpeg"
    film.write_bytes(frame(EXAMPLES / "try" / "pineapple.jpg") * 10)
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
        f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
    ]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser,
    ):
        yield browser


@pytest.fixture
def device(chromium: Browser) -> Iterator[BrowserContext]:
    """Yield a laptop that knows nothing yet; in the end nothing may have gone wrong on its pages."""
    wrong: list[str] = []
    with chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 800}) as context:
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on("console", lambda message: wrong.append(message.text))
        yield context
    assert [words for words in wrong if not words.startswith(OF_THE_NETWORK)] == []


def frame(photo: Path) -> bytes:
    """Return what a camera in landscape sees of a photo: the photo in the middle, grey beside it."""
    frame = Image.new("RGB", (640, 480), "grey")
    with Image.open(photo) as image:
        frame.paste(image.convert("RGB").resize((480, 480)), (80, 0))
    buffer = io.BytesIO()
    frame.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
