"""Logging in and out by a form. Works without JavaScript."""

import re
from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from shelfsight.access import administrators
from shelfsight.access.administrators import SESSION_LASTS, Login
from shelfsight.access.rules import NOBODY
from shelfsight.api.guards import SESSION_COOKIE, identify
from shelfsight.api.problems import address_of, note_refusal, problem_of
from shelfsight.api.services import Services, ServicesOf
from shelfsight.errors import AccessError, AuthenticationError, TooManyRequestsError
from shelfsight.web.pages import page, refused

router = APIRouter(include_in_schema=False)

HOME = "/admin"
_OURS = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this server, in plain ASCII without a backslash: no address of another, however a browser reads it."""

Field = Annotated[str, Form(max_length=1000)]
Next = Annotated[str, Query(max_length=1000)]


@router.get("/login")
def show_login(next: Next = HOME) -> Response:  # noqa: A002 (what it is called everywhere)
    """Return the form."""
    return page("login.html.j2", next=_local(next), name="", wrong="")


@router.post("/login")
def log_in(
    request: Request,
    services: ServicesOf,
    name: Field = "",
    password: Field = "",
    next: Field = HOME,  # noqa: A002
) -> Response:
    """Begin a session and go to where one came from, or return the form with what is wrong."""
    if is_foreign(request):
        return refused(request, AccessError("a page of another site sent this form: log in here"))
    login = Login(name=name.strip(), password=password, address=address_of(request.scope))
    try:
        return begin_session(request, services, login, leads_to=_local(next))
    except (AuthenticationError, TooManyRequestsError) as error:
        problem = problem_of(error, request.scope)
        note_refusal(problem, request.scope)
        values = {"next": _local(next), "name": login.name[:64], "wrong": str(error)}
        return page("login.html.j2", status=problem.status, **values)


@router.post("/logout")
def log_out(
    request: Request,
    services: ServicesOf,
    session: Annotated[str, Cookie(alias=SESSION_COOKIE)] = "",
) -> Response:
    """End the session and show the login."""
    try:
        caller = identify(request, services.database)
    except AuthenticationError:  # it has ended already
        caller = NOBODY
    if session and caller != NOBODY:
        administrators.log_out(services.database, session, by=caller, address=address_of(request.scope))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


def begin_session(request: Request, services: Services, login: Login, *, leads_to: str) -> Response:
    """Return the way to a page of ours, with the cookie of a session.

    Raises:
        AuthenticationError: name and password do not belong together.
        TooManyRequestsError: too many were tried.
    """
    session = administrators.log_in(services.database, login, limit=services.logins)
    response = RedirectResponse(leads_to, status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        session.text,
        max_age=int(SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def is_foreign(request: Request) -> bool:
    """Return whether a page of another site sent a form: nobody is logged in as somebody else without seeing it."""
    return request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}


def _local(path: str) -> str:
    return path if _OURS.fullmatch(path) else HOME
