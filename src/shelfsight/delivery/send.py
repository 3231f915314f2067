"""Answers on their way to the client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from shelfsight.delivery.answers import Answer, StreamedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.types import Receive, Send

    from shelfsight.delivery.downloads import Source

_SLICE_BYTES = 1024 * 1024
"""What a slow client makes the server hold for it; less costs more calls, more is no faster."""
_STALLED_S = 300.0  # for one slice: 3.5 KB a second is the slowest line there is
_log = structlog.get_logger()


async def send_answer(
    answer: Answer | StreamedAnswer,
    receive: Receive,
    send: Send,
    *,
    body: bool,
    count: Callable[[Source, int], None],
) -> None:
    """Send an answer, without its `body` for HEAD, and `count` the bytes of a file that the connection took.

    An answer that cannot be finished is left unfinished: the server then cuts the connection, so that no client takes
    a part for the whole.

    Raises:
        StorageError: the rest of the file cannot be read; the same.
    """
    # A new list each time: middleware adds to it.
    start = {"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)}
    sent = _Sent(receive, send)
    try:
        await send(start)
        if isinstance(answer, StreamedAnswer):
            await sent.parts(_stream(answer), answer.size_bytes)
        elif not body:
            await send({"type": "http.response.body", "body": b""})
        elif len(answer.body) <= _SLICE_BYTES:
            await send({"type": "http.response.body", "body": answer.body})
            sent.size_bytes = len(answer.body)
        else:
            await sent.parts(_slices(memoryview(answer.body)), len(answer.body))
    except TimeoutError:
        _log.info("client_stalled", status=answer.status)
    finally:
        if answer.source is not None and sent.size_bytes:
            count(answer.source, sent.size_bytes)
        if isinstance(answer, StreamedAnswer):
            await answer.rest.aclose()


class _Sent:
    """Sends a long body part by part, as long as the client is there, and knows how many bytes went."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.size_bytes = 0

    async def parts(self, parts: AsyncGenerator[bytes | memoryview], size_bytes: int) -> None:
        gone = asyncio.ensure_future(_disconnected(self._receive))
        try:
            async with aclosing(parts):
                async for part in parts:
                    if gone.done():  # sending goes nowhere then, without an error
                        return
                    more = self.size_bytes + len(part) < size_bytes
                    async with asyncio.timeout(_STALLED_S):
                        await self._send({"type": "http.response.body", "body": part, "more_body": more})
                    self.size_bytes += len(part)
        finally:
            gone.cancel()


async def _slices(body: memoryview) -> AsyncGenerator[memoryview]:
    for start in range(0, len(body), _SLICE_BYTES):
        yield body[start : start + _SLICE_BYTES]


async def _stream(answer: StreamedAnswer) -> AsyncGenerator[bytes]:
    yield answer.first
    async for chunk in answer.rest:
        yield chunk


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
