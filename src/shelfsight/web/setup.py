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
from shelfsight.errors import AuthenticationError, ConflictError, UsageError
from shelfsight.web.headers import FORM_POLICY

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent / "templates"
_TEMPLATES = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)

Field = Annotated[str, Form(max_length=1000)]


@router.get("/setup")
def show_form(request: Request, services: ServicesOf, token: Annotated[str, Query(max_length=1000)] = "") -> Response:
    """Return the form, or a page that says why there is none."""
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
    """Make the administrator, or return the form with what is wrong."""
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
    return RedirectResponse("/setup/done", status_code=303)


@router.get("/setup/done")
def show_next_steps(request: Request) -> Response:
    """Return what to do after the setup."""
    return _page("setup_done.html.j2", server=str(request.base_url).rstrip("/"))


@router.get("/docs")
def show_description() -> Response:
    """Return where the description of the API is."""
    return _page("docs.html.j2")


@router.get("/static/pages.css")
def show_styles() -> Response:
    """Return the styles of these pages."""
    return FileResponse(_HERE / "pages.css", media_type="text/css", headers={"cache-control": "no-cache"})


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
