"""How answers leave the server: what is written to the connection, and when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from shelfsight.cli.http import HttpProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"


class Connection(asyncio.Transport):
    """A connection that remembers what was written to it, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


def answer(status: int, *bodies: bytes, length: bool = True) -> App:
    """Return an application that answers with these bodies, one after the other."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = b"%d" % sum(map(len, bodies))
        headers = [(b"content-length", size)] if length else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, body in enumerate(bodies, start=1):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    return app


def written(app: App, *requests: bytes) -> Connection:
    """Return the connection after the application has answered the requests."""
    connection = Connection()

    async def serve() -> None:
        config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", log_level="critical", date_header=False)
        config.load()
        protocol = HttpProtocol(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(connection)
        for request in requests:
            protocol.data_received(request)
            for _ in range(20):
                await asyncio.sleep(0)
        protocol.connection_lost(None)

    asyncio.run(serve())
    return connection


@pytest.mark.parametrize("size", [0, 1, 64 * 1024])
def test_short_answer_is_one_piece(size: int) -> None:
    pieces = written(answer(200, b"b" * size), GET, GET).pieces
    assert len(pieces) == 2
    assert pieces[0] == pieces[1]
    head, _, body = pieces[0].partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"b" * size)


def test_long_body_is_not_copied() -> None:
    size = 64 * 1024 + 1
    head, body = written(answer(200, b"b" * size), GET).pieces
    assert head.endswith(b"\r\n\r\n")
    assert body == b"b" * size


def test_second_part_of_a_body_is_a_piece_of_its_own() -> None:
    first, second = written(answer(200, b"first", b"second"), GET).pieces
    assert first.endswith(b"\r\n\r\nfirst")
    assert second == b"second"


def test_stream_begins_before_its_first_event() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    (head,) = written(app, GET).pieces
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")


def test_head_has_headers_alone() -> None:
    pieces = written(answer(200, b"body"), HEAD, GET).pieces
    assert pieces[0].endswith(b"content-length: 4\r\n\r\n")
    assert pieces[1] == pieces[0] + b"body"


def test_client_that_waits_to_be_asked_for_its_body_is() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answer(200, b"got it")(scope, receive, send)

    first, *rest = written(app, POST, b"x").pieces
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"".join(rest).endswith(b"\r\n\r\ngot it")


def test_answer_that_breaks_off_is_cut_off_after_its_headers() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise ZeroDivisionError

    connection = written(app, GET)
    (head,) = connection.pieces
    assert head.endswith(b"content-length: 9\r\n\r\n")
    assert connection.closed
