"""The delivery behind a real server: streams, cut connections, versions that change while they are read."""

from __future__ import annotations

import http.client
import itertools
import os
import queue
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from shelfsight.delivery.content import ContentLimits
from shelfsight.storage import open_storage
from tests.delivery.shop import FILES, Shop, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.delivery.downloads import Source

ROOT = "/assets/ml-models/default"
MIB = 1024 * 1024
LARGE = b"".join(number.to_bytes(4, "big") for number in range(6 * 1024 * 1024))  # 24 MiB: streamed, not held
WAIT_S = 30


@contextmanager
def serving(shop: Shop) -> Iterator[int]:
    """Yield the port of a running server of the shop."""
    server = uvicorn.Server(uvicorn.Config(shop.app, log_level="critical", lifespan="off", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to the server, with room for little that nobody has read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    line.settimeout(WAIT_S)
    line.connect(("127.0.0.1", port))
    connection.sock = line
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, path: str, **headers: str) -> http.client.HTTPResponse:
    """Return the answer to GET, whose body is still to be read."""
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def test_many_requests_of_every_kind_share_a_connection(local_shop: Shop) -> None:
    local_shop.publish()
    model = FILES["model.json"]
    with serving(local_shop) as port, connected(port) as line:
        for _ in range(5):
            answer = ask(line, f"{ROOT}/latest/model.json")
            assert (answer.status, answer.read()) == (200, model)
            assert ask(line, f"{ROOT}/latest/model.json", range="bytes=1-3").read() == model[1:4]
            answer = ask(line, f"{ROOT}/latest/model.json", if_none_match=f'"{sha256(model)}"')
            assert (answer.status, answer.read()) == (304, b"")
            line.request("HEAD", f"{ROOT}/latest/model.json")
            answer = line.getresponse()
            assert (answer.status, answer.headers["content-length"], answer.read()) == (200, str(len(model)), b"")
            assert ask(line, f"{ROOT}/../../../etc/passwd").read().startswith(b'{"type"')


def test_large_file_arrives_whole_and_in_part(local_shop: Shop) -> None:
    local_shop.publish(files={"model.onnx": LARGE})
    with serving(local_shop) as port, connected(port) as line:
        assert ask(line, f"{ROOT}/v1.0.0/model.onnx").read() == LARGE
        answer = ask(line, f"{ROOT}/v1.0.0/model.onnx", range="bytes=3000000-9999999")
        assert (answer.status, answer.read()) == (206, LARGE[3_000_000:10_000_000])
        assert ask(line, f"{ROOT}/v1.0.0/model.onnx", range="bytes=-5").read() == LARGE[-5:]


def test_file_that_shrinks_while_it_is_sent_is_cut_off(local_shop: Shop, assets: Path) -> None:
    local_shop.publish(files={"model.onnx": LARGE})
    with serving(local_shop) as port, connected(port) as line:
        answer = ask(line, f"{ROOT}/v1.0.0/model.onnx")
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(LARGE)))
        os.truncate(assets / "ml-models/default/v1.0.0/model.onnx", 20 * 1024 * 1024)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_nothing_is_read_for_a_client_that_has_gone(local_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    local_shop.publish(files={"model.onnx": LARGE})
    read_bytes, ended = [], threading.Event()
    real = local_shop.storage.stream

    async def stream(path: str, **options: Any) -> AsyncIterator[bytes]:
        try:
            async for chunk in real(path, **options):
                read_bytes.append(len(chunk))
                yield chunk
        finally:
            ended.set()

    monkeypatch.setattr(local_shop.storage, "stream", stream)
    with serving(local_shop) as port:
        with connected(port) as line:
            ask(line, f"{ROOT}/v1.0.0/model.onnx").read(1000)
        assert ended.wait(WAIT_S)
    assert sum(read_bytes) < len(LARGE)


@pytest.mark.parametrize("limits", [ContentLimits(), ContentLimits(whole=64 * MIB)])
def test_client_that_has_gone_is_counted_for_what_it_took(
    fresh_database: Database, assets: Path, limits: ContentLimits
) -> None:
    shop = Shop(fresh_database, open_storage(assets), limits=limits)
    shop.publish(files={"model.onnx": LARGE})
    counts: queue.Queue[tuple[Source, int]] = queue.Queue()
    shop.downloads.count = lambda *counted: counts.put(counted)  # type: ignore[method-assign]
    with serving(shop) as port:
        with connected(port) as line:
            ask(line, f"{ROOT}/v1.0.0/model.onnx").read(1000)
        source, size_bytes = counts.get(timeout=WAIT_S)
        with connected(port) as line:
            assert ask(line, f"{ROOT}/v1.0.0/model.onnx").read() == LARGE
        assert counts.get(timeout=WAIT_S) == (source, len(LARGE))
    shop.close()
    assert source == ("default", "model.onnx", "1.0.0", "anonymous")
    assert 0 < size_bytes < len(LARGE)


def test_reader_of_latest_gets_whole_files_while_it_is_switched(fresh_database: Database, assets: Path) -> None:
    ticks = itertools.count()
    shop = Shop(fresh_database, open_storage(assets), real_clock=lambda: 0.1 * next(ticks))  # nothing is new for long
    versions = [{name: data * repeat for name, data in FILES.items()} for repeat in (1, 2)]
    for number, files in enumerate(versions):
        shop.publish(f"1.0.{number}", files)
    done = threading.Event()

    def switch() -> None:
        for number in itertools.cycle((0, 1)):
            shop.storage.point("ml-models/default/latest", f"v1.0.{number}")
            if done.is_set():
                return

    seen = set()
    with serving(shop) as port, connected(port) as line:
        switcher = threading.Thread(target=switch)
        switcher.start()
        try:
            for name in [*FILES] * 60:
                answer = ask(line, f"{ROOT}/latest/{name}")
                body = answer.read()
                assert (answer.status, answer.headers["etag"]) == (200, f'"{sha256(body)}"')
                seen.add((name, [files[name] for files in versions].index(body)))
        finally:
            done.set()
            switcher.join()
    shop.close()
    assert len(seen) == 2 * len(FILES)


def test_pointer_is_a_link_that_nginx_follows(local_shop: Shop, assets: Path) -> None:
    local_shop.publish()
    assert (assets / "ml-models/default/latest").readlink().as_posix() == "v1.0.0"
    assert (assets / "ml-models/default/latest/model.json").read_bytes() == FILES["model.json"]
