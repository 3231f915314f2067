"""The files of published versions over HTTP: an ASGI application without a framework, for it is called most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, assert_never
from uuid import uuid4

import structlog

from shelfsight.access.rate import network_of
from shelfsight.access.rules import NOBODY
from shelfsight.delivery.answers import Answer, StreamedAnswer, preflight, problem
from shelfsight.delivery.downloads import ANONYMOUS
from shelfsight.delivery.gate import Gate, Refused, too_often
from shelfsight.delivery.hot import HotAnswers, hot_key
from shelfsight.delivery.memory import Memory
from shelfsight.delivery.published import Reader
from shelfsight.delivery.request import read_request
from shelfsight.delivery.rules import NO_MODEL, BlobFile, NoFile, VersionFile, parse_path
from shelfsight.delivery.send import send_answer
from shelfsight.errors import NotFoundError, ShelfsightError, StorageError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shelfsight.access.limits import RequestLimits
    from shelfsight.delivery.answers import Headers
    from shelfsight.delivery.downloads import Downloads
    from shelfsight.delivery.published import Published
    from shelfsight.delivery.request import Asked

_LONGEST_NOTED = 200
_NOTED_AGAIN_S = 60.0
_log = structlog.get_logger()


class Refusals(Protocol):
    """Keeps a record of who was refused what."""

    def note(self, actor: str, address: str | None, method: str, path: str, status: int, code: str, /) -> None:
        """Note a refusal; called in a thread. `path` is as it was sent, without the query."""


class FileDelivery:
    """ASGI application that serves `/assets/ml-models/`; see `parse_path` for the paths.

    What it is asked most, a small file or whether one has changed, it answers without leaving the event loop.
    """

    def __init__(
        self, *, published: Published, refusals: Refusals, downloads: Downloads, rate: RequestLimits
    ) -> None:
        """Serve what is `published`; what it sends goes to `downloads`, whom it refuses to `refusals`."""
        self._published = published
        self._refusals = refusals
        self._downloads = downloads
        self._rate = rate
        self._gate = Gate(published.lookups, rate)
        self._hot = HotAnswers(published.clock)
        self._throttled: Memory[str, float] = Memory(1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        client = scope.get("client")
        wait_s = self._rate.wait_s(client[0] if client else None)
        key = hot_key(scope) if wait_s is None else None
        hot = self._hot.get(key) if key else None
        if hot is not None:
            await send({"type": "http.response.start", "status": hot.status, "headers": list(hot.headers)})
            await send({"type": "http.response.body", "body": hot.body})
            if hot.source is not None:
                self._downloads.count(hot.source, len(hot.body))
            return
        asked = read_request(scope)
        try:
            answer = await self._answer(asked, wait_s)
            if key and isinstance(answer, Answer) and answer.is_public:
                self._hot.put(key, answer)
        except Exception as exc:  # noqa: BLE001 (whatever it is, the client gets a problem and the log the rest)
            answer = _failed(exc, asked)
        await send_answer(answer, receive, send, body=asked.method != "HEAD", count=self._downloads.count)

    async def _answer(self, asked: Asked, wait_s: int | None) -> Answer | StreamedAnswer:
        if asked.method == "OPTIONS":
            return preflight()
        if wait_s is not None:
            return await self._refuse(too_often(NOBODY.actor, wait_s), asked)
        if asked.method not in {"GET", "HEAD"}:
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
        channel = await self._published.lookups.channel(target.channel)
        if channel is None:
            raise NotFoundError(NO_MODEL if target.version is None else f"{target.channel} has no such version")
        if not channel.private:
            reader = Reader(actor=ANONYMOUS, channel=channel.id, private=False)
            return await self._published.version_file(target, asked, reader)
        found = await self._gate.admit([channel], target, asked)
        if isinstance(found, Refused):
            return await self._refuse(found, asked)
        return await self._published.version_file(target, asked, found)

    async def _blob(self, target: BlobFile, asked: Asked) -> Answer | StreamedAnswer:
        use = await self._published.lookups.blob_use(target.sha256)
        if use is None:
            raise NotFoundError(f"no version uses a blob {target.sha256}")
        if use.public:
            reader = Reader(actor=ANONYMOUS, channel=use.counted, private=False)
            return await self._published.blob(target, asked, reader)
        found = await self._gate.admit(use.channels, target, asked)
        if isinstance(found, Refused):
            return await self._refuse(found, asked)
        return await self._published.blob(target, asked, found)

    async def _no_file(self, reason: NoFile, asked: Asked) -> Answer:
        if reason is NoFile.UNKNOWN:
            raise NotFoundError("there is no such file")
        status = 400 if reason is NoFile.MALFORMED else 404
        detail = "the path is not percent-encoded as it should be" if status == 400 else "there is no such file"
        await self._note(NOBODY.actor, asked, status, reason.value)
        return _problem(status, detail, reason.value if status == 400 else NoFile.UNKNOWN.value, asked)

    async def _refuse(self, refused: Refused, asked: Asked) -> Answer:
        status, code = refused.error.http_status, refused.error.code
        extra: Headers = ()
        if refused.wait_s is not None:
            extra = ((b"retry-after", b"%d" % refused.wait_s),)
        if refused.wait_s is None or not self._has_noted(asked):
            await self._note(refused.actor, asked, status, code)
        return problem(status, str(refused.error), code=code, instance=asked.path.decode("latin-1"), headers=extra)

    def _has_noted(self, asked: Asked) -> bool:
        """Return whether it was noted a minute ago that this address asks too often: saying no is to cost little."""
        network = network_of(asked.address)
        now = self._published.clock()
        noted_at = self._throttled.get(network)
        if noted_at is not None and now < noted_at + _NOTED_AGAIN_S:
            return True
        self._throttled.put(network, now)
        return False

    async def _note(self, actor: str, asked: Asked, status: int, code: str) -> None:
        path = asked.path[:_LONGEST_NOTED].decode("latin-1")
        try:
            await asyncio.to_thread(self._refusals.note, actor, asked.address, asked.method, path, status, code)
        except Exception as exc:  # noqa: BLE001 (who is refused is refused, noted or not)
            _log.error("refusal_not_noted", error=type(exc).__name__, exc_info=exc)


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
