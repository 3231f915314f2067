"""The page behind a setup link: an administrator chooses a name and a password. Works without JavaScript."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from shelfsight.access import administrators
from shelfsight.access.administrators import Login
from shelfsight.access.rules import MIN_PASSWORD_LENGTH
from shelfsight.api.problems import address_of, note_refusal, problem_of
from shelfsight.api.services import ServicesOf
from shelfsight.errors import AccessError, AuthenticationError, ConflictError, TooManyRequestsError, UsageError
from shelfsight.web.headers import FORM_POLICY
from shelfsight.web.login import begin_session, is_foreign
from shelfsight.web.pages import refused

router = APIRouter(include_in_schema=False)

_DONE = "/setup/done"
_HERE = Path(__file__).parent / "templates"
_TEMPLATES = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)

Field = Annotated[str, Form(max_length=1000)]


@router.get("/setup")
def show_form(request: Request, services: ServicesOf, token: Annotated[str, Query(max_length=1000)] = "") -> Response:
    """Return the form, or a page that says why there is none; without a link, one that says where to find it."""
    if not token:
        return _page("setup_how.html.j2", has_administrator=administrators.has_administrator(services.database))
    try:
        invited = administrators.invited_name(services.database, token)
    except AuthenticationError as error:
        return _link_is_no_good(request, error)
    return _form(token=token, name=invited, invited=invited)


@router.post("/setup")
def set_up(
    request: Request,
    services: ServicesOf,
    token: Field = "",
    name: Field = "",
    password: Field = "",
    again: Field = "",
) -> Response:
    """Make the administrator, who is logged in from now on, or return the form with what is wrong."""
    if is_foreign(request):
        return refused(request, AccessError("a page of another site sent this form: open the setup link"))
    login = Login(name=name.strip(), password=password, address=address_of(request.scope))
    invited = ""
    try:
        invited = administrators.invited_name(services.database, token)
        if password != again:
            raise UsageError("the two passwords are not the same: type both once more")  # noqa: TRY301 (as the others)
        administrators.set_up(services.database, token, login)
    except AuthenticationError as error:
        return _link_is_no_good(request, error)
    except (ConflictError, UsageError) as error:
        wrong = (
            str(error) if isinstance(error, UsageError) else f"there is a {login.name} already: choose another name"
        )
        status = _note(request, error)
        return _form(token=token, name=login.name[:64], invited=invited, wrong=wrong, status=status)
    try:
        return begin_session(request, services, login, leads_to=_DONE)
    except (AuthenticationError, TooManyRequestsError):  # others guess this name: the login page says what to do
        return RedirectResponse(f"/login?next={_DONE}", status_code=303)


@router.get(_DONE)
def show_next_steps() -> Response:
    """Return what to do after the setup."""
    return _page("setup_done.html.j2")


@router.get("/docs")
def show_description(request: Request) -> Response:
    """Return what the API can do, by subject, and where its full description is."""
    described = request.app.openapi()
    return _page("docs.html.j2", tags=described["tags"], operations=_operations(described))


@router.get("/static/pages.css")
def show_styles() -> Response:
    """Return the styles of these pages."""
    return FileResponse(_HERE / "pages.css", media_type="text/css", headers={"cache-control": "no-cache"})


def _operations(described: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Return method, path and summary of each operation, by its subject."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            summary = operation.get("description", operation["summary"]).partition("\n")[0]
            found.setdefault(operation.get("tags", [""])[0], []).append((method.upper(), path, summary))
    return found


def _form(*, token: str, name: str, invited: str, wrong: str = "", status: int = 200) -> Response:
    return _page(
        "setup.html.j2",
        status=status,
        has_form=True,
        token=token,
        name=name,
        invited=invited,
        wrong=wrong,
        min_length=MIN_PASSWORD_LENGTH,
    )


def _link_is_no_good(request: Request, error: AuthenticationError) -> Response:
    return _page("setup_refused.html.j2", status=_note(request, error), reason=str(error))


def _note(request: Request, error: Exception) -> int:
    """Return the status for `error`, which the audit now has."""
    problem = problem_of(error, request.scope)
    note_refusal(problem, request.scope)
    return problem.status


def _page(template: str, *, status: int = 200, has_form: bool = False, **values: Any) -> Response:
    page = _TEMPLATES.get_template(template).render(**values)
    headers = {"cache-control": "no-store"} | ({"content-security-policy": FORM_POLICY} if has_form else {})
    return HTMLResponse(page, status_code=status, headers=headers)
