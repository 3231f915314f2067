"""A server with channels, keys and a published version, asked in memory or through a socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from sqlalchemy import update

from shelfsight.access.keys import url_secrets
from shelfsight.access.limits import RequestLimits
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, authenticate, create_token
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.engine import open_database
from shelfsight.database.migrate import prepare
from shelfsight.database.tables import channels, model_metadata
from shelfsight.delivery.content import ContentLimits
from shelfsight.delivery.downloads import Downloads
from shelfsight.delivery.published import Published
from shelfsight.delivery.supabase.wire import SupabaseWire
from shelfsight.storage import open_storage
from tests.delivery.shop import FILES, Clock, NotedRefusals, Reply, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

CHANNELS = {"default": "public", "T_1": "public", "secret": "private"}
MODELS, PHONES = "ml-models", "assessment-models"
WAIT_S = 30


@dataclass
class World:
    """A wire over a database and a storage, and tokens that may write, by channel; keys are `ck_` and the channel."""

    database: Database
    storage: Storage
    per_minute: int = 0
    clock: Clock = field(default_factory=Clock)
    refusals: NotedRefusals = field(default_factory=NotedRefusals)

    def __post_init__(self) -> None:
        self.runner = asyncio.Runner()
        self.shop = Shop(self.database, self.storage)
        with self.database.write() as tx:
            tx.execute(update(channels).where(channels.c.id == "default").values(token="ck_default"))
        for channel, visibility in CHANNELS.items():
            if channel != "default":
                self.shop.add_channel(channel, visibility=visibility)
        self.service = {channel: self.token(f"channel:{channel}:write") for channel in CHANNELS}
        self.app = self.wire()

    def wire(self) -> SupabaseWire:
        """Return another server of the same database and storage."""
        published = Published(
            database=self.database,
            storage=self.storage,
            authenticate=partial(authenticate, self.database),
            secrets=partial(url_secrets, self.database),
            limits=ContentLimits(whole=100_000),
            clock=self.clock,
        )
        return SupabaseWire(
            database=self.database,
            storage=self.storage,
            published=published,
            refusals=self.refusals,
            downloads=Downloads(self.database),
            rate=RequestLimits(self.per_minute, clock=self.clock),
        )

    def token(self, *scopes: str, channel: str | None = None) -> str:
        """Return a new token of these scopes."""
        new = NewToken(name="test", scopes=scopes, channel=channel)
        return create_token(self.database, new, by=COMMAND_LINE).text

    def publish(self, channel: str = "T_1", version: str = "1.0.0", *, status: str = "active") -> None:
        """Publish a version with phone files and a blob."""
        files = {**FILES, f"{channel}_v{version}.json": f'{{"version":"v{version}"}}'.encode()}
        self.shop.publish(version, files, channel=channel, blobs=[blob_of(channel)])
        row = (model_metadata.c.channel_id == channel, model_metadata.c.version == f"v{version}")
        with self.database.write() as tx:
            tx.execute(update(model_metadata).where(*row).values(status=status))

    def ask(
        self, method: str, path: str, body: bytes | Sequence[bytes] = b"", /, key: str = "", **headers: str
    ) -> Reply:
        """Ask as a client does: `key` is sent as the clients send it; `content_type` and so on are headers."""
        if key:
            headers = {"apikey": key, "authorization": f"Bearer {key}", **headers}
        chunks = [body] if isinstance(body, bytes) else body
        return self.runner.run(_ask(self.app, method, path, chunks, headers))

    def get(self, path: str, /, key: str = "", **headers: str) -> Reply:
        """Ask for something under /storage/v1/object/."""
        return self.ask("GET", f"/storage/v1/object/{path}", key=key, **headers)

    def post(self, path: str, content: Any = None, /, key: str = "", **headers: str) -> Reply:
        """Send a document to a path under /storage/v1/object/."""
        body = json.dumps({} if content is None else content).encode()
        return self.ask("POST", f"/storage/v1/object/{path}", body, key=key, **headers)

    def select(self, query: str, /, key: str = "", method: str = "GET", **headers: str) -> Reply:
        """Read model_metadata."""
        return self.ask(method, f"/rest/v1/model_metadata?{query}", key=key, **headers)

    def sign(self, path: str, /, key: str = "", bucket: str = MODELS, expires_in: object = 60) -> str:
        """Return the path under /storage/v1/object/ of a new signed URL."""
        reply = self.post(f"sign/{bucket}/{path}", {"expiresIn": expires_in}, key=key)
        assert reply.status == 200, reply.body
        url: str = reply.json["signedURL"]
        return url.removeprefix("/object/")

    def later(self) -> None:
        """Let what is known of the database be old."""
        self.clock.now_s += 2

    def close(self) -> None:
        """End what runs."""
        self.runner.close()
        self.shop.close()

    def upload(self, path: str, data: bytes = b"xyz", /, channel: str = "T_1", **headers: str) -> Reply:
        """Upload an object to a channel, raw."""
        return self.ask("POST", f"/storage/v1/object/{PHONES}/{path}", data, key=self.service[channel], **headers)


def blob_of(channel: str) -> bytes:
    """Return the one blob of a channel's versions."""
    return f"head of {channel}".encode()


async def _ask(app: ASGIApp, method: str, path: str, chunks: Sequence[bytes], headers: dict[str, str]) -> Reply:
    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "raw_path": raw.encode("latin-1"),
        "path": raw,
        "query_string": query.encode("latin-1"),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("192.0.2.7", 5),
    }
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    return Reply(
        status=start["status"],
        headers={name.decode(): value.decode("latin-1") for name, value in start["headers"]},
        body=b"".join(part.get("body", b"") for part in parts),
        whole=bool(parts) and not parts[-1].get("more_body", False),
    )


@contextmanager
def open_shop(folder: Path) -> Iterator[tuple[World, str]]:
    """Yield a world with a released version in every channel, and the address of its whole server."""
    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    prepare(database)
    world = World(database, open_storage(folder / "assets"))
    for channel in CHANNELS:
        world.publish(channel)
        with database.write() as tx:
            tx.execute(update(model_metadata).where(model_metadata.c.channel_id == channel).values(is_stable=True))
    world.publish("T_1", "1.1.0", status="testing")
    world.storage.point("ml-models/T_1/latest", "v1.0.0")
    app = build_app(Services(database=database, storage=world.storage, limits=RequestLimits(0)))
    with serving(app) as address:
        yield world, address
    world.close()


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Yield the address of a running server of `app`."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(WAIT_S)
