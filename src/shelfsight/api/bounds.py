"""How much a request may bring."""

from __future__ import annotations

from email.message import Message as Header
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from shelfsight.api.problems import refuse
from shelfsight.errors import TooLargeError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 52 * 2**20
"""An upload of 50 MB, and what a form puts around it."""
MAX_SMALL_BYTES = 2 * 2**20
"""Of JSON and forms without files."""


class RequestBounds:
    """ASGI middleware that refuses bodies that are too large, however they are sent, and paths with a NUL."""

    def __init__(self, app: ASGIApp) -> None:
        """Bound what `app` gets."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the wrapped application does, or with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = _wrong_at_first_sight(scope)
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
    """Return how large the body may be: less for what is read into memory."""
    header = Header()
    header["content-type"] = Headers(scope=scope).get("content-type", "application/json")
    kind = header.get_content_subtype()
    is_small = kind in {"json", "x-www-form-urlencoded"} or kind.endswith("+json")
    return MAX_SMALL_BYTES if is_small else MAX_BODY_BYTES


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
