"""Every refusal and failure as one kind of document: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from shelfsight.access.rules import NOBODY
from shelfsight.errors import DatabaseError, ShelfsightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
_LONGEST_PATH = 200
_RETRY_AFTER_S = {429: 60, 503: 5}
_OF_OTHERS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
_log = structlog.get_logger()


class ProblemField(BaseModel):
    """What is wrong with one part of the request."""

    field: str = Field(description="Where it is, such as body.name or query.limit")
    detail: str


class ProblemDocument(BaseModel):
    """Why a request was not done."""

    type: str = Field(description="Names the kind of problem, and never changes: urn:shelfsight:problem:not_found")
    title: str
    status: int
    detail: str = Field(description="What is wrong here, and what to do")
    instance: str = Field(description="The path asked for; of a failure, an id by which the log has it")
    errors: list[ProblemField] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem before it is a document. `code` is the last part of its type, such as `not_found`."""

    status: int
    code: str
    detail: str
    instance: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[ProblemField] = ()

    def response(self, scope: Scope) -> Response:
        """Return the answer to the request of `scope`."""
        document = ProblemDocument(
            type=f"urn:shelfsight:problem:{self.code}",
            title=self.code.replace("_", " ").capitalize(),
            status=self.status,
            detail=self.detail,
            instance=self.instance or path_as_sent(scope)[:_LONGEST_PATH],
            errors=list(self.errors) or None,
        )
        headers = {"cache-control": "no-store", **self.headers}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = 'Bearer realm="shelfsight"'
        if self.status in _RETRY_AFTER_S:
            headers["retry-after"] = str(_RETRY_AFTER_S[self.status])
        content = document.model_dump(exclude_none=True)
        return JSONResponse(content, status_code=self.status, headers=headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception, scope: Scope) -> Problem:
    """Return the problem that `error` is; what the server is to blame for is logged, and told without internals."""
    match error:
        case ShelfsightError() if error.http_status < 500:
            errors = [ProblemField(field=part, detail=reason) for part, reason in error.parts]
            return Problem(status=error.http_status, code=error.code, detail=str(error), errors=errors)
        case ShelfsightError() if error.http_status in _OF_OTHERS:
            return _of_others(error, scope)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _plain(error, scope)
        case _:
            failure = _logged(error, scope)
            detail = f"something went wrong inside: the log has it as {failure}"
            return Problem(status=500, code="internal_error", detail=detail, instance=failure)


def refuse(error: Exception, scope: Scope) -> Response:
    """Return the answer to a request that `error` ended, noted in the audit; an event loop calls it in a thread."""
    problem = problem_of(error, scope)
    note_refusal(problem, scope)
    return problem.response(scope)


def note_refusal(problem: Problem, scope: Scope) -> None:
    """Note a problem in the audit, if it is a refusal; an event loop calls it in a thread."""
    actor: str = scope.get("state", {}).get("actor", NOBODY.actor)
    scope["app"].state.services.refusals.note(
        actor, address_of(scope), scope["method"], path_as_sent(scope), problem.status, problem.code
    )


def address_of(scope: Scope) -> str | None:
    """Return the address that a request came from."""
    client = scope.get("client")
    return client[0] if client else None


def path_as_sent(scope: Scope) -> str:
    """Return the path of a request, percent-encoded, without the query."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "backslashreplace")
    return raw.split(b"?")[0].decode("latin-1")


def add_problem_handlers(app: FastAPI) -> None:
    """Let `app` answer every error of a route with a problem."""
    for kind in (ShelfsightError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handle)


def _handle(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    return refuse(error, request.scope)


class UnexpectedErrors:
    """ASGI middleware that answers what nobody expected with a problem, and keeps the server's log to one entry."""

    def __init__(self, app: ASGIApp) -> None:
        """Answer for `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the wrapped application does, or with status 500."""
        has_started = False

        async def send_and_see(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception as error:
            if has_started or scope["type"] != "http":
                raise
            response = await run_in_threadpool(refuse, error, scope)
            await response(scope, receive, send)


def _logged(error: Exception, scope: Scope) -> str:
    """Return the id under which the log has it."""
    failure = uuid4().urn
    _log.error(
        "request_failed",
        id=failure,
        method=scope.get("method"),
        path=path_as_sent(scope),
        error=type(error).__name__,
        exc_info=error,
    )
    return failure


def _of_others(error: ShelfsightError, scope: Scope) -> Problem:
    """Return a failure of something outside, with the sentence that says what to do."""
    failure = _logged(error, scope)
    # What a database or a storage says of itself holds names of hosts and users.
    is_internal = isinstance(error, DatabaseError | StorageError)
    which = "the storage" if isinstance(error, StorageError) else "the database"
    told = f"{which} does not answer, or refuses: try again; the log has it as {failure}"
    detail = told if is_internal else str(error)
    return Problem(status=error.http_status, code=error.code, detail=detail, instance=failure)


def _invalid(error: RequestValidationError) -> Problem:
    """Return what is wrong, field by field; never the value, which may be a password."""
    errors = [
        ProblemField(field=".".join(str(part)[:80] for part in one["loc"]), detail=str(one["msg"])[:300])
        for one in error.errors()[:20]
    ]
    detail = "; ".join(f"{one.field}: {one.detail}" for one in errors[:3]) or "the request is not as documented"
    return Problem(status=422, code="invalid_request", detail=detail, errors=errors)


def _plain(error: HTTPException, scope: Scope) -> Problem:
    try:
        phrase = HTTPStatus(error.status_code).phrase
    except ValueError:
        phrase = "refused"
    code = re.sub(r"[^a-z]+", "_", phrase.lower())
    detail = _SENTENCES.get(error.detail, error.detail)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(_methods_of(scope))
    return Problem(status=error.status_code, code=code, detail=detail, headers=headers)


def _methods_of(scope: Scope) -> list[str]:
    """Return the methods that the path takes; by itself FastAPI names those of the first route only."""
    routes = scope["app"].routes
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    return [
        one for one in methods if any(route.matches({**scope, "method": one})[0] is Match.FULL for route in routes)
    ]


_SENTENCES: dict[Any, str] = {
    "Not Found": "there is nothing at this path: see /openapi.json for what there is",
    "Method Not Allowed": "this path does not take this method: the header Allow says which",
}
"""Ours for those of Starlette."""
