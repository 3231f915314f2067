"""The routes of the till page: the same page for every channel, which may be installed and kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from shelfsight.web import till_page
from shelfsight.web.headers import SecurityHeaders
from shelfsight.web.static import DIST

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = re.compile(r'(?:href|src)="(/static/[^"]+)"')


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """Return a client of the page's routes."""
    app = FastAPI(middleware=[Middleware(SecurityHeaders)])
    app.include_router(till_page.router)
    with TestClient(app) as client:
        yield client


def files_of(worker: str) -> dict[str, str]:
    """Return the files that a service worker keeps: their hash by path."""
    return dict(re.findall(r'path:"([^"]+)",sha256:"([0-9a-f]{64})"', worker))


def test_the_page_names_its_channel_and_holds_no_secret(client: TestClient) -> None:
    page = client.get("/till/T_1")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'data-channel="T_1"' in page.text
    assert "ck_" not in page.text


@pytest.mark.parametrize("channel", ["%22%3E%3Cscript%3E", ".hidden", "a%2Fb", "x" * 65])
def test_what_is_no_id_of_a_channel_has_no_page(client: TestClient, channel: str) -> None:
    assert client.get(f"/till/{channel}").status_code in {404, 422}


def test_everything_that_the_page_shows_is_there_and_never_changes_under_its_name(client: TestClient) -> None:
    named = SHOWN.findall(client.get("/till/T_1").text)
    hashed = [path for path in named if not path.endswith(".html")]
    assert len(hashed) > 4
    for path in hashed:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


def test_the_page_that_a_browser_has_costs_a_304(client: TestClient) -> None:
    first = client.get("/till/T_1")
    again = client.get("/till/T_1", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/till/T_2", headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_the_page_is_the_same_compressed(client: TestClient) -> None:
    with client.stream("GET", "/till/T_1", headers={"accept-encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        body = b"".join(packed.iter_raw())
    plain = client.get("/till/T_1", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(body) == plain.content
    assert plain.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip;q=0.0", "br", ""])
def test_who_takes_no_gzip_gets_none(client: TestClient, accepted: str) -> None:
    path = next(path for path in SHOWN.findall(client.get("/till/T_1").text) if path.endswith(".js"))
    assert "content-encoding" not in client.get(path, headers={"accept-encoding": accepted}).headers


def test_scripts_are_sent_compressed_and_are_the_same_then(client: TestClient) -> None:
    path = next(path for path in SHOWN.findall(client.get("/till/T_1").text) if "/till-" in path and ".js" in path)
    packed = client.get(path, headers={"accept-encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == (DIST / path.removeprefix("/static/")).read_bytes()


def test_the_manifest_makes_an_app_of_each_channel(client: TestClient) -> None:
    answer = client.get("/till/T_1/manifest.webmanifest")
    assert answer.headers["content-type"] == "application/manifest+json"
    manifest = json.loads(answer.text)
    assert {manifest[name] for name in ("id", "start_url", "scope")} == {"/till/T_1"}
    assert manifest["display"] == "standalone"
    sizes = {(icon["sizes"], icon.get("purpose", "any")) for icon in manifest["icons"]}
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= sizes
    for icon in manifest["icons"]:
        assert client.get(icon["src"]).headers["content-type"] == icon["type"]


def test_the_service_worker_is_asked_for_anew_and_may_answer_for_one_channel_only(client: TestClient) -> None:
    headers = client.get("/till/T_1/service-worker.js").headers
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["service-worker-allowed"] == "/till/T_1"


def test_the_service_worker_knows_every_file_of_the_page_by_its_content(client: TestClient) -> None:
    worker, page = client.get("/till/T_1/service-worker.js").text, client.get("/till/T_1").text
    files = files_of(worker)
    for path, sha256 in files.items():
        assert hashlib.sha256(client.get(path).content).hexdigest() == sha256
    needed = {path for path in SHOWN.findall(page) if not path.endswith(".html")}
    assert needed <= set(files)
    loaded_later = {f"/static/{path.name}" for path in DIST.glob("*.wasm")}
    assert loaded_later <= set(files)
    [build] = re.findall(r'data-build="([0-9a-f]{12})"', page)
    assert f'"{build}"' in worker


def test_scripts_of_one_page_name_no_file_that_is_not_kept(client: TestClient) -> None:
    files = files_of(client.get("/till/T_1/service-worker.js").text)
    for path in [path for path in files if path.endswith(".js")]:
        named = re.findall(r'"\./([A-Za-z-]+-[0-9A-Z]{8}\.js)"', client.get(path).text)
        assert {f"/static/{name}" for name in named} <= set(files), path


def test_tensorflow_is_no_part_of_what_the_page_waits_for(client: TestClient) -> None:
    first = [path for path in SHOWN.findall(client.get("/till/T_1").text) if path.endswith(".js")]
    scripts = [client.get(path).text for path in first]
    assert sum(map(len, scripts)) < 200_000
    assert not any("loadLayersModel" in script for script in scripts)


def test_the_policy_lets_the_page_keep_itself_and_be_installed(client: TestClient) -> None:
    policy = client.get("/till/T_1").headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["worker-src"], rules["manifest-src"], rules["default-src"]) == ("'self'", "'self'", "'none'")


def test_the_page_about_https_needs_no_script(client: TestClient) -> None:
    page = client.get("/static/till-https.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    assert "shelfsight serve --tls" in page.text


@pytest.mark.parametrize(
    "name", ["till.html", "demo.html", "manifest.webmanifest", "service-worker.js.gz", "stamp.json"]
)
def test_templates_and_what_lies_beside_files_are_not_static(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404
