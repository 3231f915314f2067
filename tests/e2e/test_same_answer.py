"""The same picture gets the same answer on onnxruntime, TensorFlow.js 4 and Teachable Machine."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

from shelfsight.bundle.verify import load_bundle
from shelfsight.catalog.picture import centre_square, open_picture
from tests.conftest import CORNER_SHOP, TRY
from tests.e2e.browser import (
    MODEL_URL,
    Client,
    launch_chromium,
    load_client,
    missing,
    picture_sha256,
    serve_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Browser

    from tests.e2e.browser import Answer, Site

    Picture = NDArray[np.uint8]
    Floats = NDArray[np.float32]

TOLERANCE = 1e-4
"""Of a probability: twenty times what was measured, a twentieth of what dividing by 127.5 instead of 127 makes."""

SLOW = slice(None, None, 2)
"""The pictures for Teachable Machine, which takes half a second for each where there is no graphics card."""

WAITING_FOR = missing()
pytestmark = pytest.mark.skipif(WAITING_FOR is not None, reason=WAITING_FOR or "")


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Return what the recogniser sees of photos to try and of one photo per product, and of mixtures of two.

    The mixtures are hard: recognisers that differ a little would differ on them.
    """
    new = [_seen(path) for path in sorted(TRY.iterdir())]
    known = [_seen(min(product.iterdir())) for product in sorted(CORNER_SHOP.iterdir())]
    mixed = [(one // 2 + other // 2) for one, other in zip(known, [*known[1:], new[0]], strict=True)]
    return [*new, *known, *mixed]


@pytest.fixture(scope="module")
def onnx(demo_bundle: Path, pictures: list[Picture]) -> Floats:
    """Return the probabilities of `model.onnx`, which the clients must repeat."""
    return load_bundle(demo_bundle).probabilities(np.stack(pictures))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(demo_bundle: Path, pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a server of the example shop's bundle and of the pictures."""
    with serve_bundle(demo_bundle, pictures, tmp_path_factory.mktemp("pictures")) as site:
        yield site


@pytest.fixture(scope="module")
def tensorflow_js(browser: Browser, site: Site) -> list[Answer]:
    """Return what TensorFlow.js 4 says to every picture."""
    with load_client(browser, site, Client.TENSORFLOW_JS) as client:
        assert re.fullmatch(r"TF\.js 4\.[\d.]+, wasm", client.name)
        return [client.recognise(picture) for picture in site.pictures]


@pytest.fixture(scope="module")
def teachable_machine(browser: Browser, site: Site) -> list[Answer]:
    """Return what Teachable Machine says to every second picture."""
    with load_client(browser, site, Client.TEACHABLE_MACHINE) as client:
        assert client.name.startswith("Teachable Machine, TF.js 1.3.1, ")
        return [client.recognise(picture) for picture in site.pictures[SLOW]]


def test_some_pictures_are_hard_so_that_agreement_means_something(onnx: Floats) -> None:
    assert (onnx.max(axis=1) < 0.7).sum() >= 6


def test_tensorflow_js_sees_the_pixels_that_onnx_gets(tensorflow_js: list[Answer], pictures: list[Picture]) -> None:
    assert [answer.pixels_sha256 for answer in tensorflow_js] == [picture_sha256(picture) for picture in pictures]


def test_tensorflow_js_gives_the_answers_of_onnx(tensorflow_js: list[Answer], onnx: Floats) -> None:
    found = _probabilities(tensorflow_js)
    assert found.argmax(axis=1).tolist() == onnx.argmax(axis=1).tolist()
    assert np.abs(found - onnx).max() < TOLERANCE


def test_weights_in_blobs_give_the_very_same_answers(
    browser: Browser, site: Site, tensorflow_js: list[Answer]
) -> None:
    with load_client(browser, site, Client.TENSORFLOW_JS, model="model.shards.json") as client:
        sharded = [client.recognise(picture) for picture in site.pictures]
    assert _probabilities(sharded).tobytes() == _probabilities(tensorflow_js).tobytes()


def test_teachable_machine_sees_the_pixels_that_onnx_gets(
    teachable_machine: list[Answer], pictures: list[Picture]
) -> None:
    expected = [picture_sha256(picture) for picture in pictures[SLOW]]
    assert [answer.pixels_sha256 for answer in teachable_machine] == expected


def test_teachable_machine_gives_the_answers_of_onnx(teachable_machine: list[Answer], onnx: Floats) -> None:
    found = _probabilities(teachable_machine)
    assert found.argmax(axis=1).tolist() == onnx[SLOW].argmax(axis=1).tolist()
    assert np.abs(found - onnx[SLOW]).max() < TOLERANCE


def test_teachable_machine_names_the_products_in_the_order_of_the_labels(
    teachable_machine: list[Answer], demo_bundle: Path
) -> None:
    labels = json.loads((demo_bundle / "metadata.json").read_text())["labels"]
    assert {answer.labels for answer in teachable_machine} == {tuple(labels)}


def test_teachable_machine_reads_weights_in_blobs(
    browser: Browser, site: Site, teachable_machine: list[Answer]
) -> None:
    with load_client(browser, site, Client.TEACHABLE_MACHINE, model="model.shards.json") as client:
        sharded = client.recognise(site.pictures[0])
    assert sharded.probabilities.tobytes() == teachable_machine[0].probabilities.tobytes()


@pytest.mark.parametrize("client", Client)
@pytest.mark.parametrize("model", ["model.json", "model.shards.json"])
def test_a_token_on_the_model_reaches_every_file_of_its_weights(
    browser: Browser, site: Site, demo_bundle: Path, client: Client, model: str
) -> None:
    with load_client(browser, site, client, model=model, query="?token=abc") as loaded:
        asked = {urlsplit(url) for url in loaded.requested if "/ml-models/" in url}
    manifest = json.loads((demo_bundle / model).read_text())["weightsManifest"]
    weights = {path.replace("../../", "/ml-models/") for group in manifest for path in group["paths"]}
    names = {model, "metadata.json", *weights}
    assert {url.path for url in asked} == {name if name.startswith("/") else f"{MODEL_URL}{name}" for name in names}
    assert {url.query for url in asked} == {"token=abc"}


def _seen(path: Path) -> Picture:
    return np.asarray(centre_square(open_picture(path.read_bytes()), 224))


def _probabilities(answers: Sequence[Answer]) -> Floats:
    return np.stack([answer.probabilities for answer in answers])
