"""A network that breaks at one request to a real server: before it arrives, or after it had its effect."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Fault(httpx2.BaseTransport):
    """Breaks at the `nth` request whose body names an operation.

    Attributes:
        error: what happens then.
        arrives: whether the server has answered by then.
    """

    operation: str
    nth: int = 1
    error: Callable[[], BaseException] = field(default=lambda: httpx2.ReadError("the cable is cut"))
    arrives: bool = False

    def __post_init__(self) -> None:
        """Use the real network for the rest."""
        self._real = httpx2.HTTPTransport()
        self._seen = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as the server does, but for the one request."""
        if f"mutation {self.operation}(".encode() in request.read():
            self._seen += 1
            if self._seen == self.nth:
                if self.arrives:
                    self._real.handle_request(request).read()
                raise self.error()
        return self._real.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


@contextmanager
def held(api: str, operation: str) -> Iterator[tuple[str, threading.Event]]:
    """Yield the address of a proxy that keeps the first request of an operation, and what is set when it does."""
    is_held, over = threading.Event(), threading.Event()
    real = httpx2.Client(timeout=60)

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if f"mutation {operation}(".encode() in body and not is_held.is_set():
                is_held.set()
                over.wait()
                return
            names = {"host", "connection", "content-length"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in names}
            answer = real.post(api, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server, real:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/admin-api", is_held
        finally:
            over.set()
            server.shutdown()
            serving.join()
