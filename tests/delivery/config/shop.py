"""A shop with published versions, operators who type SQL, and devices that ask for their config without a network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, insert, text

from shelfsight.access.keys import config_keys
from shelfsight.access.limits import RequestLimits
from shelfsight.access.signatures import Accepted, Trust, accept
from shelfsight.access.tokens import authenticate
from shelfsight.database.tables import channels, model_metadata
from shelfsight.delivery.config.serve import ConfigDelivery, Outside
from tests.delivery.shop import BYTES, JSON, Clock, NotedRefusals, Reply, manifest_of, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from shelfsight.access.rules import Caller
    from shelfsight.database.engine import Database
    from shelfsight.delivery.config.keep import Bounds
    from shelfsight.storage import Storage

FUNCTION = "/functions/v1/assessment-model-config"
FILES = {
    "model.json": b'{"layers": []}',
    "model.shards.json": b'{"shards": []}',
    "weights.bin": b"weights",
    "model.onnx": b"onnx",
    "model.int8.onnx": b"int8",
    "model.ort": b"ort",
}
PHONE_FILES = {"model.ort": b"ort"}
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADDRESS = "192.0.2.7"
_NO_SHARE = "rollout_percentage = 0, shadow_mode = false, shadow_percentage = 0"


@dataclass
class Wall:
    """The time of day, which a test sets forward."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        """Return it."""
        return self.at


@dataclass
class Asking:
    """Counts what the database is asked."""

    statements: list[str] = field(default_factory=list)

    def note(self, _connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        """Note one statement."""
        self.statements.append(statement)

    @property
    def questions(self) -> int:
        """How many of them read something."""
        return sum(statement.startswith("SELECT") for statement in self.statements)


@dataclass
class Lookups:
    """Authenticates as a server does, and remembers which tokens it was asked about."""

    database: Database
    asked: list[str] = field(default_factory=list)

    def __call__(self, token: str) -> Caller:
        """Return who it is."""
        self.asked.append(token)
        return authenticate(self.database, token)


class ConfigShop:
    """A database and a storage with versions in it, and a server of configs."""

    def __init__(
        self, database: Database, storage: Storage, *, per_minute: int = 0, bounds: Bounds | None = None
    ) -> None:
        self.database = database
        self.storage = storage
        self.clock = Clock()
        self.wall = Wall()
        self.refusals = NotedRefusals()
        self.lookups = Lookups(database)
        self.limits = RequestLimits(per_minute, clock=self.clock)
        self.bounds = bounds
        self.runner = asyncio.Runner()
        self.app = self.server()

    def server(self) -> ConfigDelivery:
        """Return another server of the same shop, which knows nothing yet."""
        return ConfigDelivery(
            Outside(
                database=self.database,
                storage=self.storage,
                authenticate=self.lookups,
                refusals=self.refusals,
                limits=self.limits,
                clock=self.clock,
                now=self.wall,
                bounds=self.bounds,
            )
        )

    def add_channel(self, channel: str, *, visibility: str = "public") -> None:
        """Add a channel whose key is `ck_` and its id."""
        with self.database.write() as tx:
            tx.execute(insert(channels).values(id=channel, token=f"ck_{channel}", visibility=visibility))

    def publish(
        self,
        version: str,
        files: Mapping[str, bytes] = FILES,
        *,
        channel: str = "default",
        stable: bool = False,
        **columns: Any,
    ) -> None:
        """Put a version into storage and its row into the database; a stable one becomes `latest`."""
        self.put(version, files, channel=channel)
        self.add_row(version, files, channel=channel, stable=stable, **columns)
        if stable:
            self.storage.point(f"ml-models/{channel}/latest", f"v{version}")

    def put(self, version: str, files: Mapping[str, bytes] = FILES, *, channel: str = "default") -> None:
        """Put the files of a version into storage."""
        folder = f"ml-models/{channel}/v{version}"
        types = {name: JSON if name.endswith(".json") else BYTES for name in files}
        for name, data in files.items():
            self.storage.put(f"{folder}/{name}", data)
        manifest = manifest_of(version, files, channel=channel, types=types)
        same = manifest.model_copy(update={"created_at": NOON})  # whenever it is put there
        self.storage.put(f"{folder}/manifest.json", same.to_json())

    def add_row(
        self,
        version: str,
        files: Mapping[str, bytes] = FILES,
        *,
        channel: str = "default",
        stable: bool = False,
        **columns: Any,
    ) -> None:
        """Add the row of a version."""
        checksum = sha256(files["model.ort"]) if "model.ort" in files else ""
        released = {"status": "active", "is_stable": True, "rollout_percentage": 100} if stable else {}
        values = {"channel_id": channel, "version": f"v{version}", "file_path": "-", "checksum_sha256": checksum}
        with self.database.write() as tx:
            tx.execute(insert(model_metadata).values({**values, **released, **columns}))

    def manifest(self, version: str, *, channel: str = "default") -> bytes:
        """Return the manifest of a version as it lies in storage."""
        return self.runner.run(self.storage.read(f"ml-models/{channel}/v{version}/manifest.json"))

    def sql(self, statement: str, **values: object) -> None:
        """Do what an operator types."""
        schema = "shelfsight." if self.database.is_postgresql else ""
        with self.database.engine.begin() as connection:
            connection.execute(text(statement.replace("shelfsight.", schema)), values)

    def make_stable(self, version: str, *, channel: str = "default") -> None:
        """Make a version stable, in SQL; `latest` does not follow by itself."""
        change = f"UPDATE model_metadata SET status = 'active', is_stable = true, {_NO_SHARE} "
        self.sql(
            f"{change} WHERE channel_id = :channel AND version = :version", channel=channel, version=f"v{version}"
        )

    def set_version(self, version: str, *, channel: str = "default", **columns: object) -> None:
        """Change columns of a version's row, in SQL."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        where = "channel_id = :channel AND version = :of"
        self.sql(f"UPDATE model_metadata SET {changes} WHERE {where}", channel=channel, of=f"v{version}", **columns)

    def sequence(self, channel: str = "default") -> int:
        """Return the sequence in the database."""
        with self.database.read() as tx:
            found: int = tx.execute(channels.select().where(channels.c.id == channel)).one().sequence
        return found

    def later(self, seconds: float = 1.1) -> Self:
        """Let that time pass."""
        self.clock.now_s += seconds
        self.wall.at += timedelta(seconds=seconds)
        return self

    def trust(self, channel: str = "default") -> Trust:
        """Return what a device of a channel knows that has just been paired."""
        return Trust(channel=channel, keys=frozenset(key.id for key in config_keys(self.database)))

    def accepted(self, reply: Reply, trust: Trust | None = None) -> Accepted:
        """Return the config in a reply, as a device accepts it."""
        assert reply.status == 200, reply.body
        return accept(reply.body, trust or self.trust(), self.wall.at)

    def get(self, path: str = FUNCTION, /, method: str = "GET", **headers: str) -> Reply:
        """Ask for a path."""
        return self.runner.run(self.ask(path, method, headers))

    async def ask(
        self,
        path: str = FUNCTION,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        *,
        address: str = ADDRESS,
        app: ConfigDelivery | None = None,
    ) -> Reply:
        """Ask for a path, with `if_none_match` and so on as headers."""
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (name.replace("_", "-").encode(), value.encode("utf-8", "surrogateescape"))
                for name, value in (headers or {}).items()
            ],
            "client": (address, 5),
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("no body is read")

        await (app or self.app)(scope, receive, send)
        start, body = sent
        return Reply(
            status=start["status"],
            headers={name.decode(): value.decode() for name, value in start["headers"]},
            body=body["body"],
            whole=True,
        )

    def asking(self) -> Asking:
        """Return what counts the questions to the database from now on."""
        found = Asking()
        event.listen(self.database.engine, "before_cursor_execute", found.note)
        return found

    def close(self) -> None:
        """End what runs."""
        self.runner.close()


def channel_path(channel: str) -> str:
    """Return the path of a channel's config."""
    return f"/v1/channels/{channel}/model-config"


def several(shop: ConfigShop, count: int, **arguments: Any) -> Iterator[Reply]:
    """Return the answers to as many requests at once."""

    async def ask() -> list[Reply]:
        return await asyncio.gather(*(shop.ask(**arguments) for _ in range(count)))

    return iter(shop.runner.run(ask()))
