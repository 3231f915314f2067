"""`Idempotency-Key`: a POST that is sent twice happens once, and is answered twice.

What is kept is the answer, by actor and key, for a day. Of nobody and of devices nothing is kept: a channel's key is
known to anybody who opens its till, and could fill memory and table with requests that are refused anyway.
Nor is a refusal or a failure kept: a refusal did nothing, and its cause may be gone by the next try; a failure may
have done a part, and only another try can tell.
Answers with a secret in them (a new token, a cookie) are not kept; who asks again hears that it has been done.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email.message import Message as Header
from typing import TYPE_CHECKING, Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response

from shelfsight.access.rules import NOBODY, Caller, may_more_than_devices
from shelfsight.api import store
from shelfsight.api.guards import identify
from shelfsight.api.problems import Problem, refuse
from shelfsight.api.store import KeptAnswer, KeptRequest, purge
from shelfsight.errors import (
    AccessError,
    AuthenticationError,
    ConflictError,
    DatabaseError,
    ShelfsightError,
    UsageError,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shelfsight.database.engine import Database

__all__ = ["KEY_PARAMETER", "Idempotency", "purge"]

KEPT_FOR = timedelta(hours=24)
DEAD_AFTER = timedelta(minutes=10)
"""Longer than any request takes: a publish checks for two minutes, and waits for storage."""
_PURGE_EVERY = timedelta(hours=1)
_LONGEST_KEY = 255
_log = structlog.get_logger()

KEY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY},
    "description": "Any text of your own: the same request with the same key happens once, for a day; "
    "one that was refused or failed is tried anew",
}
"""As OpenAPI describes it."""


class Idempotency:
    """ASGI middleware that answers a repeated POST with the first one's answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Repeat the answers of `app`."""
        self._app = app
        self._purged_at: datetime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the wrapped application does, or did."""
        key = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        database: Database = scope["app"].state.services.database
        caller = await run_in_threadpool(_caller_of, scope, database)
        if not may_more_than_devices(caller):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        request = KeptRequest(
            actor=caller.actor, key=key, fingerprint=_fingerprint(scope, body), created_at=datetime.now(UTC)
        )
        try:
            answer = await run_in_threadpool(self._begin, database, request)
        except ShelfsightError as error:
            response = await run_in_threadpool(refuse, error, scope)
        else:
            if answer is None:
                answer = await self._run(scope, body, database, request)
                response = _response(answer)
            else:
                response = _response(answer)
                response.headers["idempotent-replayed"] = "true"
        await response(scope, receive, send)

    def _begin(self, database: Database, request: KeptRequest) -> KeptAnswer | None:
        """Return the answer that is kept; None when the request is to be run, which is noted.

        Raises:
            UsageError: the key is none, or was sent with another request.
            ConflictError: the same request runs at this moment.
        """
        if not (0 < len(request.key) <= _LONGEST_KEY and request.key.isprintable()):
            raise UsageError(f"an Idempotency-Key has 1 to {_LONGEST_KEY} printable characters")
        try:
            with database.write() as connection:
                self._purge(connection, request.created_at)
                return _claim(connection, request)
        except ConflictError as exc:  # it runs, or somebody inserted the key in between
            raise ConflictError("a request with this Idempotency-Key is running: ask again in a moment") from exc

    async def _run(self, scope: Scope, body: bytes, database: Database, request: KeptRequest) -> KeptAnswer:
        recorder = _Recorder(body)
        try:
            await self._app(scope, recorder.receive, recorder.send)
        except Exception:
            await run_in_threadpool(_forget, database, request)
            raise
        answer = recorder.answer()
        if answer.status >= 400:
            await run_in_threadpool(_forget, database, request)
        else:
            await run_in_threadpool(_keep, database, request, _without_secret(answer, scope))
        return answer

    def _purge(self, connection: Connection, now: datetime) -> None:
        if self._purged_at is None or now - self._purged_at > _PURGE_EVERY:
            self._purged_at = now
            purge(connection, now - KEPT_FOR)


def _claim(connection: Connection, request: KeptRequest) -> KeptAnswer | None:
    """Return the answer that is kept; None when there is none, and `request` is noted as running."""
    kept = store.find_request(connection, request.actor, request.key)
    if kept is not None:
        if kept.fingerprint != request.fingerprint:
            raise UsageError("this Idempotency-Key came with another request before: use a new one")
        if kept.answer is not None:
            return kept.answer
        is_dead = kept.created_at + DEAD_AFTER <= request.created_at
        if not (is_dead and store.delete_request(connection, kept)):
            raise ConflictError("it is running")
    store.insert_request(connection, request)
    return None


class _Recorder:
    """Gives a request to an application once more, and takes down its answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            self._chunks.append(message.get("body", b""))

    def answer(self) -> KeptAnswer:
        return KeptAnswer(status=self._status, headers=tuple(self._headers), body=b"".join(self._chunks))


def _caller_of(scope: Scope, database: Database) -> Caller:
    try:
        return identify(HTTPConnection(scope), database)
    except (AccessError, AuthenticationError):
        return NOBODY


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, None when the sender has gone."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _fingerprint(scope: Scope, body: bytes) -> str:
    """Return a hash of what is asked for. Where the parts of a form end is chosen anew each time it is sent."""
    header = Header()
    header["content-type"] = Headers(scope=scope).get("content-type", "")
    boundary = header.get_boundary()
    if boundary:
        body = body.replace(boundary.encode("latin-1", "replace"), b"")
    path = scope.get("raw_path") or scope["path"].encode()
    parts = (scope["method"].encode(), path, scope["query_string"], body)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _response(answer: KeptAnswer) -> Response:
    response = Response(answer.body, status_code=answer.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    return response


def _without_secret(answer: KeptAnswer, scope: Scope) -> KeptAnswer:
    """Return what may be kept: an answer that no cache may store holds a secret, and is not kept here, either."""
    headers = Headers(raw=[(name.encode(), value.encode()) for name, value in answer.headers])
    if not ("set-cookie" in headers or "no-store" in headers.get("cache-control", "")):
        return answer
    problem = Problem(
        status=409,
        code="answered_once",
        detail="this was done when it was first asked for, and the answer held a secret that is not kept: "
        "undo it and ask with a new Idempotency-Key",
    ).response(scope)
    pairs = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in problem.raw_headers)
    return KeptAnswer(status=problem.status_code, headers=pairs, body=bytes(problem.body))


def _keep(database: Database, request: KeptRequest, answer: KeptAnswer) -> None:
    try:
        with database.write() as connection:
            store.keep_answer(connection, request, answer)
    except (ConflictError, DatabaseError):
        _log.exception("answer_not_kept", actor=request.actor)  # it was done, and is answered all the same


def _forget(database: Database, request: KeptRequest) -> None:
    try:
        with database.write() as connection:
            store.delete_request(connection, request)
    except (ConflictError, DatabaseError):
        _log.exception("request_not_forgotten", actor=request.actor)  # it counts as dead in ten minutes
