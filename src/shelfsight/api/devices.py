"""What devices call: how often an address may, and that pages of other origins may, where no cookie counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import Depends
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request  # noqa: TC002 (FastAPI reads it)

from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf  # noqa: TC001 (FastAPI reads it)
from shelfsight.errors import TooManyRequestsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from shelfsight.access.limits import VolumeLimit
    from shelfsight.access.rules import Caller

_PATHS = re.compile(r"/api/v1/(events|channels/[^/]+/(sales|till/products))")
_EXPOSED = ("ETag", "Retry-After", "X-Shelfsight-Sequence")


def _within_limits(request: Request, services: ServicesOf) -> None:
    if services.limits.wait_s(address_of(request.scope)) is not None:
        raise TooManyRequestsError("this address asks too often: ask again in a minute, nothing is lost")


WITHIN_LIMITS = Depends(_within_limits)
"""What a route depends on that an address may call so often a minute: a channel's key lies open in every till."""


def check_volume(limit: VolumeLimit, amount: int, *, what: str, caller: Caller, channel: str) -> None:
    """Count what a request brings to a channel, before anything of it is stored.

    All who come with the channel's public key are counted together, for whoever has read it could fill the disk; a
    token is counted by itself, so that a till with one of its own is in nobody's way, and nobody in its.

    Raises:
        TooManyRequestsError: it is more than may come in a minute.
    """
    if not limit.allows(amount, channel, caller.actor):
        raise TooManyRequestsError(f"channel {channel} sends too many {what} at once: send the same in a minute")


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
