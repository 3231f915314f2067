"""HTTP as uvicorn speaks it, with an end to what a request may send before its body, and answers in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_HEADER_BYTES = 32 * 1024
"""Of the address and all headers of one request; a browser sends less than one."""

_MAX_WAITING_BYTES = MAX_HEADER_BYTES + 256 * 1024  # what comes at once may begin with the body of another request
_SHORT_BYTES = 64 * 1024
_HAS_LENGTH = b"content-length: "
_BODY = b'{"error": "the address and the headers of a request may have 32 KiB altogether"}'
_HEADERS = (
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"access-control-allow-origin", b"*"),
    (b"connection", b"close"),
)
_LINES = b"".join(b"%b: %b\r\n" % header for header in _HEADERS)
_REFUSED = b"HTTP/1.1 431 Request Header Fields Too Large\r\n%b\r\n%b" % (_LINES, _BODY)


class HttpProtocol(HttpToolsProtocol):
    """Refuses headers that are too large, which uvicorn would take into memory, and sends short answers at once."""

    _waiting_bytes = 0
    """What has come of a request whose headers have not ended."""

    _answer: _OnePiece | None = None
    """The connection, as the request that is being answered sees it."""

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if len(data) + self._waiting_bytes <= MAX_HEADER_BYTES:
            super().data_received(data)
        else:
            answering, self.app = self.app, _bounded(self.app)
            super().data_received(data)
            self.app = answering
        if self.cycle is not None and self.cycle.scope is self.scope:
            self._waiting_bytes = 0
            return
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_REFUSED)
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answer = _OnePiece(cycle.transport)
        cycle.transport = cast("asyncio.Transport", self._answer)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Send what waits for a body that does not come, as after HEAD."""
        if self._answer is not None:
            self._answer.flush()
        super().on_response_complete()


class _OnePiece:
    """A connection on which the headers of an answer wait for its body, if that comes at once and is short.

    Otherwise they would be a packet of their own, which costs server, network and device about as much as the rest.
    """

    __slots__ = ("_is_new", "_transport", "_waiting")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._is_new = True
        self._waiting = b""

    def write(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            if _HAS_LENGTH in data:  # else the body may be a stream, whose first event comes whenever it likes
                self._waiting = data
                return
        if self._waiting and len(data) <= _SHORT_BYTES:
            data, self._waiting = self._waiting + data, b""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._transport.write(waiting)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def _bounded(app: ASGIApp) -> ASGIApp:
    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = sum(len(name) + len(value) for name, value in scope["headers"])
        if len(scope["raw_path"]) + len(scope["query_string"]) + headers <= MAX_HEADER_BYTES:
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 431, "headers": list(_HEADERS)})
        await send({"type": "http.response.body", "body": _BODY})

    return bounded
