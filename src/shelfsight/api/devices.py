"""What devices call from pages of other origins: browsers let them, and no cookie counts there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_PATHS = re.compile(r"/api/v1/(events|channels/[^/]+/(sales|till/products))")
_EXPOSED = ("ETag", "Retry-After", "X-Shelfsight-Sequence")


class DeviceOrigins:
    """ASGI middleware that allows what tills call to every origin; who asks still needs a token."""

    def __init__(self, app: ASGIApp) -> None:
        """Allow it of `app`."""
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=["*"],
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "if-none-match"],
            expose_headers=_EXPOSED,
            max_age=86400,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the wrapped application does."""
        is_for_devices = scope["type"] == "http" and _PATHS.fullmatch(scope["path"]) is not None
        await (self._open if is_for_devices else self._app)(scope, receive, send)
