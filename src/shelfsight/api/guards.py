"""Who asks, and whether they may: what routes say by the type of a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.requests import HTTPConnection  # noqa: TC002 (FastAPI reads it)

from shelfsight.access.rules import NOBODY, Asker, Caller, Right, may
from shelfsight.access.tokens import authenticate, authenticate_session
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf  # noqa: TC001 (FastAPI reads it)
from shelfsight.errors import AccessError, AuthenticationError

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

SESSION_COOKIE = "shelfsight_session"
NEEDS_A_CALLER = "this needs a token or a login: send Authorization: Bearer and the token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = HTTPBearer(scheme_name="token", description="A token, or the public key of a channel", auto_error=False)
_COOKIE = APIKeyCookie(
    name=SESSION_COOKIE, scheme_name="session", description="What `POST /sessions` set", auto_error=False
)


def asker_of(caller: Caller, request: HTTPConnection) -> Asker:
    """Return who asks, as what they do is written down."""
    return Asker(actor=caller.actor, address=address_of(request.scope))


def identify(connection: HTTPConnection, database: Database) -> Caller:
    """Return who sent a request, by its token, else by its session cookie; NOBODY without either.

    It asks the database, so an event loop calls it in a thread. The answer is remembered with the request.

    Raises:
        AuthenticationError: token or session are unknown, expired or revoked.
        AccessError: the cookie came with a request that another site made.
    """
    remembered: Caller | None = connection.scope.setdefault("state", {}).get("caller")
    if remembered is not None:
        return remembered
    header = connection.headers.get("authorization")
    cookie = connection.cookies.get(SESSION_COOKIE)
    if header is not None:
        caller = authenticate(database, _token_of(header))
    elif cookie:
        caller = authenticate_session(database, cookie)
        connection.scope["state"]["actor"] = caller.actor  # whom the audit names when the next line refuses
        _refuse_foreign_site(connection)
    else:
        caller = NOBODY
    connection.scope["state"].update(caller=caller, actor=caller.actor)
    return caller


def _token_of(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationError("the header Authorization must read: Bearer, a space, the token")
    return token.strip()


def _refuse_foreign_site(connection: HTTPConnection) -> None:
    """Refuse a change asked for by a page of another site, which the browser sent our cookie along with."""
    if connection.scope["method"] in _SAFE:
        return
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin")
    if site is not None:
        is_ours = site in {"same-origin", "none"}
    else:
        host = connection.headers.get("host")
        is_ours = origin in {f"http://{host}", f"https://{host}"}  # a proxy may have ended TLS
    if not is_ours:
        raise AccessError("a page of another site asked for this: use the pages of this server, or a token")


def _any_caller(
    connection: HTTPConnection,
    services: ServicesOf,
    _bearer: Annotated[object, Security(_BEARER)],
    _cookie: Annotated[object, Security(_COOKIE)],
) -> Caller:
    caller = identify(connection, services.database)
    if caller == NOBODY:
        raise AuthenticationError(NEEDS_A_CALLER)
    return caller


AnyCaller = Annotated[Caller, Depends(_any_caller)]
"""Anybody with a token or a session."""


def check_may(caller: Caller, right: Right, channel: str | None) -> Caller:
    """Return `caller`, who has `right` on `channel`.

    Raises:
        AccessError: they have not.
    """
    if not may(caller, right, channel):
        where = "this service" if channel is None else f"channel {channel[:80]}"
        raise AccessError(f"{caller.actor} has no right to {right.value} on {where}: use another token")
    return caller


def _administrator(caller: AnyCaller) -> Caller:
    return check_may(caller, Right.ADMIN, None)


def _writer(caller: AnyCaller, channel_id: str) -> Caller:
    return check_may(caller, Right.WRITE, channel_id)


def _reader(caller: AnyCaller, channel_id: str) -> Caller:
    return check_may(caller, Right.READ, channel_id)


def _device(caller: AnyCaller, channel_id: str) -> Caller:
    return check_may(caller, Right.DEVICE, channel_id)


AdministratorCaller = Annotated[Caller, Depends(_administrator)]
"""An administrator."""
WriterCaller = Annotated[Caller, Depends(_writer)]
"""Who may change the channel in the path, `{channel_id}`."""
ReaderCaller = Annotated[Caller, Depends(_reader)]
"""Who may see all of the channel in the path, `{channel_id}`; its devices may not."""
DeviceCaller = Annotated[Caller, Depends(_device)]
"""Who may see what a till needs of the channel in the path, `{channel_id}`: its devices, and whoever may read it."""
