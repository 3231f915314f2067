"""A shop that tests of the client share, and devices that know nothing of it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.storage import open_storage
from tests.e2e.browser import launch_chromium
from tests.e2e.client_shop import ClientShop, build_pages, real

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext

    from shelfsight.database.engine import Database


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    with launch_chromium() as browser:
        yield browser


@pytest.fixture
def device(chromium: Browser) -> Iterator[BrowserContext]:
    """Yield a device on which nothing is stored."""
    with chromium.new_context() as context:
        yield context


@pytest.fixture(scope="session")
def client_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the tests of the client, bundled."""
    return build_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def big_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the shipped backbone; only read it."""
    return real(tmp_path_factory.mktemp("big"), "1.0.0", seed=1)


@pytest.fixture
def client_shop(sqlite: Database, tmp_path: Path, client_pages: Path) -> Iterator[ClientShop]:
    """Yield a channel without a model."""
    shop = ClientShop(sqlite, open_storage(tmp_path / "assets"), client_pages)
    shop.start()
    yield shop
    shop.stop()
