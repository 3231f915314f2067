"""The demo server: the bundle's public files and nothing else, under a policy that lets nothing in or out."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from starlette.testclient import TestClient

from shelfsight.web.demo import DemoProduct, build_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

LATEST = "/assets/ml-models/corner-shop/latest"
WEIGHTS = bytes(range(256)) * 8
BLOB = b"backbone"
BLOB_SHA256 = hashlib.sha256(BLOB).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a folder that is a bundle to look at, though not one to recognise with."""
    folder = tmp_path / "bundle"
    (folder / "blobs").mkdir(parents=True)
    files = {"model.json": b"{}", "weights.bin": WEIGHTS, "metadata.json": b'{"labels": []}'}
    for name, content in {**files, "report.json": b"{}", "report.html": b"<p>", "notes.txt": b"-"}.items():
        (folder / name).write_bytes(content)
    (folder / "blobs" / f"{BLOB_SHA256}.bin").write_bytes(BLOB)
    (folder / "blobs" / f"{'0' * 64}.bin").write_bytes(b"of another bundle")
    types = {".json": "application/json", ".bin": "application/octet-stream"}
    listed = [{"name": name, "mediaType": types[Path(name).suffix]} for name in [*files, "report.json"]]
    manifest = {"files": listed, "blobs": [{"part": "backbone", "sha256": BLOB_SHA256}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def client(bundle: Path, tmp_path: Path) -> Iterator[TestClient]:
    """Return a client of a shop with two products, one of them without a price, and one photo to try."""
    Image.new("RGB", (20, 20), "green").save(tmp_path / "pear.jpg")
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    products = [
        DemoProduct(id="pear", name="Birne ½", price="0.29", currency="EUR", picture=tmp_path / "pear.jpg"),
        DemoProduct(id="a/b", name="<b>", price=None, currency=None, picture=tmp_path / "page.html"),
    ]
    app = build_demo(bundle=bundle, channel="corner-shop", products=products, samples=[tmp_path / "pear.jpg"])
    with TestClient(app) as client:
        yield client


def test_the_address_alone_leads_to_the_till_of_the_channel(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/till/corner-shop")


def test_the_page_names_the_channel_and_shows_the_photos_to_try(client: TestClient) -> None:
    page = client.get("/till/corner-shop")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>corner-shop</h1>" in page.text
    assert 'data-photo="/till/corner-shop/samples/0"' in page.text


def test_a_channel_name_cannot_write_html_into_the_page(client: TestClient) -> None:
    page = client.get("/till/%22%3E%3Cscript%3E")
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text


def test_products_come_with_price_and_picture(client: TestClient) -> None:
    first, second = client.get("/till/corner-shop/products.json").json()["products"]
    assert first == {
        "id": "pear",
        "name": "Birne ½",
        "price": "0.29",
        "currency": "EUR",
        "picture": "/till/corner-shop/pictures/0",
    }
    assert second["price"] is None
    assert client.get(first["picture"]).headers["content-type"] == "image/jpeg"


def test_a_picture_that_is_a_page_is_served_as_bytes(client: TestClient) -> None:
    answer = client.get("/till/corner-shop/pictures/1")
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["model.json", "weights.bin", "metadata.json", "manifest.json"])
def test_files_of_the_manifest_are_served(client: TestClient, bundle: Path, name: str) -> None:
    answer = client.get(f"{LATEST}/{name}")
    assert answer.content == (bundle / name).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "report.json",  # even though this manifest lists it
        "report.html",
        "notes.txt",
        "blobs",
        "%2e%2e",
        "%2e%2e%2fpear.jpg",
        "..%5cpear.jpg",
        "%2fetc%2fpasswd",
        "weights.bin%00.json",
    ],
)
def test_nothing_else_of_the_folder_or_above_it_is_served(client: TestClient, name: str) -> None:
    answer = client.get(f"{LATEST}/{name}")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_a_blob_of_the_manifest_is_served_for_ever(client: TestClient) -> None:
    answer = client.get(f"/assets/ml-models/blobs/{BLOB_SHA256}.bin")
    assert answer.content == BLOB
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", [f"{'0' * 64}.bin", "%2e%2e%2fmodel.json", "model.json"])
def test_a_blob_that_the_manifest_does_not_name_is_not_served(client: TestClient, name: str) -> None:
    assert client.get(f"/assets/ml-models/blobs/{name}").status_code == 404


def test_a_channel_without_a_model_is_answered_in_json(client: TestClient) -> None:
    answer = client.get("/assets/ml-models/other-shop/latest/metadata.json")
    assert (answer.status_code, answer.json()) == (404, {"error": "No active model found"})


def test_a_bundle_that_is_not_there_yet_is_no_model(client: TestClient, bundle: Path) -> None:
    (bundle / "manifest.json").unlink()
    answer = client.get(f"{LATEST}/metadata.json")
    assert (answer.status_code, answer.json()) == (404, {"error": "No active model found"})


def test_a_retrained_bundle_shows_without_a_restart(client: TestClient, bundle: Path) -> None:
    before = client.get(f"{LATEST}/metadata.json").headers["etag"]
    (bundle / "metadata.json").write_text('{"labels": ["pear"]}')
    answer = client.get(f"{LATEST}/metadata.json", headers={"if-none-match": before})
    assert answer.json() == {"labels": ["pear"]}


def test_a_file_that_the_browser_has_costs_a_304(client: TestClient) -> None:
    first = client.get(f"{LATEST}/weights.bin")
    again = client.get(f"{LATEST}/weights.bin", headers={"if-none-match": f'"old", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


def test_a_broken_download_can_go_on_where_it_stopped(client: TestClient) -> None:
    answer = client.get(f"{LATEST}/weights.bin", headers={"range": "bytes=2000-"})
    assert (answer.status_code, answer.content) == (206, WEIGHTS[2000:])


@pytest.mark.parametrize("path", ["/till/corner-shop", f"{LATEST}/model.json", "/static/till.js", "/nowhere"])
def test_every_answer_forbids_foreign_code_and_guessing(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_is_served_with_the_types_that_browsers_insist_on(client: TestClient) -> None:
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/till/corner-shop").text)
    types = {path.rpartition(".")[2]: client.get(path).headers["content-type"] for path in named}
    types["wasm"] = client.get("/static/tfjs-backend-wasm-simd.wasm").headers["content-type"]
    assert types == {
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "svg": "image/svg+xml",
        "wasm": "application/wasm",
    }


def test_what_the_page_loads_never_changes_under_its_name(client: TestClient) -> None:
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/till/corner-shop").text)
    assert {client.get(path).headers["cache-control"] for path in named} == {"public, max-age=31536000, immutable"}


@pytest.mark.parametrize("name", ["stamp.json", "%2e%2e%2fdemo.py", "missing.js", "demo.html", "till.html"])
def test_nothing_beside_the_page_is_static(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", ["pictures/2", "samples/1", "pictures/-1"])
def test_there_are_only_as_many_pictures_as_products_and_samples(client: TestClient, path: str) -> None:
    assert client.get(f"/till/corner-shop/{path}").status_code == 404


def test_another_channel_sees_neither_products_nor_pictures(client: TestClient) -> None:
    assert client.get("/till/other-shop/products.json").json() == {"products": []}
    assert client.get("/till/other-shop/pictures/0").status_code == 404


def test_the_server_starts_without_the_libraries_of_training() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'PIL'} & set(sys.modules)"
    code = f"import sys; import shelfsight.web.demo; print({heavy} or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
