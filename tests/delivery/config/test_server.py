"""The config from a real server: the whole application, over HTTP as `shelfsight serve` speaks it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import uvicorn

from shelfsight.access.limits import RequestLimits
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.cli.http import MAX_HEADER_BYTES, HttpProtocol
from tests.delivery.config.shop import FUNCTION, ConfigShop, channel_path

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 30
KIB = 1024


@pytest.fixture
def port(small_shop: ConfigShop) -> Iterator[int]:
    """The port of a server with one version in the channel `default`."""
    small_shop.publish("1.0.0", stable=True)
    services = Services(
        database=small_shop.database,
        storage=small_shop.storage,
        limits=RequestLimits(0),
        assets_url="https://cdn.example",
    )
    config = uvicorn.Config(
        build_app(services), http=HttpProtocol, log_level="critical", access_log=False, lifespan="on"
    )
    with serving(uvicorn.Server(config)) as found:
        yield found


@contextmanager
def serving(server: uvicorn.Server) -> Iterator[int]:
    """Yield the port of a server that runs in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


@pytest.fixture
def line(port: int) -> Iterator[http.client.HTTPConnection]:
    """One connection to it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    yield connection
    connection.close()


def ask(
    line: http.client.HTTPConnection,
    method: str = "GET",
    path: str = FUNCTION,
    body: bytes | None = None,
    **headers: str,
) -> http.client.HTTPResponse:
    """Return the answer to a request, whose body is still to be read."""
    line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return line.getresponse()


def raw(port: int, sent: bytes) -> bytes:
    """Return all that a server answers to some bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        with suppress(OSError):  # it has heard enough
            connection.sendall(sent)
        answer = b""
        while True:
            try:
                received = connection.recv(65536)
            except ConnectionResetError:
                return answer
            if not received:
                return answer
            answer += received


def test_requests_of_every_kind_share_a_connection(line: http.client.HTTPConnection) -> None:
    for _ in range(3):
        answer = ask(line)
        body = answer.read()
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(body)))
        tag = json.loads(body)["etag"]
        assert answer.headers["etag"] == tag
        posted = ask(line, "POST", body=b'{"platform": "web"}' * 50_000, content_type="application/json")
        assert (posted.status, posted.read()) == (200, body)
        unchanged = ask(line, "POST", if_none_match=tag)
        assert (unchanged.status, unchanged.read()) == (304, b"")
        head = ask(line, "HEAD", channel_path("default"))
        assert (head.status, head.headers["content-length"], head.read()) == (200, str(len(body)), b"")
        asked = ask(line, "OPTIONS", origin="https://till.example")
        assert (asked.status, asked.read()) == (204, b"")
        none = ask(line, path=channel_path("nobody"))
        assert (none.status, json.loads(none.read())) == (404, {"error": "No active model found"})


def test_application_behind_it_answers_all_else(line: http.client.HTTPConnection) -> None:
    for path, status in (
        ("/healthz", 200),
        ("/v1/keys", 200),
        ("/v1", 404),
        ("/functions", 404),
        ("/api/v1/channels", 401),
    ):
        answer = ask(line, path=path)
        answer.read()
        assert answer.status == status


def test_files_are_where_the_settings_say(line: http.client.HTTPConnection) -> None:
    document = json.loads(ask(line).read())
    assert document["files"]["v1.0.0"]["baseUrl"] == "https://cdn.example/ml-models/default/v1.0.0/"


def test_pipelined_requests_are_answered_in_their_order(port: int) -> None:
    wanted = (FUNCTION, "/healthz", channel_path("nobody"), FUNCTION)
    lines = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in wanted]
    last = f"HEAD {FUNCTION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = raw(port, "".join((*lines, last)).encode())
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200, 200]
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("name", ["x-device-id", "apikey", "authorization", "if-none-match", "cookie", "x-anything"])
def test_headers_of_64_kib_are_refused_and_the_server_lives(port: int, name: str) -> None:
    sent = f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\n{name}: {'a' * 64 * KIB}\r\n\r\n"
    answer = raw(port, sent.encode())
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"\r\naccess-control-allow-origin: *\r\n" in answer
    many = "".join(f"x-{number}: {'a' * 100}\r\n" for number in range(700))
    answer = raw(port, f"POST {FUNCTION} HTTP/1.1\r\nHost: a\r\n{many}Content-Length: 2\r\n\r\n{{}}".encode())
    assert answer.startswith(b"HTTP/1.1 431 ")
    for size, status in ((40 * KIB, b"431"), (64 * KIB, b"400")):
        assert raw(port, f"GET {FUNCTION}?{'a' * size} HTTP/1.1\r\nHost: a\r\n\r\n".encode())[9:12] == status
    assert raw(port, f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())[9:12] == b"200"


def test_headers_that_never_end_are_cut_off(port: int) -> None:
    answer = raw(port, f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\nx-a: ".encode() + b"a" * 4_000_000)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
    answer = raw(port, f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\n".encode() + b"x-a: b\r\n" * 500_000)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer


def test_large_headers_that_browsers_may_send_are_fine(line: http.client.HTTPConnection) -> None:
    answer = ask(line, cookie="a" * (MAX_HEADER_BYTES - KIB), x_device_id="till-1")
    assert (answer.status, json.loads(answer.read())["channelId"]) == (200, "default")


def test_body_that_comes_with_the_headers_is_no_header(port: int) -> None:
    body = b"b" * 300_000
    head = f"POST {FUNCTION} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    last = f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = raw(port, head + body + head + body + last)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3


@pytest.mark.parametrize("value", ["till\r\nSet-Cookie: a=b", "till\nx: y", "till\x00", "till\rx: y"])
def test_line_breaks_in_a_value_reach_no_answer(port: int, value: str) -> None:
    for name in ("X-Device-Id", "apikey", "If-None-Match", "X-App-Platform"):
        answer = raw(
            port, f"GET {FUNCTION} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert answer[9:12] in {b"200", b"400"}
        assert b"a=b" not in head
        assert b"\r\nx: y" not in head
