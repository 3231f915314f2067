"""A whole server in memory of the test, with routes that the tests count calls of."""

# ruff: noqa: S105 (what looks like a secret is made up)

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from argon2 import PasswordHasher
from fastapi import APIRouter, File, Response
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from shelfsight.access import audit, passwords
from shelfsight.access.administrators import has_administrator
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.api.documents import ApiDocument
from shelfsight.api.guards import AnyCaller, DeviceCaller, ReaderCaller, WriterCaller  # noqa: TC001 (FastAPI reads them)
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.database.tables import channels, idempotency_keys
from shelfsight.errors import (
    ConflictError,
    DatabaseError,
    NotFoundError,
    OutputError,
    UnavailableError,
    VendureAccessError,
)
from shelfsight.storage import open_storage
from tests.people import add_administrator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

PASSWORD = "correct horse battery"


class Note(ApiDocument):
    """What the tests post."""

    text: str
    times: int = 1


@dataclass
class Probe:
    """Routes of the tests, and what was asked of them; `during` runs inside a POST."""

    calls: list[str] = field(default_factory=list)
    during: Callable[[], None] = lambda: None
    status: int = 201

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/probe")

        @router.post("/notes", status_code=201)
        def post(note: Note, response: Response, caller: AnyCaller) -> dict[str, Any]:
            self.calls.append(note.text)
            number = len(self.calls)
            self.during()
            response.status_code = self.status
            response.headers["location"] = f"/probe/notes/{number}"
            return {"number": number, "text": note.text * note.times, "actor": caller.actor}

        @router.post("/files", status_code=201)
        def post_file(file: Annotated[bytes, File()], _caller: AnyCaller) -> dict[str, int]:
            self.calls.append("file")
            return {"size": len(file)}

        @router.post("/open")
        def post_open(note: Note) -> dict[str, str]:
            self.calls.append(note.text)
            return {"text": note.text}

        @router.get("/{channel_id}/device")
        def device(caller: DeviceCaller) -> str:
            return caller.actor

        @router.get("/{channel_id}/read")
        def read(caller: ReaderCaller) -> str:
            return caller.actor

        @router.put("/{channel_id}/write")
        def write(caller: WriterCaller) -> str:
            return caller.actor

        @router.get("/errors/{kind}")
        def fail(kind: str) -> None:
            raise ERRORS[kind]

        return router


ERRORS: dict[str, Exception] = {
    "missing": NotFoundError("product p1 does not exist"),
    "conflict": ConflictError("it is there already"),
    "busy": UnavailableError("the queue is full: try again"),
    "partner": VendureAccessError("Vendure does not know us: log in there"),
    "database": DatabaseError("could not connect to 10.0.0.5 as shelf:hunter2"),
    "output": OutputError("/home/shop/secret cannot be written"),
    "bug": KeyError("hunter2"),
}


@dataclass(frozen=True)
class World:
    """A server, its database, and tokens for it."""

    app: FastAPI
    database: Database
    probe: Probe

    def client(self, *scopes: str, channel: str | None = None, address: str = "192.0.2.7") -> Client:
        """Return a client with a token of those scopes; without scopes, one without a token."""
        client = TestClient(self.app, raise_server_exceptions=False, client=(address, 1234))
        if scopes:
            new = NewToken(name="test", scopes=scopes, channel=channel)
            issued = create_token(self.database, new, by=COMMAND_LINE)
            client.headers["authorization"] = f"Bearer {issued.text}"
        return client

    def browser(self) -> Client:
        """Return a client with a cookie only, logged in as anna, without any header that browsers add."""
        if not has_administrator(self.database):
            add_administrator(self.database, "anna", PASSWORD)
        client = self.client()
        logged_in = client.post("/api/v1/sessions", json={"name": "anna", "password": PASSWORD})
        assert logged_in.status_code == 201, logged_in.text
        return client

    def audit(self, action: str = "request_refused") -> list[audit.AuditEntry]:
        """Return the entries of an action, newest first."""
        with self.database.read() as connection:
            entries = audit.list_entries(connection, limit=1000)
        return [entry for entry in entries if entry.action == action]

    def refused(self) -> tuple[str, str, str, int, str]:
        """Return the newest refusal: actor, method, path, status, code."""
        entry = self.audit()[0]
        return (entry.actor, *(entry.details[name] for name in ("method", "path", "status", "code")))

    def keys(self) -> int:
        """Return how many Idempotency-Keys are kept."""
        with self.database.read() as connection:
            return len(connection.execute(select(idempotency_keys)).all())


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def _world(database: Database, folder: Path) -> World:
    with database.write() as connection:
        connection.execute(insert(channels).values(id="T_1", token="ck_of_t1"))
        connection.execute(insert(channels).values(id="T_2", token="ck_of_t2"))
    app = build_app(Services(database=database, storage=open_storage(folder / "assets")))
    probe = Probe()
    app.include_router(probe.router())
    return World(app=app, database=database, probe=probe)


@pytest.fixture
def world(sqlite: Database, tmp_path: Path) -> World:
    """A server on SQLite, with the channels T_1 and T_2."""
    return _world(sqlite, tmp_path)


@pytest.fixture
def each_world(database: Database, tmp_path: Path) -> World:
    """A server on both kinds of database, one after the other."""
    return _world(database, tmp_path)
