"""A server on this machine, which stands for one on the internet."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from shelfsight.catalog.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Site:
    """A server on this machine, which stands for one on the internet; `answers` by path."""

    port: int = 0
    connections: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)

    def url(self, path: str, host: str = "shop.example") -> str:
        return f"http://{host}:{self.port}{path}"

    def reach(self, **names: list[str]) -> Reach:
        """A reach for which 127.0.0.1 is public, and nothing else; names not given mean this server."""
        return Reach(
            is_allowed=lambda address: str(address) == "127.0.0.1",
            resolve=lambda host, _port: names.get(host.split(".", maxsplit=1)[0], ["127.0.0.1"]),
            ports=frozenset({self.port}),
            seconds=10,
        )


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def running_site(*, keeps_connections: bool = False) -> Iterator[Site]:
    """Yield a site that is served until the block ends."""
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if keeps_connections else "HTTP/1.0"

        def setup(self) -> None:
            found.connections += 1
            super().setup()

        def do_GET(self) -> None:
            found.asked.append((self.path, self.headers["host"]))
            found.answers.get(self.path, says(404))(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
