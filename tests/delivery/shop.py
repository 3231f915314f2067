"""A small shop with published versions, and a client that asks the delivery without a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, update

from shelfsight.access.keys import UrlSecret
from shelfsight.access.limits import RequestLimits
from shelfsight.access.rules import Caller
from shelfsight.access.url_tokens import Grant, issue
from shelfsight.bundle.documents import BackboneEntry, BlobEntry, FileEntry, Manifest
from shelfsight.catalog.store.channels import delete as delete_channel
from shelfsight.database.tables import channels, model_metadata, version_blobs
from shelfsight.delivery.downloads import Downloads
from shelfsight.delivery.files import FileDelivery
from shelfsight.delivery.published import Published
from shelfsight.delivery.store import ServedChannel
from shelfsight.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shelfsight.database.engine import Database
    from shelfsight.delivery.content import ContentLimits
    from shelfsight.storage import Storage

JSON = "application/json"
BYTES = "application/octet-stream"
FILES = {
    "model.json": json.dumps({"layers": ["dense"] * 300}).encode(),
    "weights.bin": hashlib.shake_256(b"weights").digest(5000),  # does not compress
    "model.ort": b"ORTM" * 700,  # does
}
CALLERS = {
    "reader": Caller(actor="token:reader", scopes=frozenset({"channel:secret:read"})),
    "device": Caller(actor="token:device", scopes=frozenset({"device"}), channel="secret"),
    "stranger": Caller(actor="token:stranger", scopes=frozenset({"channel:other:write"})),
}

MADE_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECRET = UrlSecret(id="k1", secret=b"1" * 32)


def served(channel: str) -> ServedChannel:
    """Return a private channel as `Shop.add_channel` makes it."""
    return ServedChannel(id=channel, token=f"ck_{channel}", private=True, created_at=MADE_AT)


def sha256(data: bytes) -> str:
    """Return the hash of some bytes."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Reply:
    """What a client got; `whole` if the answer was finished."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        """Return the body's document."""
        return json.loads(self.body)


@dataclass
class Clock:
    """A clock that a test sets forward."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@dataclass
class NotedRefusals:
    """Refusals, in the order in which they were noted."""

    noted: list[tuple[object, ...]] = field(default_factory=list)

    def note(self, *parts: object) -> None:
        """Note one."""
        self.noted.append(parts)


def authenticate(token: str) -> Caller:
    """Return one of CALLERS."""
    if token not in CALLERS:
        raise AuthenticationError("unknown")
    return CALLERS[token]


class Shop:
    """A database and a storage with versions in it, and the delivery that serves them."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        *,
        limits: ContentLimits | None = None,
        real_clock: Callable[[], float] | None = None,
        per_minute: int = 0,
    ) -> None:
        self.database = database
        self.storage = storage
        self.clock = Clock()
        self.secrets: tuple[UrlSecret, ...] = (SECRET,)
        self.refusals = NotedRefusals()
        self.runner = asyncio.Runner()
        self.downloads = Downloads(database)
        self.published = Published(
            database=database,
            storage=storage,
            authenticate=authenticate,
            secrets=lambda: self.secrets,
            limits=limits,
            clock=real_clock or self.clock,
        )
        rate = RequestLimits(per_minute, clock=self.clock)
        self.app = FileDelivery(published=self.published, refusals=self.refusals, downloads=self.downloads, rate=rate)

    def add_channel(self, channel: str, *, visibility: str = "public", made_at: datetime = MADE_AT) -> None:
        """Add a channel whose token is `ck_` and its id."""
        row = {"id": channel, "token": f"ck_{channel}", "visibility": visibility, "created_at": made_at}
        with self.database.write() as tx:
            tx.execute(insert(channels).values(row))

    def make_anew(self, channel: str) -> None:
        """Delete a channel, and make another of the same id, private and a second younger."""
        with self.database.write() as tx:
            delete_channel(tx, channel)
        self.add_channel(channel, visibility="private", made_at=MADE_AT + timedelta(seconds=1))

    def set_visibility(self, channel: str, visibility: str) -> None:
        """Make a channel public or private."""
        with self.database.write() as tx:
            tx.execute(update(channels).where(channels.c.id == channel).values(visibility=visibility))

    def publish(
        self,
        version: str = "1.0.0",
        files: Mapping[str, bytes] = FILES,
        *,
        channel: str = "default",
        blobs: Sequence[bytes] = (),
        types: Mapping[str, str] | None = None,
        latest: bool = True,
    ) -> Manifest:
        """Put a version into storage, add its row, and point `latest` to it."""
        folder = f"ml-models/{channel}/v{version}"
        manifest = manifest_of(version, files, channel=channel, blobs=blobs, types=types or {})
        for name, data in files.items():
            self.storage.put(f"{folder}/{name}", data)
        for data in blobs:
            self.storage.put(f"ml-models/blobs/{sha256(data)}.bin", data)
        self.storage.put(f"{folder}/manifest.json", manifest.to_json())
        checksum = sha256(files["model.ort"]) if "model.ort" in files else ""
        self.add_row(version, channel=channel, checksum=checksum, blobs=blobs)
        if latest:
            self.storage.point(f"ml-models/{channel}/latest", f"v{version}")
        return manifest

    def add_row(
        self,
        version: str,
        *,
        channel: str = "default",
        checksum: str = "",
        blobs: Sequence[bytes] = (),
        status: str = "testing",
    ) -> None:
        """Add what the database has of a version."""
        values = {"channel_id": channel, "version": f"v{version}"}
        with self.database.write() as tx:
            tx.execute(
                insert(model_metadata).values(**values, file_path="-", checksum_sha256=checksum, status=status)
            )
            for data in blobs:
                tx.execute(insert(version_blobs).values(**values, sha256=sha256(data)))

    def drop_row(self, version: str, *, channel: str = "default") -> None:
        """Delete a version's row."""
        where = (model_metadata.c.channel_id == channel, model_metadata.c.version == f"v{version}")
        with self.database.write() as tx:
            tx.execute(delete(model_metadata).where(*where))

    def sign(self, grant: Grant, *, seconds: float = 60) -> str:
        """Return a query with a token for a grant, which ends so many seconds from now."""
        return f"?token={issue(SECRET, grant, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))}"

    def get(self, path: str, /, method: str = "GET", *, address: str = "192.0.2.7", **headers: str) -> Reply:
        """Ask for a path under /assets/ml-models/."""
        return self.runner.run(self.ask(path, method, address=address, **headers))

    async def ask(self, path: str, /, method: str = "GET", *, address: str = "192.0.2.7", **headers: str) -> Reply:
        """Ask for a path, with `if_none_match` and so on as headers; `?…` is the query."""
        raw, _, query = (path if path.startswith("/") else f"/assets/ml-models/{path}").partition("?")
        scope = {
            "type": "http",
            "method": method,
            "raw_path": raw.encode("latin-1"),
            "path": raw,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": (address, 5),
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            sent.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        await self.app(scope, receive, send)
        start, *parts = sent
        return Reply(
            status=start["status"],
            headers={name.decode(): value.decode() for name, value in start["headers"]},
            body=b"".join(part.get("body", b"") for part in parts),
            whole=bool(parts) and not parts[-1].get("more_body", False),
        )

    def close(self) -> None:
        """End what runs."""
        self.runner.close()
        self.database.close()


def manifest_of(
    version: str,
    files: Mapping[str, bytes],
    *,
    channel: str = "default",
    blobs: Sequence[bytes] = (),
    types: Mapping[str, str] | None = None,
) -> Manifest:
    """Return the manifest of some files; `types` are media types other than by the name's end."""
    return Manifest(
        version=version,
        channel_id=channel,
        created_at=datetime.now(UTC),
        code_version="test",
        backbone=BackboneEntry(name="test", sha256="0" * 64),
        settings={},
        files=tuple(
            FileEntry(
                name=name,
                size=len(data),
                media_type=(types or {}).get(name, JSON if name.endswith(".json") else BYTES),
                sha256=sha256(data),
            )
            for name, data in files.items()
        ),
        blobs=tuple(BlobEntry(part="head", size=len(data), sha256=sha256(data)) for data in blobs),
    )
