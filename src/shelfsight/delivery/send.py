"""Answers on their way to the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from shelfsight.delivery.answers import Answer, StreamedAnswer

if TYPE_CHECKING:
    from starlette.types import Receive, Send

_SLICE_BYTES = 1024 * 1024
"""What a slow client makes the server hold for it; less costs more calls, more is no faster."""
_STALLED_S = 300.0  # for one slice: 3.5 KB a second is the slowest line there is
_log = structlog.get_logger()


async def send_answer(answer: Answer | StreamedAnswer, receive: Receive, send: Send, *, body: bool) -> None:
    """Send an answer, without its `body` for HEAD.

    An answer that cannot be finished is left unfinished: the server then cuts the connection, so that no client takes
    a part for the whole.

    Raises:
        StorageError: the rest of the file cannot be read; the same.
    """
    # A new list each time: middleware adds to it.
    start = {"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)}
    try:
        await send(start)
        if isinstance(answer, StreamedAnswer):
            await _send_stream(answer, receive, send)
        elif not body:
            await send({"type": "http.response.body", "body": b""})
        elif len(answer.body) <= _SLICE_BYTES:
            await send({"type": "http.response.body", "body": answer.body})
        else:
            await _send_slices(memoryview(answer.body), send)
    except TimeoutError:
        _log.info("client_stalled", status=answer.status)
    finally:
        if isinstance(answer, StreamedAnswer):
            await answer.rest.aclose()


async def _send_slices(body: memoryview, send: Send) -> None:
    for start in range(0, len(body), _SLICE_BYTES):
        part = body[start : start + _SLICE_BYTES]
        async with asyncio.timeout(_STALLED_S):
            await send({"type": "http.response.body", "body": part, "more_body": start + len(part) < len(body)})


async def _send_stream(answer: StreamedAnswer, receive: Receive, send: Send) -> None:
    sent = len(answer.first)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await send({"type": "http.response.body", "body": answer.first, "more_body": sent < answer.size_bytes})
        async for chunk in answer.rest:
            if gone.done():  # sending goes nowhere then, without an error
                return
            sent += len(chunk)
            async with asyncio.timeout(_STALLED_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": sent < answer.size_bytes})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
