"""A page of a shop loads what was deployed, by what anybody may ask of Vendure, with the real TensorFlow.js."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.bundle.uploads import LABELS, SIZE
from tests.e2e.browser import ROOT, launch_chromium
from tests.vendure.models import looking_like_a_program, model_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from shelfsight.vendure.deploy_rules import ModelFiles
    from tests.vendure.conftest import Shop
    from tests.vendure.server import VendureServer

TENSORFLOW_JS = ROOT / "node_modules/@tensorflow/tfjs/dist/tf.min.js"

# The picture is the same as anywhere: every pixel counts, and none is special.
_ANSWERS = """async ({ api, token, size, model, weights }) => {
  const picture = tf.tensor(Float32Array.from({ length: size * size * 3 }, (_, i) => ((i * 7919) % 256) / 127 - 1),
    [1, size, size, 3])
  const answer = async (loaded) => Array.from(await loaded.predict(picture).data())

  const query = '{ activeChannel { customFields { modelBaseUrl } } }'
  const asked = await fetch(api, { method: 'POST', body: JSON.stringify({ query }),
    headers: { 'Content-Type': 'application/json', 'vendure-token': token } })
  const url = (await asked.json()).data.activeChannel.customFields.modelBaseUrl
  const deployed = await tf.loadLayersModel(url)
  const { userDefinedMetadata } = await (await fetch(url)).json()
  const metadata = await (await fetch(new URL(userDefinedMetadata.metadata, url))).json()

  const [{ weights: weightSpecs }] = model.weightsManifest
  const modelTopology = model.modelTopology
  const weightData = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)).buffer
  const given = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData }))
  return { labels: metadata.labels, deployed: await answer(deployed), given: await answer(given) }
}"""


@pytest.fixture(scope="module")
def page(vendure: VendureServer) -> Iterator[Page]:
    """Yield a page with TensorFlow.js, of another origin than Vendure's files are of."""
    if not TENSORFLOW_JS.is_file():
        pytest.skip("needs the JavaScript packages: run `npm ci`")
    with launch_chromium() as browser, browser.new_page() as page:
        page.goto(vendure.url.replace("127.0.0.1", "localhost") + "/health")
        page.add_script_tag(path=TENSORFLOW_JS)
        yield page


@pytest.mark.parametrize("make", [model_files, looking_like_a_program])
def test_a_page_loads_the_model_and_its_labels_and_gets_the_answers_of_the_given_files(
    shop: Shop, page: Page, make: Callable[[], ModelFiles]
) -> None:
    files = make()
    shop.deploy(files, "1.0.0")
    found = page.evaluate(
        _ANSWERS,
        {
            "api": shop.server.url + "/shop-api",
            "token": shop.channel.token,
            "size": SIZE,
            "model": json.loads(files.model),
            "weights": base64.b64encode(files.weights["weights.bin"]).decode(),
        },
    )
    assert found["labels"] == list(LABELS)
    assert found["deployed"] == found["given"]
    assert sum(found["given"]) == pytest.approx(1, abs=1e-5)
    assert max(found["given"]) < 0.95  # else an answer would say little
