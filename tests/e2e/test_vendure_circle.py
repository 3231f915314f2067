"""The whole circle with a real Vendure: photos there, a training here, and a page of the shop that knows them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import done
from tests.cli.test_serve import serving
from tests.conftest import CORNER_SHOP
from tests.e2e.browser import ROOT, launch_chromium
from tests.vendure.server import NEEDS, is_installed, running, vendure_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.cli.test_serve import Server
    from tests.vendure.server import Place, ShopChannel, VendureServer

pytestmark = pytest.mark.skipif(not is_installed(), reason=NEEDS)

TENSORFLOW_JS = ROOT / "node_modules/@tensorflow/tfjs/dist/tf.min.js"
PRODUCTS = ("banana", "lemon", "oatly-oat-milk")
PERMISSIONS = (
    "ReadCatalog", "ReadAsset", "CreateAsset", "UpdateCatalog", "DeleteAsset", "ReadChannel", "UpdateChannel",
)  # fmt: skip
PATIENCE_S = 120
FIELDS = """query($id: ID!) { channel(id: $id) { customFields {
  modelBaseUrl modelVersion modelLastTrained modelTrainingStatus } } }"""
TRAIN = "mutation($id: ID!) { trainModelForChannel(channelId: $id) { id status requestedBy } }"
TRAINING = "query($id: ID!) { modelTraining(channelId: $id) { id status version message } }"
SOURCE = "query($id: ID!) { product(id: $id) { assets { source } } }"

RECOGNISE = """async ({ model: url, photo }) => {
  const model = await tf.loadLayersModel(url)
  const { userDefinedMetadata } = await (await fetch(url)).json()
  const { labels } = await (await fetch(new URL(userDefinedMetadata.metadata, url))).json()
  const image = await createImageBitmap(await (await fetch(photo)).blob())
  const { width, height } = image
  const side = Math.min(width, height)
  const canvas = Object.assign(document.createElement('canvas'), { width: 224, height: 224 })
  canvas.getContext('2d').drawImage(image, (width - side) / 2, (height - side) / 2, side, side, 0, 0, 224, 224)
  const input = tf.browser.fromPixels(canvas).toFloat().div(127).sub(1).expandDims()
  const probabilities = Array.from(await model.predict(input).data())
  return labels[probabilities.indexOf(Math.max(...probabilities))]
}"""


class Shop:
    """A channel there that is connected with T_1 here."""

    def __init__(self, vendure: VendureServer, there: ShopChannel) -> None:
        """Use a Vendure that runs."""
        self.vendure = vendure
        self.there = there

    @property
    def fields(self) -> dict[str, Any]:
        """What Vendure says of the channel."""
        fields: dict[str, Any] = self.vendure.ask(FIELDS, id=self.there.id)["customFields"]
        return fields

    def answer(self, page: Page, product: str) -> str:
        """Return which product a page of the shop takes the first photo of a product for."""
        photo = self.vendure.ask(SOURCE, self.there.token, id=product)["assets"][0]["source"]
        return str(page.evaluate(RECOGNISE, {"model": self.fields["modelBaseUrl"], "photo": photo}))


def photos(product: str, count: int = 6) -> list[bytes]:
    """Return photos of a product of the example shop."""
    return [path.read_bytes() for path in sorted((CORNER_SHOP / product).iterdir())[:count]]


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_at, "it never came"
        time.sleep(0.2)


@contextmanager
def connected(place: Place, server: Server) -> Iterator[Shop]:
    """Yield a channel that is connected as the manual says: connect, then start Vendure with what that printed."""
    with running(place) as vendure:
        there = vendure.channel("circle")
        login = vendure.administrator(PERMISSIONS, [there.id])
        done("channels", "add", "T_1")
        done("channels", "set", "T_1", "modelRetrainDebounceSeconds=2")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHELFSIGHT_VENDURE_PASSWORD", login.password)
            printed = done(
                *("vendure", "connect", "T_1", "--api", vendure.url, "--username", login.username),
                *("--vendure-channel", there.id, "--deploy", "--server", server.facts["Address"]),
            )
        said = dict(line.split("\t") for line in printed.splitlines())
    with running(place, {"SHELFSIGHT_URL": said["url"], "SHELFSIGHT_SECRET": said["secret"]}) as vendure:
        yield Shop(vendure, there)


@pytest.fixture
def shop(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop on Vendure, connected with a server of ours that runs."""
    monkeypatch.setenv("SHELFSIGHT_DATA_DIR", str(tmp_path / "data"))
    with vendure_place(postgresql_url) as place, serving() as server, connected(place, server) as shop:
        yield shop


def test_photos_in_vendure_become_a_model_in_vendure_that_a_page_of_the_shop_loads(shop: Shop) -> None:
    ids = [shop.vendure.product(shop.there, name, photos(name), skus=[name]) for name in PRODUCTS]
    with launch_chromium() as browser, browser.new_page() as page:
        page.goto(shop.vendure.url.replace("127.0.0.1", "localhost") + "/health")
        page.add_script_tag(path=TENSORFLOW_JS)
        until(lambda: shop.fields["modelVersion"] is not None)
        until(lambda: [shop.answer(page, product) for product in ids] == ids)  # the first training may have seen two
    until(lambda: shop.fields["modelTrainingStatus"] == "ready")
    before = shop.fields

    asked_for = shop.vendure.ask(TRAIN, id=shop.there.id)
    assert asked_for["requestedBy"] == "Super Admin"
    until(lambda: shop.vendure.ask(TRAINING, id=shop.there.id)["status"] == "ready")
    ended = shop.vendure.ask(TRAINING, id=shop.there.id)
    assert ended["id"] == asked_for["id"]
    until(lambda: shop.fields["modelVersion"] == f"v{ended['version']}")
    assert shop.fields["modelBaseUrl"] != before["modelBaseUrl"]
