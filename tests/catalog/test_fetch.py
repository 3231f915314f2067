"""Pictures are fetched from the public internet and never from inside, whatever a stranger tries."""

# ruff: noqa: S104 (nothing is bound to 0.0.0.0: it is refused)

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.catalog.fetch import fetch, fetch_each
from shelfsight.catalog.images import Added, Outcome, Upload
from shelfsight.catalog.reach import Reach, is_public
from shelfsight.errors import PictureError, UsageError
from tests.catalog.site import Site, says

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "168.63.129.16", "::ffff:168.63.129.16",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:7f00:1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "fe80::1", "fec0::1",
    "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "2001:db8::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1",
    "5f00::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1", "2002:101:101::"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_the_inside_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def refusal(url: str, reach: Reach) -> str:
    with pytest.raises(PictureError) as caught:
        fetch(url, reach)
    return str(caught.value)


def test_a_picture_is_fetched_and_its_server_is_asked_by_its_name(site: Site) -> None:
    site.answers["/a%20b/%C3%BC.jpg?x=1&y=%2F"] = says(200, b"picture")
    assert fetch(site.url("/a%20b/ü.jpg?x=1&y=%2F#part"), site.reach()) == b"picture"
    assert site.asked == [("/a%20b/%C3%BC.jpg?x=1&y=%2F", f"shop.example:{site.port}")]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "10.1.2.3", "169.254.169.254", "0x7f000001", "2130706433", "017700000001", "127.1",
        "localhost", "localhost.", "LOCALHOST", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "0.0.0.0", "[::]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "①②⑦.⓪.⓪.①",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_inside_is_refused_however_it_is_written(site: Site, host: str, scheme: str) -> None:
    reach = replace(Reach(), ports=frozenset({site.port}))
    reason = refusal(f"{scheme}://{host}:{site.port}/x", reach)
    assert reason in {"its server is not on the public internet", "the server cannot be reached"}
    assert site.asked == []


def test_a_name_with_a_private_address_is_refused(site: Site) -> None:
    for addresses in (["10.0.0.5"], ["::1"], ["127.0.0.1", "10.0.0.5"], ["fe80::1%eth0"], []):
        assert "not on the public internet" in refusal(site.url("/x"), site.reach(shop=addresses))
    assert site.asked == []


def test_a_redirect_to_the_inside_is_refused(site: Site) -> None:
    for number, location in enumerate(
        ["http://inside.example:{}/x", "//inside.example:{}/x", "http://10.0.0.1:{}/x"]
    ):
        site.answers[f"/{number}"] = says(302, location=location.format(site.port))
        reach = site.reach(inside=["10.0.0.5"], **{"10": ["10.0.0.1"]})
        assert "not on the public internet" in refusal(site.url(f"/{number}"), reach)
    for location in ("file:///etc/passwd", "gopher://shop.example/", "http://shop.example:22/"):
        site.answers["/odd"] = says(302, location=location)
        assert refusal(site.url("/odd"), site.reach()) in {
            "not an address of the web",
            "only http:// and https:// are asked",
            f"only the ports {site.port} are asked",
        }


@pytest.mark.parametrize("location", ["http://[x", "//[::1", "http://a]b/"])
def test_a_redirect_to_nothing_is_refused_in_words(site: Site, location: str) -> None:
    site.answers["/x"] = says(302, location=location)
    assert refusal(site.url("/x"), site.reach()) == "it redirects to what is no address of the web"


def test_redirects_are_followed_three_times(site: Site) -> None:
    for number in range(4):
        site.answers[f"/{number}"] = says(301 + number % 3, location=f"/{number + 1}")
    site.answers["/4"] = says(200, b"picture")
    assert fetch(site.url("/1"), site.reach()) == b"picture"
    assert refusal(site.url("/0"), site.reach()) == "redirected more than 3 times"


def test_a_name_that_changes_its_address_is_not_asked_twice(site: Site) -> None:
    site.answers["/x"] = says(200, b"picture")
    answers = iter([["127.0.0.1"], ["10.0.0.5"]])
    reach = replace(site.reach(), resolve=lambda _host, _port: next(answers))
    assert fetch(site.url("/x"), reach) == b"picture"
    assert "not on the public internet" in refusal(site.url("/x"), reach)


def test_the_system_resolves_no_name_a_second_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.answers["/x"] = says(200, b"picture")
    reach = site.reach()
    resolve = socket.getaddrinfo
    asked: list[str] = []

    def watched(host: str, *args: object, **options: object) -> object:
        asked.append(host)
        return resolve(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    assert fetch(site.url("/x"), reach) == b"picture"
    assert set(asked) <= {"127.0.0.1"}


def test_the_certificate_must_be_that_of_the_name_and_not_of_the_address(site: Site) -> None:
    wanted = []

    class Watching(ssl.SSLContext):
        def wrap_socket(self, *_: Any, server_hostname: Any = None, **__: Any) -> ssl.SSLSocket:
            wanted.append(server_hostname)
            raise ssl.SSLCertVerificationError("it is of another name")

    context = Watching(ssl.PROTOCOL_TLS_CLIENT)
    url = site.url("/x").replace("http:", "https:")
    assert "certificate" in refusal(url, replace(site.reach(), ssl_context=context))
    assert wanted == ["shop.example"]
    by_default = Reach().ssl_context
    assert by_default.check_hostname
    assert by_default.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://shop.example/x", "only http:// and https://"),
        ("file:///etc/passwd", "not an address"),
        ("data:image/png;base64,AAAA", "not an address"),
        ("//shop.example/x", "only http:// and https://"),
        ("x.jpg", "not an address"),
        ("http://anna:secret@shop.example/x", "user name or password"),
        ("http://anna@shop.example/x", "user name or password"),
        ("http://shop.example:22/x", "only the ports 80, 443"),
        ("https://shop.example:99999/x", "not an address"),
        ("http://shop.example/\nx", "not an address"),
        ("http://[::1/x", "not an address"),
        ("http://" + "a" * 70 + ".example/", "not an address"),
        ("http://shop.example/" + "x" * 2000, "not an address"),
    ],
)
def test_what_is_no_address_of_a_picture_is_refused(url: str, reason: str) -> None:
    assert reason in refusal(url, Reach())


def test_what_does_not_answer_with_a_picture_is_refused(site: Site) -> None:
    site.answers["/zip"] = says(200, b"x", content_encoding="gzip")
    assert refusal(site.url("/none"), site.reach()) == "the server answers 404"
    assert "compressed" in refusal(site.url("/zip"), site.reach())
    assert "certificate" in refusal(site.url("/x").replace("http:", "https:"), site.reach())


def test_what_is_too_large_is_refused_before_it_is_there(site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(100_000))
        except OSError:
            pass

    site.answers |= {"/endless": endless, "/said": says(200, b"x", content_length=str(2**40))}
    reach = replace(site.reach(), max_bytes=3 * 2**20)
    assert refusal(site.url("/endless"), reach) == "larger than 3 MiB"
    assert refusal(site.url("/said"), reach) == "larger than 3 MiB"


def test_a_server_that_drips_is_left_when_the_time_is_over(site: Site) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    site.answers["/drip"] = drip
    begun_at = time.monotonic()
    assert "not answer in time" in refusal(site.url("/drip"), replace(site.reach(), seconds=0.3))
    assert time.monotonic() - begun_at < 3


def test_a_name_server_that_never_answers_is_left_when_the_time_is_over(site: Site) -> None:
    forever = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        forever.wait(30)
        return []

    reach = replace(site.reach(), resolve=resolve, seconds=0.2)
    assert "not answer in time" in refusal(site.url("/x"), reach)
    forever.set()


def test_each_address_has_its_result_in_its_place(site: Site) -> None:
    site.answers |= {"/a": says(200, b"a"), "/b": says(200, b"b")}
    urls = [site.url(path) for path in ("/a", "/missing", "/b")]

    def add(upload: Upload) -> Added:
        return Added(name=upload.name, outcome=Outcome.ADDED, sha256=upload.data.decode())

    assert fetch_each(urls, add, site.reach()) == [
        Added(name=urls[0], outcome=Outcome.ADDED, sha256="a"),
        Added(name=urls[1], outcome=Outcome.REFUSED, reason="the server answers 404"),
        Added(name=urls[2], outcome=Outcome.ADDED, sha256="b"),
    ]
    with pytest.raises(UsageError, match="send at most 20"):
        fetch_each(["http://shop.example/"] * 21, add)
