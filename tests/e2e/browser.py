"""Chromium with the recognisers that others wrote, fed pixel by pixel: for the tests and for the benchmarks."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "/usr/bin/chromium"
MODEL_URL = "/ml-models/demo/v1.0.0/"

_PACKAGES = {"/node_modules/": ROOT / "node_modules"}
_SCRIPTS = (
    ROOT / "node_modules/@tensorflow/tfjs-backend-wasm",
    ROOT / "node_modules/@tensorflow/tfjs",
    ROOT / "node_modules/@teachablemachine/image",
)
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
"""Not as the system says: not every one knows .wasm."""


class Client(StrEnum):
    """A recogniser that runs in a browser, by the page that loads it."""

    TENSORFLOW_JS = "tensorflow_js.html"
    TEACHABLE_MACHINE = "teachable_machine.html"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a client said to a picture.

    Attributes:
        labels: product ids, in the order of the probabilities.
        probabilities: (labels,) float32.
        pixels_sha256: of the RGB bytes that the client saw.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    pixels_sha256: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A bundle and pictures, served on 127.0.0.1. `pictures` are paths, in the order in which they were given."""

    address: str
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedClient:
    """A client that has loaded a bundle.

    Attributes:
        name: the library, its version and backend, as the library itself says.
        requested: URLs that it asked for so far; grows.
    """

    name: str
    requested: list[str]
    page: Page

    def recognise(self, picture: str) -> Answer:
        """Return the answer to the picture at a path of the site."""
        answer = self.page.evaluate("url => recognise(url)", picture)
        return Answer(
            labels=tuple(answer["labels"]),
            probabilities=np.array(answer["probabilities"], np.float32),
            pixels_sha256=answer["pixelsSha256"],
            duration_ms=answer["durationMs"],
        )


def missing() -> str | None:
    """Return what has to be installed before a client can run, or None."""
    if not Path(CHROMIUM).is_file():
        return "needs a browser: install the Debian package chromium"
    if not all(path.is_dir() for path in _SCRIPTS):
        return "needs the JavaScript packages: run `npm ci`"
    return None


def picture_sha256(picture: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a picture's RGB bytes, as a client reports it."""
    return sha256(picture.tobytes()).hexdigest()


@contextmanager
def launch_chromium() -> Iterator[Browser]:
    """Yield a browser without a screen."""
    # WebGL on the processor where there is no card: Teachable Machine's other way takes four times as long.
    # On a busy machine WebGL on the processor is slow: the watchdog would take it for hung, and end it.
    arguments = ["--no-sandbox", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser,
    ):
        yield browser


@contextmanager
def serve_bundle(bundle: Path, pictures: Sequence[NDArray[np.uint8]], folder: Path) -> Iterator[Site]:
    """Serve a bundle as it lies in storage, with the pages and pictures that clients need.

    Args:
        pictures: each (height, width, 3), RGB; kept in `folder` as PNG, which loses nothing.
    """
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png", compress_level=1)
    mounts = {
        **_PACKAGES,
        "/pages/": Path(__file__).parent / "pages",
        "/pictures/": folder,
        MODEL_URL: bundle,
        "/ml-models/blobs/": bundle / "blobs",
    }
    with _serve(mounts) as address:
        yield Site(address=address, pictures=tuple(f"/pictures/{number}.png" for number in range(len(pictures))))


@contextmanager
def load_client(
    browser: Browser, site: Site, client: Client, *, model: str = "model.json", query: str = ""
) -> Iterator[LoadedClient]:
    """Yield a client that has loaded the site's bundle; in the end nothing may have gone wrong on its page.

    Args:
        query: goes behind the addresses of the model and of its metadata, such as `?token=abc`.
    """
    requested: list[str] = []
    wrong: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
        page.on("pageerror", lambda error: wrong.append(error.message))
        page.goto(f"{site.address}/pages/{client}")
        urls = [f"{MODEL_URL}{name}{query}" for name in (model, "metadata.json")]
        name = page.evaluate("([model, metadata]) => load(model, metadata)", urls)
        yield LoadedClient(name=name, requested=requested, page=page)
    wrong += [url for url in requested if not url.startswith((f"{site.address}/", "blob:", "data:"))]
    assert wrong == []


@contextmanager
def _serve(mounts: Mapping[str, Path]) -> Iterator[str]:
    """Serve folders under paths that begin and end in a slash, and yield the address."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            wanted = unquote(urlsplit(path).path)
            inside = (folder / wanted[len(mount) :] for mount, folder in mounts.items() if wanted.startswith(mount))
            return str(next(inside, ""))  # no such file, which is answered with 404

        def guess_type(self, path: str | os.PathLike[str]) -> str:
            return _TYPES.get(Path(path).suffix, "application/octet-stream")

        def end_headers(self) -> None:
            self.send_header("cache-control", "no-store")
            super().end_headers()

        def log_message(self, *_facts: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
