"""A stand-in for Typesense: no package of its server can be had, so tests cannot start the real one.

Written after the official OpenAPI document (typesense/typesense-api-spec) and what is known of the real server:
imports answer a line for each document, 404 for one that is not there where it should be updated; new fields of a
collection must be optional when it has documents; a second change of a schema at once is refused with 422; a server
that is behind answers 503 "Not Ready or Lagging"; a page of a search has 250 hits at most. Everything is in memory.

It does not know typing errors, ranking, nested fields, facets, synonyms, or languages; words are split at spaces.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from tests.backfill.typesense_documents import Collection, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

API_KEY = "xyz-of-the-tests"
_ACCEPTED = b'{"success":true}'
_PIECE = 1 << 16
_BODY_LIMIT = 1 << 26
_ROUTES = (
    ("POST", r"/collections", "create"),
    ("GET", r"/collections/([^/]+)", "collection"),
    ("PATCH", r"/collections/([^/]+)", "alter"),
    ("DELETE", r"/collections/([^/]+)", "drop"),
    ("POST", r"/collections/([^/]+)/documents", "index"),
    ("POST", r"/collections/([^/]+)/documents/import", "import"),
    ("GET", r"/collections/([^/]+)/documents/export", "export"),
    ("GET", r"/collections/([^/]+)/documents/search", "search"),
    ("GET", r"/collections/([^/]+)/documents/([^/]+)", "document"),
    ("DELETE", r"/collections/([^/]+)/documents/([^/]+)", "delete"),
)


class Fault(StrEnum):
    """What goes wrong with one request."""

    LAGGING = "lagging"
    """503, and nothing is done."""
    ALTERING = "altering"
    """422 to a change of a schema, as if another one were under way; nothing is done."""
    OVERTAKEN = "overtaken"
    """A change of a schema is refused because somebody has made the same one just before."""
    CUT_BEFORE = "cut-before"
    """The connection is cut before anything is done."""
    CUT_HALFWAY = "cut-halfway"
    """Of an import, half is done; the connection is cut in the middle of the answer."""
    CUT_ANSWER = "cut-answer"
    """All is done; the connection is cut in the middle of the answer."""
    SILENT = "silent"
    """All is done, and no answer comes."""


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


@dataclass
class TypesenseServer:
    """The stand-in's state, which tests look at and change between requests.

    Attributes:
        refused_ids: documents with these ids are refused by imports, one by one.
        delay_s: so long every answer takes.
        seen: method and route of each request, such as `POST import`.
    """

    url: str = ""
    collections: dict[str, Collection] = field(default_factory=dict)
    refused_ids: set[str] = field(default_factory=set)
    delay_s: float = 0.0
    alter_s: float = 0.0
    seen: list[str] = field(default_factory=list)
    _faults: deque[tuple[Fault, str]] = field(default_factory=deque)
    _altering: set[str] = field(default_factory=set)

    def fail_next(self, fault: Fault, route: str = "import", times: int = 1) -> None:
        """Let the next requests of a route go wrong, such as `import`, `export`, `search`, `alter`."""
        self._faults.extend([(fault, route)] * times)

    def documents(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return a collection's documents by id."""
        return self.collections[collection].documents

    def fault_of(self, route: str) -> Fault | None:
        """Return what goes wrong with a request now."""
        for position, (fault, where) in enumerate(self._faults):
            if where == route:
                del self._faults[position]
                return fault
        return None

    async def answer(self, route: str, parts: list[str], request: Request, fault: Fault | None) -> tuple[int, bytes]:
        """Return status and body."""
        if fault is Fault.LAGGING:
            raise Refused(503, "Not Ready or Lagging")
        if fault is Fault.ALTERING:
            raise Refused(422, "Another collection update operation is in progress.")
        if route == "create":
            return self._create(orjson.loads(request.body))
        if parts[0] not in self.collections:
            raise Refused(404, "Not Found")
        if fault is Fault.OVERTAKEN:
            self.collections[parts[0]].alter(orjson.loads(request.body)["fields"])
        if route == "alter":
            return await self._alter(parts[0], orjson.loads(request.body))
        if route == "drop":
            return 200, orjson.dumps(self.collections.pop(parts[0]).description())
        if route == "import":
            return 200, self._import(self.collections[parts[0]], request, half=fault is Fault.CUT_HALFWAY)
        return _answer_of(self.collections[parts[0]], route, parts[1:], request)

    def _create(self, document: dict[str, Any]) -> tuple[int, bytes]:
        name = document["name"]
        if name in self.collections:
            raise Refused(409, f"A collection with name `{name}` already exists.")
        self.collections[name] = Collection(name, document["fields"])
        return 201, orjson.dumps(self.collections[name].description())

    async def _alter(self, name: str, document: dict[str, Any]) -> tuple[int, bytes]:
        if name in self._altering:
            raise Refused(422, "Another collection update operation is in progress.")
        self._altering.add(name)
        try:
            await asyncio.sleep(self.alter_s)
            self.collections[name].alter(document["fields"])
        finally:
            self._altering.discard(name)
        return 200, orjson.dumps(document)

    def _import(self, collection: Collection, request: Request, *, half: bool) -> bytes:
        lines = request.body.rstrip(b"\n").split(b"\n")
        action = request.query.get("action", "create")
        answers = [self._import_line(collection, line, action) for line in lines[: len(lines) // 2 if half else None]]
        return b"\n".join(answers)

    def _import_line(self, collection: Collection, line: bytes, action: str) -> bytes:
        try:
            document = _document(line)
            _refuse_if(document.get("id") in self.refused_ids, 400, "This document is refused by the test.")
            collection.write(document, action)
        except Refused as refused:
            return orjson.dumps(
                {"code": refused.status, "document": line.decode(), "error": refused.message, "success": False}
            )
        return _ACCEPTED


def _refuse_if(is_wrong: bool, status: int, message: str) -> None:
    if is_wrong:
        raise Refused(status, message)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Refused(400, "Bad JSON.") from None
    if not isinstance(document, dict):
        raise Refused(400, "Bad JSON: not a properly formed document.")
    return document


def _answer_of(collection: Collection, route: str, parts: list[str], request: Request) -> tuple[int, bytes]:
    """Answer what concerns the documents of one collection."""
    match route:
        case "collection":
            return 200, orjson.dumps(collection.description())
        case "index":
            document = _document(request.body)
            return 201, orjson.dumps(collection.write(document, request.query.get("action", "create")))
        case "export":
            return 200, collection.export(request.query)
        case "search":
            return 200, orjson.dumps(collection.search(request.query))
        case "document":
            return 200, orjson.dumps(collection.get(parts[0]))
        case _:
            return 200, orjson.dumps(collection.remove(parts[0]))


class _Connection:
    """One connection of a client: requests one after the other."""

    def __init__(self, server: TypesenseServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer

    async def serve(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._one():
                pass
        self._writer.close()

    async def _one(self) -> bool:
        request = await self._request()
        route, parts = _route(request)
        self._server.seen.append(f"{request.method} {route}")
        fault = self._server.fault_of(route)
        if fault is Fault.CUT_BEFORE:
            self._writer.transport.abort()
            return False
        await asyncio.sleep(self._server.delay_s)
        status, body = await self._answered(route, parts, request, fault)
        if fault is Fault.SILENT:
            await self._reader.read()  # until the client gives up
            return False
        self._writer.write(_head(status, len(body), is_chunked=route in {"import", "export"} and status == 200))
        if fault in {Fault.CUT_ANSWER, Fault.CUT_HALFWAY}:
            piece = body[: len(body) // 2]
            self._writer.write(b"%x\r\n%b" % (len(body), piece) if route in {"import", "export"} else piece)
            await self._writer.drain()
            return False
        await self._write(body, is_chunked=route in {"import", "export"} and status == 200)
        return True

    async def _answered(
        self, route: str, parts: list[str], request: Request, fault: Fault | None
    ) -> tuple[int, bytes]:
        try:
            is_known = request.headers.get("x-typesense-api-key") == API_KEY
            _refuse_if(not is_known, 401, "Forbidden - a valid `x-typesense-api-key` header must be sent.")
            _refuse_if(not route, 404, "Not Found")
            return await self._server.answer(route, parts, request, fault)
        except Refused as refused:
            return refused.status, orjson.dumps({"message": refused.message})

    async def _request(self) -> Request:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        return Request(method, url.path, query, body, headers)

    async def _write(self, body: bytes, *, is_chunked: bool) -> None:
        if not is_chunked:
            self._writer.write(body)
        else:
            for start in range(0, len(body), _PIECE):
                piece = body[start : start + _PIECE]
                self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await self._writer.drain()
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


def _route(request: Request) -> tuple[str, list[str]]:
    for method, pattern, name in _ROUTES:
        found = re.fullmatch(pattern, request.path)
        if found and method == request.method:
            return name, [unquote(part) for part in found.groups()]
    return "", []


def _head(status: int, size: int, *, is_chunked: bool) -> bytes:
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    return f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{length}\r\n\r\n".encode()


@contextmanager
def typesense_server(port: int = 0) -> Iterator[TypesenseServer]:
    """Yield a running stand-in, in a thread of its own; it ends with the block."""
    state = TypesenseServer()
    loop = asyncio.new_event_loop()
    is_up, is_over = threading.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end; asyncio would print it
            await _Connection(state, reader, writer).serve()
        writer.transport.abort()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", port, limit=_BODY_LIMIT)
        state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        is_up.set()
        await is_over.wait()
        server.close()
        served = asyncio.all_tasks() - {asyncio.current_task()}
        for task in served:
            task.cancel()
        await asyncio.gather(*served)
        await asyncio.sleep(0)  # in which the connections are closed

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="typesense-stand-in", daemon=True)
    thread.start()
    if not is_up.wait(10):
        raise RuntimeError("the stand-in for Typesense did not start")
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(10)
        loop.close()
