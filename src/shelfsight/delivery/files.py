"""The files of published versions over HTTP: an ASGI application without a framework, for it is called most."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, assert_never
from uuid import uuid4

import structlog

from shelfsight.access.rules import NOBODY
from shelfsight.delivery.answers import Answer, StreamedAnswer, preflight, problem
from shelfsight.delivery.content import Content, ContentLimits
from shelfsight.delivery.gate import refusal
from shelfsight.delivery.hot import HotAnswers, hot_key
from shelfsight.delivery.lookups import Lookups
from shelfsight.delivery.represent import represent
from shelfsight.delivery.request import read_request
from shelfsight.delivery.rules import NO_MODEL, BlobFile, NoFile, Policy, VersionFile, parse_path
from shelfsight.delivery.send import send_answer
from shelfsight.delivery.versions import Versions
from shelfsight.errors import NotFoundError, ShelfsightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from shelfsight.database.engine import Database
    from shelfsight.delivery.gate import Refused
    from shelfsight.delivery.lookups import Authenticator
    from shelfsight.delivery.request import Asked
    from shelfsight.storage import Storage

_LONGEST_NOTED = 200
_log = structlog.get_logger()


class Refusals(Protocol):
    """Keeps a record of who was refused what."""

    def note(self, actor: str, address: str | None, method: str, path: str, status: int, code: str, /) -> None:
        """Note a refusal; called in a thread. `path` is as it was sent, without the query."""


class FileDelivery:
    """ASGI application that serves `/assets/ml-models/`; see `parse_path` for the paths.

    What it is asked most, a small file or whether one has changed, it answers without leaving the event loop. What
    it knows of the database and of `latest` is a second old at most; a version's files, once looked at, are taken to
    stay as they are. One for each event loop.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        authenticate: Authenticator,
        refusals: Refusals,
        limits: ContentLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refusals = refusals
        self._lookups = Lookups(database=database, storage=storage, authenticate=authenticate, clock=clock)
        self._versions = Versions(storage, clock=clock)
        self._content = Content(storage, limits or ContentLimits())
        self._hot = HotAnswers(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        key = hot_key(scope)
        hot = self._hot.get(key) if key else None
        if hot is not None:
            await send({"type": "http.response.start", "status": hot.status, "headers": list(hot.headers)})
            await send({"type": "http.response.body", "body": hot.body})
            return
        asked = read_request(scope)
        try:
            answer = await self._answer(asked)
            if key and isinstance(answer, Answer) and answer.is_public:
                self._hot.put(key, answer)
        except Exception as exc:  # noqa: BLE001 (whatever it is, the client gets a problem and the log the rest)
            answer = _failed(exc, asked)
        await send_answer(answer, receive, send, body=asked.method != "HEAD")

    async def _answer(self, asked: Asked) -> Answer | StreamedAnswer:
        if asked.method not in {"GET", "HEAD"}:
            if asked.method == "OPTIONS":
                return preflight()
            return _problem(405, "files are read with GET and HEAD", "method_not_allowed", asked)
        target = parse_path(asked.path)
        match target:
            case VersionFile():
                return await self._version_file(target, asked)
            case BlobFile():
                return await self._blob(target, asked)
            case NoFile():
                return await self._no_file(target, asked)
        assert_never(target)

    async def _version_file(self, target: VersionFile, asked: Asked) -> Answer | StreamedAnswer:
        channel = await self._lookups.channel(target.channel)
        if channel is not None and channel.private:
            refused = await refusal(self._lookups, [channel], asked)
            if refused is not None:
                return await self._refuse(refused, asked)
        no_model = NO_MODEL if target.version is None else f"{target.channel} has no such version"
        if channel is None:
            raise NotFoundError(no_model)
        version = target.version or await self._lookups.latest(target.channel)
        row = await self._lookups.version(target.channel, version) if version else None
        files = await self._versions.files(target.channel, version, row) if version and row else None
        if not files or not version:
            raise NotFoundError(no_model)
        file = files.get(target.name)
        if file is None:
            raise NotFoundError(f"{target.name} is no file of {target.channel} {version}")
        policy = Policy(private=channel.private, immutable=target.version is not None)
        try:
            return _shared(await represent(self._content, file, policy, asked), policy)
        except NotFoundError:
            self._versions.forget(target.channel, version)
            raise

    async def _blob(self, target: BlobFile, asked: Asked) -> Answer | StreamedAnswer:
        use = await self._lookups.blob_use(target.sha256)
        if use is None:
            raise NotFoundError(f"no version uses a blob {target.sha256}")
        if not use.public:
            refused = await refusal(self._lookups, use.channels, asked)
            if refused is not None:
                return await self._refuse(refused, asked)
        file = await self._versions.blob(target.sha256)
        policy = Policy(private=not use.public, immutable=True)
        try:
            return _shared(await represent(self._content, file, policy, asked), policy)
        except NotFoundError:
            self._versions.forget_blob(target.sha256)
            raise

    async def _no_file(self, reason: NoFile, asked: Asked) -> Answer:
        if reason is NoFile.UNKNOWN:
            raise NotFoundError("there is no such file")
        status = 400 if reason is NoFile.MALFORMED else 404
        detail = "the path is not percent-encoded as it should be" if status == 400 else "there is no such file"
        await self._note(NOBODY.actor, asked, status, reason.value)
        return _problem(status, detail, reason.value if status == 400 else NoFile.UNKNOWN.value, asked)

    async def _refuse(self, refused: Refused, asked: Asked) -> Answer:
        status, code = refused.error.http_status, refused.error.code
        await self._note(refused.actor, asked, status, code)
        return _problem(status, str(refused.error), code, asked)

    async def _note(self, actor: str, asked: Asked, status: int, code: str) -> None:
        path = asked.path[:_LONGEST_NOTED].decode("latin-1")
        try:
            await asyncio.to_thread(self._refusals.note, actor, asked.address, asked.method, path, status, code)
        except Exception as exc:  # noqa: BLE001 (who is refused is refused, noted or not)
            _log.error("refusal_not_noted", error=type(exc).__name__, exc_info=exc)


def _shared(answer: Answer | StreamedAnswer, policy: Policy) -> Answer | StreamedAnswer:
    """Return the answer, marked as anybody's if the file is."""
    return answer if policy.private or isinstance(answer, StreamedAnswer) else replace(answer, is_public=True)


def _problem(status: int, detail: str, code: str, asked: Asked) -> Answer:
    return problem(status, detail, code=code, instance=asked.path.decode("latin-1"))


def _failed(error: Exception, asked: Asked) -> Answer:
    """Return the problem that `error` is; what the server is to blame for is logged, and told without internals."""
    path = asked.path[:_LONGEST_NOTED].decode("latin-1")
    if isinstance(error, ShelfsightError) and error.http_status < 500:
        # Which file in storage is missing or damaged is for the log; whoever asks learns that it is not to be had.
        return _problem(error.http_status, str(error), error.code, asked)
    failure = uuid4().urn
    _log.error("file_not_served", id=failure, path=path, error=type(error).__name__, exc_info=error)
    if isinstance(error, ShelfsightError):
        which = "the storage" if isinstance(error, StorageError) else "the database"
        detail = f"{which} does not answer, or refuses: try again; the log has it as {failure}"
        return _problem(error.http_status, detail, error.code, asked)
    return _problem(500, f"something went wrong inside: the log has it as {failure}", "internal_error", asked)
