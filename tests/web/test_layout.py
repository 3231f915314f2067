"""The pages of the administration in a browser: nothing is wider than the screen, or cut off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.web.pages import TEMPLATES
from tests.e2e.browser import CHROMIUM, launch_chromium
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from playwright.sync_api import Browser
    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).is_file(), reason="needs a browser: install the Debian package chromium"
)
CUT_OFF = """() => [document.documentElement, ...document.querySelectorAll('main, pre, .table, .wrong, .link')]
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.textContent.trim().slice(0, 60))"""
STYLES = '<link rel="stylesheet" href="/static/pages.css">'


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    with launch_chromium() as browser:
        yield browser


def pages(browser: Client) -> dict[str, str]:
    """Return pages by what they are."""
    channel = "/admin/channels/T_1"
    form = {"server": "http://127.0.0.1:8000"}
    return {
        "first steps": browser.get("/setup/done").text,
        "how to set up": browser.get("/setup").text,
        "channels": browser.get("/admin").text,
        "channel": browser.get(channel).text,
        "pairing": browser.post(f"{channel}/pair", data=form).text,
        "roll back": browser.get(f"{channel}/rollback").text,
        "API": browser.get("/docs").text,
    }


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off(browser: Client, sqlite: Database, tmp_path: Path, chromium: Browser, width: int) -> None:
    services: Any = browser.app.state.services  # type: ignore[attr-defined]  # Starlette's
    for seed in (1, 2):
        bundle = write_tiny_bundle(tmp_path / f"bundle-{seed}", seed=seed)
        publish(Registry(database=sqlite, storage=services.storage), Order(folder=bundle, channel="T_1"))
    styles = f"<style>{(TEMPLATES / 'pages.css').read_text('utf-8')}</style>"
    screen = chromium.new_page(viewport={"width": width, "height": 844})
    for name, made in pages(browser).items():
        assert STYLES in made
        screen.set_content(made.replace(STYLES, styles))
        assert (name, screen.evaluate(CUT_OFF)) == (name, [])
    screen.close()
