"""A real server of one channel, behind a network that breaks off, changes bytes, and is gone."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import uvicorn
from sqlalchemy import insert, text
from starlette.responses import Response

from shelfsight.access.keys import config_keys
from shelfsight.access.limits import RequestLimits
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.bundle.backbone import DEFAULT, load_backbone
from shelfsight.bundle.head import make_head
from shelfsight.bundle.write import BundleFacts, write_bundle
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import channels, products
from shelfsight.database.tables import model_metadata, version_blobs
from shelfsight.registry import store
from shelfsight.web.headers import CONTENT_SECURITY_POLICY
from tests.e2e.browser import ROOT
from tests.tiny import CHANNELS, tiny_backbone, write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

CHANNEL = "T_1"
PAGE = "/page/"
PRODUCTS = ("apple", "birne", "ця груша")
"""What the tiny bundle knows."""
NO_MODEL = "Camera recognition not yet set up. Add products with images first."

_SOURCES = Path(__file__).parent / "pages" / "client"
_ESBUILD = ROOT / "node_modules" / ".bin" / "esbuild"
_WASM = ROOT / "node_modules" / "@tensorflow" / "tfjs-backend-wasm" / "dist"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}
_CHUNK = 16 * 1024
_EMBEDDINGS = {"tiny": CHANNELS, DEFAULT: 1280}
_OWNER = Stamp(actor="owner", at=datetime(2026, 11, 20, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as the server saw it; `sent_bytes` of the body went out, compressed as they were."""

    method: str
    path: str
    range: str | None
    status: int
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the network makes of an answer.

    Attributes:
        cut_after: the connection breaks after so many bytes of the body.
        flip: this byte of the body is another one when it arrives.
        status: the answer is this one, and empty; the server has not been asked.
        headers: of that answer.
        hold: it waits for this before the body.
        lose: the server has done what it was asked for, and nobody hears of it.
    """

    cut_after: int | None = None
    flip: int | None = None
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    hold: threading.Event | None = None
    lose: bool = False


@dataclass(kw_only=True)
class Network:
    """ASGI application in front of another one."""

    app: Any
    pages: Path
    policy: str = CONTENT_SECURITY_POLICY
    log: list[Seen] = field(default_factory=list)
    running: int = 0
    trouble: Callable[[Scope], Fault | None] = lambda _scope: None
    _holds: set[threading.Event] = field(default_factory=set)

    def release(self) -> None:
        """Let go on what is held: a server that stops waits for its answers."""
        for hold in self._holds:
            hold.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and its answer back, as well as the network is today."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(PAGE):
            await self._page(scope["path"].removeprefix(PAGE))(scope, receive, send)
            return
        fault = self.trouble(scope) or Fault()
        if fault.flip is not None:  # of what arrives, not of how it is packed
            scope = {**scope, "headers": [one for one in scope["headers"] if one[0] != b"accept-encoding"]}
        if fault.hold:
            self._holds.add(fault.hold)
        line = _Line(fault, send)
        self.running += 1
        try:
            if fault.status is not None:
                answer = Response(status_code=fault.status)
                answer.raw_headers += fault.headers
                await answer(scope, receive, line.send)
            else:
                await self.app(scope, receive, line.send)
        finally:
            self.running -= 1
            wanted = dict(scope["headers"]).get(b"range")
            self.log.append(
                Seen(
                    method=scope["method"],
                    path=scope["path"],
                    range=wanted.decode() if wanted else None,
                    status=line.status,
                    sent_bytes=line.sent_bytes,
                )
            )

    def _page(self, name: str) -> Response:
        file = self.pages / name
        headers = {"content-security-policy": self.policy, "cache-control": "no-store"}
        if not file.is_file():
            return Response(status_code=404)
        return Response(file.read_bytes(), media_type=_TYPES.get(file.suffix, "image/jpeg"), headers=headers)

    def seen(self, part: str) -> list[Seen]:
        """Return the requests with `part` in their path."""
        return [one for one in self.log if part in one.path]


@dataclass
class _Line:
    """One answer on its way."""

    fault: Fault
    on: Send
    status: int = 0
    sent_bytes: int = 0
    is_cut: bool = False

    async def send(self, message: Message) -> None:
        if self.fault.lose or self.is_cut:
            return  # the server closes the connection of an answer that does not end
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self.on(message)
            return
        if self.fault.hold:
            await asyncio.to_thread(self.fault.hold.wait)
        body = bytes(message.get("body", b""))
        for start in range(0, len(body), _CHUNK):
            if not self.is_cut:
                await self._send_part(body[start : start + _CHUNK])
        if not self.is_cut and not message.get("more_body", False):
            await self.on({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_part(self, part: bytes) -> None:
        left = None if self.fault.cut_after is None else self.fault.cut_after - self.sent_bytes
        if left is not None and left <= len(part):
            part, self.is_cut = part[:left], True
        place = -1 if self.fault.flip is None else self.fault.flip - self.sent_bytes
        if 0 <= place < len(part):
            part = part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :]
        self.sent_bytes += len(part)
        await self.on({"type": "http.response.body", "body": part, "more_body": True})
        if self.is_cut:
            await asyncio.sleep(0.05)  # so that what was sent is out before the connection is closed


class ClientShop:
    """A channel with versions, a catalogue, and devices. One at a time listens on its port."""

    def __init__(self, database: Database, storage: Storage, pages: Path) -> None:
        self.database = database
        self.storage = storage
        self.services = Services(database=database, storage=storage, limits=RequestLimits(0))
        self.network = Network(app=build_app(self.services), pages=pages)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        with database.write() as tx:
            channels.create(tx, CHANNEL, {}, _OWNER)
            products.put(tx, CHANNEL, {name: ProductDetails(name=name.title()) for name in PRODUCTS}, _OWNER)
            self.token = channels.get(tx, CHANNEL).token

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    def options(self, **more: Any) -> dict[str, Any]:
        """Return what the pairing link of the channel tells a client."""
        keys = [key.id for key in config_keys(self.database)]
        return {"channel": CHANNEL, "token": self.token, "trustedKeys": keys, **more}

    def start(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.network, log_level="critical", ws="none", timeout_graceful_shutdown=1, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the server ended before it started"

    def stop(self) -> None:
        """Be gone."""
        self.network.release()
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()
        self._server = self._thread = None

    def publish(self, bundle: Path, *, release: bool = True) -> str:
        """Put a bundle where devices get it, whatever is in it, and make it stable; return its version."""
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        version: str = manifest["version"]
        for file in manifest["files"]:
            self.storage.put(f"ml-models/{CHANNEL}/v{version}/{file['name']}", (bundle / file["name"]).read_bytes())
        for blob in manifest["blobs"]:
            name = f"{blob['sha256']}.bin"
            self.storage.put(f"ml-models/blobs/{name}", (bundle / "blobs" / name).read_bytes())
        self.storage.put(f"ml-models/{CHANNEL}/v{version}/manifest.json", (bundle / "manifest.json").read_bytes())
        key = {"channel_id": CHANNEL, "version": f"v{version}"}
        with self.database.write() as tx:
            tx.execute(insert(model_metadata).values(**key, file_path="-", checksum_sha256=""))
            for blob in manifest["blobs"]:
                tx.execute(insert(version_blobs).values(**key, sha256=blob["sha256"]))
        if release:
            self.release(version)
        return version

    def release(self, version: str) -> None:
        """Make a version stable, and wait until devices are told so."""
        with self.database.write() as tx:
            store.make_stable(tx, CHANNEL, version)
        self._wait_until_told()

    def roll_out(self, version: str, **columns: Any) -> None:
        """Change columns of a version, as an operator does in SQL, and wait until devices are told so."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        statement = f"UPDATE model_metadata SET {changes} WHERE channel_id = :channel AND version = :version"
        with self.database.write() as tx:
            tx.execute(text(statement), {**columns, "channel": CHANNEL, "version": f"v{version}"})
        self._wait_until_told()

    def sell_no_more(self, product: str) -> None:
        """Delete a product."""
        with self.database.write() as tx:
            products.delete(tx, CHANNEL, product, stamp=_OWNER)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what the database has."""
        with self.database.read() as tx:
            return [dict(row) for row in tx.execute(text(query)).mappings()]

    def _wait_until_told(self) -> None:
        [row] = self.rows(f"SELECT sequence FROM channels WHERE id = '{CHANNEL}'")
        told, trouble = -1, self.network.trouble
        self.network.trouble = lambda _scope: None
        while self._server and told < row["sequence"]:
            answer = httpx2.get(f"{self.address}/v1/channels/{CHANNEL}/model-config")
            told = answer.json()["sequence"] if answer.is_success else -1
        self.network.trouble = trouble
        self.network.log.clear()


def only(part: str, fault: Callable[[], Fault | None]) -> Callable[[Scope], Fault | None]:
    """Return trouble with the requests that have `part` in their path, but for what a browser asks before one."""
    return lambda scope: fault() if part in scope["path"] and scope["method"] != "OPTIONS" else None


def tiny(tmp_path: Path, version: str, seed: int = 0) -> Path:
    """Return a tiny bundle of a version; a seed, a head."""
    place = tmp_path / f"bundle-{version}"
    place.mkdir()
    return write_tiny_bundle(place, seed=seed, channel=CHANNEL, version=version)


def wide(tmp_path: Path, version: str, seed: int, *, products: int) -> Path:
    """Return a tiny bundle with a head for many products, of 28 bytes each."""
    return _write(tmp_path / f"wide-{version}", tiny_backbone(), version, seed=seed, products=products)


def real(tmp_path: Path, version: str, *, seed: int) -> Path:
    """Return a bundle of the shipped backbone that knows 81 products, with a head drawn by lot."""
    return _write(tmp_path / f"real-{version}", load_backbone(), version, seed=seed, products=81)


def _write(place: Path, backbone: Backbone, version: str, *, seed: int, products: int) -> Path:
    place.mkdir()
    random = np.random.default_rng(seed)
    kernel = random.normal(0, 0.05, (_EMBEDDINGS[backbone.name], products)).astype(np.float32)
    labels = tuple(f"product-{number:05}" for number in range(products))
    head = make_head(labels, kernel, random.normal(0, 0.1, products).astype(np.float32))
    facts = BundleFacts(
        channel=CHANNEL,
        version=version,
        trained_at=_OWNER.at,
        training_duration_s=1.0,
        image_count=10 * products,
        accuracy=0.9,
        threshold=0.5,
        settings={"seed": seed},
    )
    write_bundle(place, backbone, head, facts, {"report.json": b"{}"})
    return place


def weights_of(bundle: Path) -> int:
    """Return how many tensors hold the weights of a bundle."""
    groups = json.loads((bundle / "model.shards.json").read_bytes())["weightsManifest"]
    return sum(len(group["weights"]) for group in groups)


def build_pages(folder: Path) -> Path:
    """Bundle the page of the tests as a page of somebody would be; return its folder."""
    built = subprocess.run(
        [_ESBUILD, "page.js", "--bundle", "--splitting", "--format=esm", f"--outdir={folder}", "--log-level=warning"],
        cwd=_SOURCES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for file in [_SOURCES / "index.html", *_WASM.glob("*.wasm")]:
        shutil.copy(file, folder)
    return folder


def with_labels(bundle: Path, labels: list[str]) -> Path:
    """Give a bundle other labels, and a manifest that says nothing of it; return its folder."""
    metadata = json.loads((bundle / "metadata.json").read_bytes())
    (bundle / "metadata.json").write_text(json.dumps({**metadata, "labels": labels}))
    return restamped(bundle)


def restamped(bundle: Path) -> Path:
    """Let a bundle's manifest name its files as they are now; return its folder."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for file in manifest["files"]:
        data = (bundle / file["name"]).read_bytes()
        file |= {"size": len(data), "sha256": sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle
