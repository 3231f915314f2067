"""A request as the calls read it: what delivery reads of any, the headers of the Supabase clients, and its body."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from shelfsight.access.rules import NOBODY
from shelfsight.delivery.request import read_request
from shelfsight.errors import TooLargeError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope

    from shelfsight.delivery.request import Asked

MAX_JSON_BYTES = 2**20
_STALLED_S = 60.0  # without a byte of the body
_READ = frozenset({
    b"accept", b"accept-profile", b"cache-control", b"content-length", b"content-type", b"prefer", b"range",
    b"x-metadata", b"x-upsert",
})  # fmt: skip


@dataclass(slots=True, kw_only=True)
class WireRequest:
    """A request.

    Attributes:
        headers: the clients' own, by name in lower case.
        actor: who sent it, once that is known: whom the audit names when the next line refuses.
    """

    asked: Asked
    headers: Mapping[str, str]
    receive: Receive
    actor: str = NOBODY.actor

    @property
    def length(self) -> int | None:
        """How long the body is, as the sender says; None where it does not say."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            ClientDisconnect: the sender has gone.
            UsageError: it sends nothing for a minute.
        """
        more = True
        while more:
            try:
                async with asyncio.timeout(_STALLED_S):
                    message = await self.receive()
            except TimeoutError:
                raise UsageError(f"the body stopped coming for {_STALLED_S:.0f} seconds: send it again") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def json(self) -> bytes:
        """Return the body of a call that sends a document.

        Raises:
            ClientDisconnect: the sender has gone.
            TooLargeError: it is larger than any document has to be.
        """
        data = bytearray()
        async for chunk in self.body():
            data += chunk
            if len(data) > MAX_JSON_BYTES:
                raise TooLargeError(f"the document is larger than {MAX_JSON_BYTES} bytes: send less at once")
        return bytes(data)


def wire_request(scope: Scope, receive: Receive) -> WireRequest:
    """Return the request of an ASGI scope; a header that comes twice is one list."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            key, text = name.decode(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return WireRequest(asked=read_request(scope), headers=headers, receive=receive)
