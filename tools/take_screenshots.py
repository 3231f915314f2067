"""Take the pictures of the README: the till on a phone and a laptop, and the quality report.

    python tools/take_screenshots.py docs/images

Trains on the example shop, serves the demo and drives Debian's Chromium.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHONE, LAPTOP = (390, 844), (1280, 800)


def main() -> None:
    """Write till-phone.webp, till-unknown.webp, till-laptop.webp and report.webp into the folder that is named."""
    target = Path(sys.argv[1])
    command = [sys.executable, "-u", "-m", "shelfsight", "demo", "--no-browser", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SHELFSIGHT_CACHE_DIR": cache}
        ) as demo,
        sync_playwright() as playwright,
    ):
        assert demo.stdout is not None
        address = next(line for line in demo.stdout if "http://" in line).split()[5]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        _take_till(browser, address, PHONE, "banana", "light", target / "till-phone.webp")
        _take_till(browser, address, PHONE, "watermelon", "dark", target / "till-unknown.webp")
        _take_till(browser, address, LAPTOP, "pineapple", "light", target / "till-laptop.webp")
        page = browser.new_page(viewport={"width": LAPTOP[0], "height": LAPTOP[1]})
        page.goto(Path(cache, "demo", "bundle", "report.html").as_uri())
        _save(page.screenshot(), target / "report.webp")
        browser.close()
        demo.terminate()


def _take_till(browser: Browser, address: str, size: tuple[int, int], photo: str, scheme: str, target: Path) -> None:
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=2,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(address)
    page.get_by_role("button", name=photo).click()
    page.get_by_text("this one", exact=False).first.wait_for()
    page.wait_for_timeout(800)  # the bars have grown
    _save(page.screenshot(), target)
    page.close()


def _save(png: bytes, target: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(target, quality=82, method=6)


if __name__ == "__main__":
    main()
