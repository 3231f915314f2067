"""What the administration's pages have in common: who may see them, and how they are made of templates."""

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from shelfsight.access.rules import NOBODY, Caller, Right
from shelfsight.api.guards import check_may, identify
from shelfsight.api.problems import note_refusal, problem_of
from shelfsight.api.services import ServicesOf
from shelfsight.errors import AuthenticationError
from shelfsight.web.headers import FORM_POLICY

TEMPLATES = Path(__file__).parent / "templates"
_TEMPLATES = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": FORM_POLICY,
    # Without it browsers call the origin of a form "null" on plain HTTP, and its cookie would count for nothing.
    "referrer-policy": "same-origin",
}


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page that may send forms to this server."""
    made = _TEMPLATES.get_template(template).render(**values)
    return HTMLResponse(made, status_code=status, headers=_HEADERS)


def refused(request: Request, error: Exception) -> Response:
    """Return a page that says why there is nothing else; the audit has it."""
    problem = problem_of(error, request.scope)
    note_refusal(problem, request.scope)
    return page("refused.html.j2", status=problem.status, reason=problem.detail)


def _logged_in(request: Request, services: ServicesOf) -> Caller:
    """Return who asks; send those who are nobody to the login, which leads back here."""
    try:
        caller = identify(request, services.database)
    except AuthenticationError:  # a session that has ended
        caller = NOBODY
    if caller == NOBODY:
        back = request.url.path if request.method == "GET" else "/admin"
        raise HTTPException(303, headers={"location": f"/login?next={quote(back, safe='/')}"})
    return caller


LoggedIn = Annotated[Caller, Depends(_logged_in)]


def _administrator(caller: LoggedIn) -> Caller:
    return check_may(caller, Right.ADMIN, None)


def _writer(caller: LoggedIn, channel_id: str) -> Caller:
    return check_may(caller, Right.WRITE, channel_id)


Administrator = Annotated[Caller, Depends(_administrator)]
"""An administrator, who is logged in."""
Writer = Annotated[Caller, Depends(_writer)]
"""An administrator, or a token that may change the channel in the path, `{channel_id}`."""


def _moment(at: datetime | None, zone: tzinfo = UTC) -> str:
    return "–" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}".replace("%", " %")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _left(seconds: int | None) -> str:
    """Return how long it still takes; training.js says it with the same words."""
    if seconds is None:
        return ""
    return f"about {seconds} s left" if seconds < 100 else f"about {round(seconds / 60)} min left"


_TEMPLATES.filters.update(moment=_moment, share=_share, duration=_duration, left=_left)
