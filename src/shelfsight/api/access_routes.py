"""Routes of access: logging in, setting up, administrators, tokens, the audit."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Cookie, Query, Request, Response
from pydantic import AwareDatetime, Field

from shelfsight.access import administrators, audit, tokens
from shelfsight.access.administrators import Login
from shelfsight.access.rules import Caller
from shelfsight.access.store import Token
from shelfsight.access.tokens import NewToken
from shelfsight.api.documents import ApiDocument, Page
from shelfsight.api.guards import SESSION_COOKIE, AdministratorCaller, AnyCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf
from shelfsight.errors import ConflictError, UsageError

router = APIRouter(prefix="/api/v1", tags=["access"])

_NO_STORE = "no-store"
SessionCookie = Annotated[str | None, Cookie(alias=SESSION_COOKIE, include_in_schema=False)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(max_length=1000)]
Secret = Annotated[str, Field(max_length=200)]


class LoginDocument(ApiDocument):
    """Who logs in."""

    name: Name
    password: Password


class SessionDocument(ApiDocument):
    """A session that has begun; its token is in the cookie."""

    administrator: str
    expires_at: datetime


class CallerDocument(ApiDocument):
    """Who asks, and what they may do."""

    actor: str
    scopes: list[str]
    channel_id: str | None


class SetupDocument(ApiDocument):
    """A setup link's token, and what its owner has chosen."""

    token: Secret
    name: Name
    password: Password


class PasswordDocument(ApiDocument):
    """A new password, and the present one to prove that it is its owner who asks."""

    password: Password
    new_password: Password


class AdministratorDocument(ApiDocument):
    """An administrator."""

    name: str
    created_at: datetime


class InvitationDocument(ApiDocument):
    """The name of an administrator to be."""

    name: Name


class SetupLinkDocument(ApiDocument):
    """A link that its owner opens once, to choose a password."""

    name: str
    token: str
    path: str = Field(description="Of the page to open, on this server")
    expires_at: datetime


class NewTokenDocument(ApiDocument):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="What it is for")]
    scopes: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=tokens.MAX_SCOPES)]
    channel_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="With scope device only"
    )
    expires_at: AwareDatetime | None = None


class TokenDocument(ApiDocument):
    """What is known of a token."""

    id: str
    name: str
    scopes: list[str]
    channel_id: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, known: Token, **more: str) -> Self:
        """Return the document of a token; `more` is what only an issued one has."""
        own = {name: getattr(known, name) for name in TokenDocument.model_fields if name != "channel_id"}
        return cls(**own | {"scopes": list(known.scopes), "channel_id": known.channel} | more)


class IssuedTokenDocument(TokenDocument):
    """A token that was made just now."""

    token: str = Field(description="The token itself, shown this once")


class AuditDocument(ApiDocument):
    """One entry of the audit."""

    id: int
    at: datetime
    actor: str
    action: str
    channel_id: str | None
    subject: str | None
    address: str | None
    details: dict[str, Any]


@router.post("/sessions", status_code=201)
def log_in(document: LoginDocument, services: ServicesOf, request: Request, response: Response) -> SessionDocument:
    """Log an administrator in: sets the cookie of a session of 12 hours."""
    login = Login(name=document.name, password=document.password, address=address_of(request.scope))
    session = administrators.log_in(services.database, login, limit=services.logins)
    response.set_cookie(
        SESSION_COOKIE,
        session.text,
        max_age=int(administrators.SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    response.headers["cache-control"] = _NO_STORE
    return SessionDocument(administrator=session.token.name, expires_at=_expiry(session.token))


@router.delete("/sessions/current", status_code=204)
def log_out(caller: AnyCaller, services: ServicesOf, request: Request, session: SessionCookie = None) -> Response:
    """End the session of the cookie."""
    if session:
        administrators.log_out(services.database, session, by=caller, address=address_of(request.scope))
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


@router.get("/me")
def show_caller(caller: AnyCaller) -> CallerDocument:
    """Show who asks, and what they may do."""
    return CallerDocument(actor=caller.actor, scopes=sorted(caller.scopes), channel_id=caller.channel)


@router.post("/setup", status_code=201)
def set_up(document: SetupDocument, services: ServicesOf, request: Request) -> InvitationDocument:
    """Make the administrator whom a setup link is for; it works once."""
    login = Login(name=document.name, password=document.password, address=address_of(request.scope))
    administrators.set_up(services.database, document.token, login)
    return InvitationDocument(name=document.name)


@router.get("/administrators")
def list_administrators(
    _caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AdministratorDocument]:
    """List administrators by name."""
    after = decode_cursor(cursor, str)
    found = administrators.list_administrators(services.database, after=after, limit=limit + 1)
    shown = [AdministratorDocument(name=one.name, created_at=one.created_at) for one in found[:limit]]
    return page_of(request, response, shown, shown[-1].name if len(found) > limit else None)


@router.post("/administrators", status_code=201)
def invite_administrator(
    document: InvitationDocument,
    caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
) -> SetupLinkDocument:
    """Return a setup link for another administrator, who chooses a password with it."""
    link = administrators.invite(services.database, document.name, by=caller, address=address_of(request.scope))
    response.headers["cache-control"] = _NO_STORE
    return SetupLinkDocument(
        name=document.name, token=link.text, path=f"/setup?token={link.text}", expires_at=_expiry(link.token)
    )


@router.delete("/administrators/{name}", status_code=204)
def remove_administrator(name: str, caller: AdministratorCaller, services: ServicesOf, request: Request) -> None:
    """Remove an administrator, unless it is the last one; ends their sessions."""
    administrators.remove_administrator(services.database, name, by=caller, address=address_of(request.scope))


@router.put("/me/password", status_code=204)
def change_password(
    document: PasswordDocument,
    caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    session: SessionCookie = None,
) -> None:
    """Change the password of who is logged in; ends their other sessions."""
    name = _administrator_of(caller)
    login = Login(name=name, password=document.password, address=address_of(request.scope))
    administrators.change_password(
        services.database, login, document.new_password, limit=services.logins, session=session or ""
    )


@router.get("/tokens")
def list_tokens(
    _caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[TokenDocument]:
    """List tokens, revoked ones too, newest first."""
    found = tokens.list_tokens(services.database, after=_token_position(cursor), limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    position = f"{last.created_at.isoformat()} {last.id}" if last else None
    return page_of(request, response, [TokenDocument.of(one) for one in found[:limit]], position)


@router.post("/tokens", status_code=201)
def create_token(
    document: NewTokenDocument,
    caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
) -> IssuedTokenDocument:
    """Make a token for a program or a device. The answer is the only one that shows it."""
    new = NewToken(
        name=document.name,
        scopes=document.scopes,
        channel=document.channel_id,
        expires_at=document.expires_at,
    )
    issued = tokens.create_token(services.database, new, by=caller, address=address_of(request.scope))
    response.headers["cache-control"] = _NO_STORE
    return IssuedTokenDocument.of(issued.token, token=issued.text)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, caller: AdministratorCaller, services: ServicesOf, request: Request) -> None:
    """Revoke a token, from the next request on."""
    tokens.revoke_token(services.database, token_id, by=caller, address=address_of(request.scope))


@router.get("/audit")
def list_audit(
    _caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    channel: Annotated[str | None, Query(max_length=64, description="Of this channel only")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditDocument]:
    """List who did what, or was refused, newest first."""
    with services.database.read() as connection:
        found = audit.list_entries(connection, channel=channel, before=decode_cursor(cursor, int), limit=limit + 1)
    shown = [
        AuditDocument(
            id=one.id,
            at=one.at,
            actor=one.actor,
            action=one.action,
            channel_id=one.channel,
            subject=one.subject,
            address=one.address,
            details=dict(one.details),
        )
        for one in found[:limit]
    ]
    return page_of(request, response, shown, shown[-1].id if len(found) > limit else None)


def _administrator_of(caller: Caller) -> str:
    kind, _, name = caller.actor.partition(":")
    if kind != "admin":
        raise ConflictError("a token has no password: log in, and change the password then")
    return name


def _token_position(cursor: str | None) -> tuple[datetime, str] | None:
    position = decode_cursor(cursor, str)
    if position is None:
        return None
    at, _, token_id = position.partition(" ")
    try:
        created_at = datetime.fromisoformat(at)
    except ValueError:
        created_at = None
    if created_at is None or created_at.tzinfo is None:
        raise UsageError(f"{position[:40]!r} is no position in this list: use nextCursor of the page before")
    return created_at, token_id


def _expiry(token: Token) -> datetime:
    if token.expires_at is None:
        raise TypeError(token.kind)
    return token.expires_at
