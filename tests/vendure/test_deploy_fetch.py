"""Deployed files are read back as a page would load them, and never from another server inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from shelfsight.errors import UnavailableError, UnreachableError, VendureError
from shelfsight.partners.vendure import assets
from shelfsight.partners.vendure.client import UploadFile
from shelfsight.vendure import deploy_fetch as room
from shelfsight.vendure import reach
from shelfsight.vendure.deploy import deploy
from shelfsight.vendure.deploy_fetch import fetch_file
from shelfsight.vendure.reach import own_reach
from tests.catalog.site import Site, running_site, says
from tests.vendure.models import model_files

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from tests.vendure.conftest import Shop
    from tests.vendure.server import VendureServer

HERE = "127.0.0.1"


def fetch(site: Site, path: str, waits: list[float] | None = None) -> bytes:
    api = site.url("/admin-api", HERE)
    return fetch_file(site.url(path, HERE), api, sleep=(waits if waits is not None else []).append)


def test_an_asset_of_vendure_is_read_until_it_is_gone(vendure: VendureServer) -> None:
    channel = vendure.channel()
    file = UploadFile(name="Fein & Köst.bin", data=b"\0" * 8 + b"x", media_type="application/octet-stream")
    made = assets.create(vendure.admin, file, tags=["read"], channel=channel.token)
    assert fetch_file(made.source, vendure.api) == file.data
    assets.delete(vendure.admin, [made.id], channel=channel.token)
    with pytest.raises(VendureError, match="cannot be read: the server answers 404; check Vendure's asset server"):
        fetch_file(made.source, vendure.api)


@pytest.mark.parametrize("redirected", [False, True])
def test_no_other_server_inside_is_asked(site: Site, other: Site, redirected: bool) -> None:
    target = other.url("/secret", HERE)
    site.answers["/a.bin"] = says(302, location=target)
    with pytest.raises(VendureError, match="neither Vendure's own nor on the public internet; check"):
        fetch_file(site.url("/a.bin", HERE) if redirected else target, site.url("/admin-api", HERE))
    assert other.asked == []


class Misled(httpx2.BaseTransport):
    """A Vendure that says of its assets that they are on another server."""

    def __init__(self, shop: Shop, other: Site) -> None:
        self._ours, self._other = shop.server.url.encode(), other.url("", HERE).encode()
        self._real = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._real.handle_request(request)
        body = answer.read().replace(self._ours + b"/assets", self._other)
        names = ("content-type", "vendure-auth-token")
        headers = {name: answer.headers[name] for name in names if name in answer.headers}
        return httpx2.Response(answer.status_code, headers=headers, content=body)

    def close(self) -> None:
        self._real.close()


def test_a_deployment_whose_files_are_on_another_server_inside_fails_and_leaves_nothing(
    shop: Shop, other: Site
) -> None:
    client = shop.server.client(transport=Misled(shop, other))
    with pytest.raises(VendureError, match=r"^Upload failed: .* neither Vendure's own nor on the public"):
        deploy(client, model_files(1), channel=shop.channel, version="1.0.0")
    assert other.asked == []
    assert (shop.assets(everywhere=True), shop.fields.ids) == (set(), frozenset())


def test_files_on_a_public_cdn_are_read_wherever_it_redirects_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "resolve", lambda *_: [HERE])  # every name is our site,
    monkeypatch.setattr(reach, "is_public", lambda _: True)  # which stands for the public internet
    signed = "/bucket/a.bin?X-Amz-Signature=ab%2Fcd&X-Amz-Expires=60"
    site.answers["/assets/a.bin"] = says(302, location=site.url("/a.bin", "cdn.example"))
    site.answers["/a.bin"] = says(307, location=site.url(signed, "s3.example"))
    site.answers[signed] = says(200, b"weights")
    assert fetch_file(site.url("/assets/a.bin", "shop.example"), "https://shop.example/admin-api") == b"weights"
    assert [host for _, host in site.asked] == [f"{name}.example:{site.port}" for name in ("shop", "cdn", "s3")]


def test_http_and_https_are_one_server_and_its_other_ports_are_not() -> None:
    found = own_reach("https://localhost/admin-api")
    for port in (80, 443):
        assert HERE in found.resolve("localhost", port)
    for api in ("https://localhost/admin-api", "http://localhost:3000/admin-api"):
        with pytest.raises(UnreachableError, match="neither Vendure's own"):
            own_reach(api).resolve("localhost", 5432)
    with pytest.raises(UnreachableError, match="neither Vendure's own"):
        own_reach("http://localhost:3000/admin-api").resolve("localhost", 80)


def test_a_file_is_asked_for_as_anybody_would(site: Site) -> None:
    names: list[set[str]] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        names.append({name.lower() for name in handler.headers})
        says(200, b"file")(handler)

    site.answers["/a.bin"] = answer
    assert fetch(site, "/a.bin") == b"file"
    assert names == [{"host", "accept", "accept-encoding", "user-agent"}]


def test_a_busy_server_is_asked_again_later_each_time(site: Site) -> None:
    left = [says(503), says(429), says(502), says(200, b"file")]
    site.answers["/a.bin"] = lambda handler: left.pop(0)(handler)  # noqa: PLW0108 (pops at each call)
    waits: list[float] = []
    assert fetch(site, "/a.bin", waits) == b"file"
    assert waits == [0, 0.5, 2, 6]


def test_one_that_stays_busy_or_is_away_is_given_up(site: Site) -> None:
    site.answers["/a.bin"] = says(503)
    with pytest.raises(UnavailableError, match="cannot be read now: the server answers 503; try again later"):
        fetch(site, "/a.bin")
    assert len(site.asked) == 4
    with running_site() as away:
        pass
    with pytest.raises(UnavailableError, match="the server cannot be reached"):
        fetch(away, "/a.bin")


def test_what_is_too_large_or_takes_too_long_is_not_read_to_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FILE_BYTES_MOST", 2**20)
    site.answers["/a.bin"] = says(200, b"x" * (2**20 + 1))
    with pytest.raises(VendureError, match="larger than 1 MiB"):
        fetch(site, "/a.bin")
    site.answers["/a.bin"] = says(200, b"x" * 2**20)
    assert len(fetch(site, "/a.bin")) == 2**20
    monkeypatch.setattr(room, "_WITHIN_S", 0.0)
    with pytest.raises(UnavailableError, match="does not answer in time"):
        fetch(site, "/a.bin")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "", "preview/a.bin", "http://user:pw@127.0.0.1/x"])
def test_what_is_no_address_of_the_web_is_told(site: Site, url: str) -> None:
    with pytest.raises(VendureError, match="check Vendure's asset server, its assetUrlPrefix"):
        fetch_file(url, site.url("/admin-api", HERE))
