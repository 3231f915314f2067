"""The pages of docs/how-to/use-a-bundle.md recognise a product as they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT, TRY
from tests.e2e.browser import missing

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Route

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

_PAGES = re.findall(r"```html\n(.*?)```", (ROOT / "docs" / "how-to" / "use-a-bundle.md").read_text(), re.DOTALL)
_VERSION = re.compile(r"@[0-9.]+(?=/)")


@pytest.mark.parametrize("code", _PAGES, ids=["teachable-machine", "tensorflow-js"])
def test_a_page_that_uses_a_bundle_runs_as_it_is_written(
    device: BrowserContext, demo_bundle: Path, code: str
) -> None:
    def answer(route: Route) -> None:
        """Be the network: the packages are those that are installed here."""
        url = urlsplit(route.request.url)
        if url.hostname == "cdn.jsdelivr.net":
            package = _VERSION.sub("", url.path.removeprefix("/npm/"))
            route.fulfill(path=ROOT / "node_modules" / package)
        elif url.path == "/":
            route.fulfill(body=code, content_type="text/html")
        elif url.path == "/shelf.jpg":
            route.fulfill(path=TRY / "lemon.jpg")
        else:
            route.fulfill(path=demo_bundle / url.path.removeprefix("/bundle/"))

    device.route("**/*", answer)
    page = device.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    with page.expect_console_message(lambda message: message.type == "log", timeout=60_000) as logged:
        page.goto("http://127.0.0.1/")
    values = [handle.json_value() for handle in logged.value.args]
    assert said == []
    assert "lemon" in str(values)
