"""supabase-js, as it comes from npm, against a running server: from Node, and from a page of another origin."""

from __future__ import annotations

import functools
import json
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.delivery.shop import FILES, sha256
from tests.delivery.supabase.world import MODELS, PHONES, World, open_shop
from tests.e2e.browser import CHROMIUM, ROOT, launch_chromium
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

PAGES = Path(__file__).parent / "pages"
ESBUILD = ROOT / "node_modules" / ".bin" / "esbuild"
CLIENT = ROOT / "node_modules" / "@supabase" / "supabase-js"
HASHES = {name: sha256(data) for name, data in FILES.items()}

pytestmark = [
    pytest.mark.skipif(not CLIENT.is_dir(), reason="needs the JavaScript packages: run `npm ci`"),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="needs a browser: install the Debian package chromium"),
]


@dataclass(frozen=True)
class Shop:
    """A running shop."""

    world: World
    address: str

    def asked(self, place: str) -> dict[str, Any]:
        """Return what the calls are to be made with."""
        keys = {"anon": "ck_T_1", "service": self.world.service["T_1"], "private": "ck_secret"}
        return {"address": self.address, "keys": keys, "place": place}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop")) as (world, address):
        yield Shop(world, address)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of another origin, with the client in it; nothing may go wrong there that nobody expects."""
    folder = tmp_path_factory.mktemp("site")
    entry = [str(ESBUILD), str(PAGES / "supabase_page.js"), "--bundle", "--format=esm", "--log-level=error"]
    subprocess.run([*entry, f"--outfile={folder / 'page.js'}"], check=True, cwd=ROOT)
    (folder / "index.html").write_text('<!doctype html><script type="module" src="page.js"></script>')
    wrong: list[str] = []
    with served(folder) as site, launch_chromium() as browser, browser.new_context() as context:
        opened = context.new_page()
        opened.on("pageerror", lambda error: wrong.append(error.message))
        opened.goto(site)
        opened.wait_for_function("() => 'everyCall' in globalThis")
        yield opened
    assert wrong == []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a port of its own, and so from an origin of its own."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_facts: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def in_node(asked: dict[str, Any]) -> dict[str, Any]:
    """Make every call in Node."""
    command = ["node", str(PAGES / "supabase_node.js"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module", params=["node", "chromium"])
def answers(request: pytest.FixtureRequest, shop: Shop) -> dict[str, Any]:
    """What every call answered, in Node and in a page."""
    asked = shop.asked(f"of-{request.param}")
    if request.param == "node":
        return in_node(asked)
    found: dict[str, Any] = request.getfixturevalue("page").evaluate("asked => everyCall(asked)", asked)
    return found


def test_the_function_gives_the_config_or_says_that_it_is_unchanged(answers: dict[str, Any]) -> None:
    assert answers["config"] == {
        "channels": ["T_1", "T_1"],
        "platforms": ["universal", "web"],
        "version": "v1.0.0",
        "tagIsShown": True,
        "unchanged": 304,
    }


def test_files_are_read_and_listed(answers: dict[str, Any]) -> None:
    files = ["T_1_v1.0.0.json", "manifest.json", "model.json", "model.ort", "weights.bin"]
    assert answers["reads"] == {
        "model": HASHES["model.json"],
        "latest": HASHES["model.json"],
        "phone": HASHES["model.ort"],
        "streamed": HASHES["weights.bin"],
        "own": HASHES["model.json"],
        "publicly": HASHES["model.json"],
        "hidden": ["403", "this channel is private: send a key that"],
        "missing": ["404", "Object not found"],
        "noBucket": ["404", "Bucket not found"],
        "notPublic": 400,
        "info": {
            "name": "T_1/v1.0.0/model.json",
            "bucketId": MODELS,
            "size": len(FILES["model.json"]),
            "contentType": "application/json",
        },
        "exists": True,
        "existsNot": False,
        "buckets": [[PHONES, True], [MODELS, True]],
        "bucket": False,
        "folders": [["latest", None], ["v1.0.0", None], ["v1.1.0", None]],
        "files": files[1:3],
        "found": [["weights.bin", 5000]],
        "paged": ["models/T_1_v1.0.0.json", "models/T_1_v1.0.0.ort"],
    }


def test_signed_urls_are_read_whole_in_part_and_under_a_name(answers: dict[str, Any]) -> None:
    assert answers["signed"] == {
        "whole": HASHES["weights.bin"],
        "tag": f'"{HASHES["weights.bin"]}"',
        "part": [206, "bytes 1-3/5000", 3],
        "unchanged": 304,
        "disposition": 'attachment; filename="a b.bin"',
        "many": [["secret/v1.0.0/model.json", True, "string"], ["none", False, "object"]],
        "first": HASHES["model.json"],
        "weights": HASHES["weights.bin"],
        "elsewhere": 400,
        "unsigned": 400,
        "missing": ["404", "Object not found"],
        "tooLong": ["400", "a signed URL lasts 1 to 604800 seconds ("],
    }


def test_objects_live_from_upload_to_removal(answers: dict[str, Any]) -> None:
    found = answers["objects"]
    place = found["blob"][0].partition("/")[0]
    left = ["blob", "buffer", "copied", "form", "moved", "signed"]
    octets = "application/octet-stream"
    assert found == {
        "blob": [f"{place}/blob", f"{PHONES}/{place}/blob", "string"],
        "bodies": ["blob", "buffer", "string", "form"],
        "infos": [
            {
                "contentType": "application/x-foo",
                "cacheControl": "max-age=3600",
                "metadata": {"note": "é", "n": 1},
                "size": 4,
            },
            {"contentType": octets, "cacheControl": "max-age=60", "metadata": {"n": 2}, "size": 6},
            {"contentType": "text/plain;charset=UTF-8", "cacheControl": "max-age=3600", "metadata": {}, "size": 6},
            {"contentType": "a/form", "cacheControl": "max-age=3600", "metadata": {}, "size": 4},
        ],
        "duplicate": ["409", "The resource already exists"],
        "upserted": "upserted",
        "updated": "updated",
        "sent": f"{PHONES}/{place}/signed",
        "twice": ["409", "The resource already exists"],
        "copied": f"{PHONES}/{place}/copied",
        "moved": "Successfully moved",
        "listed": left,
        "removed": [f"{place}/{name}" for name in left],
        "left": [],
    }


def test_what_may_not_be_written_is_not_and_is_told(answers: dict[str, Any]) -> None:
    denied = ["403", "new row violates row-level security poli"]
    assert answers["refused"] == {
        "stranger": denied,
        "strangerRemoves": denied,
        "large": ["413", "The object exceeded the maximum allowed "],
        "largeIsThere": False,
        "published": ["409", "The resource already exists"],
        "removed": ["409", "models/T_1_v1.0.0.ort is published, and "],
        "readOnly": ["403", "ml-models is read only: publish a versio"],
        "bucket": ["409", "The resource already exists"],
    }


def test_model_metadata_is_read(answers: dict[str, Any]) -> None:
    active, testing = ["v1.0.0"], ["v1.1.0"]
    assert answers["rows"] == {
        "anon": active,
        "newest": {
            "version": "v1.1.0",
            "input_shape": [1, 224, 224, 3],
            "channel_id": "T_1",
            "rollback_threshold": 0.05,
        },
        "filters": [
            active,
            active,
            testing,
            [*active, *testing],
            testing,
            testing,
            testing,
            [*testing, *active],
            testing,
            testing,
        ],
        "single": {"v": "v1.1.0"},
        "notSingle": {"code": "PGRST116", "details": "The result contains 2 rows"},
        "maybe": None,
        "counted": [2, 1, 206],
        "head": [2, 200],
        "failed": [{"code": code} for code in ("42703", "PGRST205", "42501", "PGRST117", "PGRST117", "PGRST202")],
    }


@pytest.mark.parametrize("name", ["model.json", "model.shards.json"])
def test_tensorflow_js_loads_a_private_model_by_one_signed_url(
    shop: Shop, page: Page, tmp_path: Path, name: str
) -> None:
    version = f"2.0.{len(name)}"
    bundle = write_tiny_bundle(tmp_path / "bundle", channel="secret", version=version)
    files = {file.name: file.read_bytes() for file in bundle.iterdir() if file.suffix and file.stem != "manifest"}
    blobs = [blob.read_bytes() for blob in (bundle / "blobs").iterdir()]
    shop.world.shop.publish(version, files, channel="secret", blobs=blobs, latest=False)
    asked = {"address": shop.address, "key": "ck_secret", "path": f"secret/v{version}/{name}"}
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    answer = page.evaluate("asked => loadSigned(asked)", asked)
    assert answer == {"labels": 3, "sum": pytest.approx(1, abs=1e-4)}
    binaries = [url for url in requested if url.partition("?")[0].endswith(".bin")]
    assert len(binaries) == (len(blobs) if name == "model.shards.json" else 1)
    assert all("?token=" in url for url in binaries)
