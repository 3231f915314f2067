"""Take the pictures of the README: the demo, and the quality report.

    python -m tools.take_screenshots docs/images

Trains on the example shop, serves the demo and drives Chromium.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright
from tests.e2e.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ViewportSize

LAPTOP: ViewportSize = {"width": 1280, "height": 800}


def main() -> None:
    """Write demo.webp and report.webp into the folder that is named."""
    parser = argparse.ArgumentParser(description="Take the pictures of the README.")
    parser.add_argument("target", type=Path, help="folder for the pictures, such as docs/images")
    target = parser.parse_args().target
    with _serve_demo() as (address, report), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        _take_demo(browser, address, target / "demo.webp")
        page = browser.new_page(viewport=LAPTOP)
        page.goto(report.as_uri())
        _save(page.screenshot(), target / "report.webp")
        browser.close()


@contextmanager
def _serve_demo() -> Iterator[tuple[str, Path]]:
    """Yield the till's address and the quality report of a demo, as it prints them."""
    command = [sys.executable, "-m", "shelfsight", "demo", "--no-browser", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SHELFSIGHT_CACHE_DIR": cache}
        ) as demo,
    ):
        try:
            assert demo.stdout is not None
            report = next(line for line in demo.stdout if line.startswith("Bundle: ")).split("Look at: ")[1].strip()
            address = next(line for line in demo.stdout if "http://" in line).split()[5]
            yield address, Path(report)
        finally:
            demo.terminate()


def _take_demo(browser: Browser, address: str, target: Path) -> None:
    """Write what the demo says to a photo."""
    page = browser.new_page(viewport=LAPTOP, device_scale_factor=2)
    page.goto(address)
    page.get_by_role("button", name="pineapple").click()
    page.get_by_text("this one", exact=False).first.wait_for()
    page.wait_for_timeout(800)  # the bars have grown
    _save(page.screenshot(), target)
    page.close()


def _save(png: bytes, target: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(target, quality=82, method=6)


if __name__ == "__main__":
    main()
