"""A private model in a page of another origin: unmodified TensorFlow.js, a signed URL, and what a retrain costs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import uvicorn
from sqlalchemy import insert

from shelfsight.access.rules import Caller
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.engine import open_database
from shelfsight.database.migrate import prepare
from shelfsight.database.tables import channels
from shelfsight.delivery.signing import SignedVersion, Terms, sign_version
from shelfsight.delivery.store import page_of_downloads
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.storage import open_storage
from tests.conftest import CORNER_SHOP
from tests.e2e.browser import Client, launch_chromium, missing, serve_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from playwright.sync_api import Page

WAITING_FOR = missing()
pytestmark = pytest.mark.skipif(WAITING_FOR is not None, reason=WAITING_FOR or "")
WAIT_S = 60
NAMES = {"model.shards.json", "metadata.json"}
"""What the page loads beside the weights."""


@dataclass
class Service:
    """A running server with a private channel of two versions, of which the second was trained anew."""

    address: str
    registry: Registry
    app: FastAPI
    loop: asyncio.AbstractEventLoop
    _seen: dict[str, int]

    def sign(self, version: str) -> SignedVersion:
        """Sign a version."""
        terms = Terms(
            by=Caller(actor="channel:T_1", scopes=frozenset({"device"}), channel="T_1"),
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            server=self.address,
        )
        return sign_version(self.registry, "T_1", version, terms)

    def loaded(self) -> dict[str, int]:
        """Return the bytes that were sent of each file since this was last asked."""
        asyncio.run_coroutine_threadsafe(self.app.state.downloads.flush(), self.loop).result(WAIT_S)
        now = datetime.now(UTC)
        with self.registry.database.read() as tx:
            rows = page_of_downloads(tx, "T_1", since=now - timedelta(days=1), until=now, limit=1000)
        sums: dict[str, int] = {}
        for row in rows:
            assert row.actor.startswith("url:")
            sums[row.file] = sums.get(row.file, 0) + row.size_bytes
        new = {name: size - self._seen.get(name, 0) for name, size in sums.items() if size != self._seen.get(name)}
        self._seen = sums
        return new

    def blobs(self, version: str) -> dict[str, str]:
        """Return the blobs of a version, by what part they are."""
        manifest = json.loads(self.registry.storage.get(f"ml-models/T_1/v{version}/manifest.json"))
        return {blob["part"]: f"blobs/{blob['sha256']}.bin" for blob in manifest["blobs"]}


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example shop, trained otherwise: the backbone is the same."""
    from shelfsight.settings import cache_dir
    from shelfsight.training.rules import HeadKind
    from shelfsight.training.train import TrainingOptions, train

    out = tmp_path_factory.mktemp("retrained") / "bundle"
    train(CORNER_SHOP, out, cache_dir=cache_dir(), options=TrainingOptions(channel="demo", head=HeadKind.MEAN))
    return out


@pytest.fixture
def service(tmp_path: Path, demo_bundle: Path, retrained: Path) -> Iterator[Service]:
    database = open_database(f"sqlite:///{tmp_path / 'shelfsight.db'}")
    prepare(database)
    with database.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1", visibility="private"))
    services = Services(database=database, storage=open_storage(tmp_path / "assets"))
    registry = Registry(database=database, storage=services.storage)
    for bundle in (demo_bundle, retrained):
        publish(registry, Order(folder=bundle, channel="T_1"))
    app = build_app(services)
    with _running(app) as (address, loop):
        yield Service(address, registry, app, loop, {})
    services.close()


@contextmanager
def _running(app: FastAPI) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    loops: list[asyncio.AbstractEventLoop] = []
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            loops.append(asyncio.get_running_loop())
            started.set()

    server = Server(uvicorn.Config(app, log_level="critical", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(WAIT_S)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", loops[0]
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


@pytest.fixture
def page(demo_bundle: Path, tmp_path: Path) -> Iterator[Page]:
    """A page with TensorFlow.js, from another server than the model's, in a browser that has loaded nothing yet."""
    with (
        serve_bundle(demo_bundle, [], tmp_path) as site,
        launch_chromium() as browser,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(f"{site.address}/pages/{Client.TENSORFLOW_JS}")
        yield page


def load(page: Page, signed: SignedVersion, *, query: str | None = None) -> None:
    """Let the page load a model as its own script does."""
    query = f"?token={signed.token}" if query is None else query
    urls = [f"{signed.base_url}{name}{query}" for name in ("model.shards.json", "metadata.json")]
    page.evaluate("([model, metadata]) => load(model, metadata)", urls)


def test_after_a_retrain_a_browser_loads_the_new_head_alone(service: Service, page: Page) -> None:
    old, new = service.blobs("1.0.0"), service.blobs("1.0.1")
    assert old["backbone"] == new["backbone"]
    assert old["head"] != new["head"]
    load(page, service.sign("1.0.0"))
    first = service.loaded()
    assert set(first) == {*NAMES, *old.values()}
    load(page, service.sign("1.0.1"))  # another token, and so another URL of the same backbone
    second = service.loaded()
    assert set(second) == {*NAMES, new["head"]}
    assert sum(second.values()) < 0.1 * sum(first.values())
    load(page, service.sign("1.0.1"))
    assert service.loaded() == {}


def test_page_without_the_token_loads_nothing(service: Service, page: Page) -> None:
    for query in ("", "?token=", f"?token={service.sign('1.0.0').token}x"):
        with pytest.raises(Exception, match="401"):
            load(page, service.sign("1.0.0"), query=query)
    with pytest.raises(Exception, match="403"):
        load(page, service.sign("1.0.0"), query=f"?token={service.sign('1.0.1').token}")
    assert service.loaded() == {}
