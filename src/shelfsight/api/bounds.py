"""How much a request may bring."""

from __future__ import annotations

from email.message import Message as Header
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from shelfsight.access.rules import NOBODY, may_more_than_devices
from shelfsight.api.guards import NEEDS_A_CALLER, identify
from shelfsight.api.problems import refuse
from shelfsight.errors import AccessError, AuthenticationError, ShelfsightError, TooLargeError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 52 * 2**20
"""An upload of 50 MB, and what a form puts around it."""
MAX_SMALL_BYTES = 2 * 2**20
"""Of everything but forms with files: it is read into memory."""
_FILES = "multipart/form-data"


class RequestBounds:
    """ASGI middleware that refuses bodies that are too large, however they are sent, and paths with a NUL.

    Forms with files are refused before they are read from who may upload nothing: nobody can fill the disk with them.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Bound what `app` gets."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the wrapped application does, or with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = _wrong_at_first_sight(scope)
        if wrong is None and _media_type(scope) == _FILES:
            wrong = await run_in_threadpool(_wrong_sender, scope)
        if wrong is not None:
            response = await run_in_threadpool(refuse, wrong, scope)
            await response(scope, receive, send)
            return
        try:
            await self._app(scope, _counted(receive, max_bytes_of(scope)), send)
        except _BodyTooLargeError as error:  # read by a middleware; a route's own comes as an answer
            response = await run_in_threadpool(refuse, error, scope)
            await response(scope, receive, send)


class _BodyTooLargeError(HTTPException):
    """What FastAPI lets pass when reading a body fails; anything else it calls an error of parsing."""


def max_bytes_of(scope: Scope) -> int:
    """Return how large the body may be."""
    return MAX_BODY_BYTES if _media_type(scope) == _FILES else MAX_SMALL_BYTES


def _media_type(scope: Scope) -> str:
    header = Header()
    header["content-type"] = Headers(scope=scope).get("content-type", "application/json")
    return header.get_content_type()


def _wrong_sender(scope: Scope) -> Exception | None:
    """Return why who sends a form with files may not."""
    try:
        caller = identify(HTTPConnection(scope), scope["app"].state.services.database)
    except ShelfsightError as error:
        return error
    if caller == NOBODY:
        return AuthenticationError(NEEDS_A_CALLER)
    if not may_more_than_devices(caller):
        return AccessError(f"{caller.actor} may not upload files: use a token that may write")
    return None


def _wrong_at_first_sight(scope: Scope) -> Exception | None:
    if "\x00" in scope["path"] or b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        return UsageError("path and query cannot hold the character NUL: leave it out")
    length = Headers(scope=scope).get("content-length", "0")
    max_bytes = max_bytes_of(scope)
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        return TooLargeError(_too_large(max_bytes))
    return None


def _counted(receive: Receive, max_bytes: int) -> Receive:
    """Return `receive`, which ends in an error once there is more than `max_bytes`, whatever the headers say."""
    seen = 0

    async def receive_counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > max_bytes:
                raise _BodyTooLargeError(413, _too_large(max_bytes))
        return message

    return receive_counted


def _too_large(max_bytes: int) -> str:
    return f"the body is larger than {max_bytes // 2**20} MiB, the most that is taken here: send less at once"
