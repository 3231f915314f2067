"""What the server shows at its bare address: the administration, or what is to be done before there is one."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse, RedirectResponse, Response

from shelfsight.access import administrators
from shelfsight.api.services import ServicesOf  # noqa: TC001 (FastAPI reads it)
from shelfsight.web.pages import TEMPLATES

router = APIRouter(include_in_schema=False)


@router.get("/")
def go_home(services: ServicesOf) -> Response:
    """Lead to the administration, which asks for a login; while nobody can log in, to the setup."""
    due = "/admin" if administrators.has_administrator(services.database) else "/setup"
    return RedirectResponse(due, status_code=303, headers={"cache-control": "no-store"})


@router.get("/favicon.ico")
def show_icon() -> Response:
    """Return the icon of the pages; browsers ask for it by this name, and take any kind of picture."""
    headers = {"cache-control": "public, max-age=86400"}
    return FileResponse(TEMPLATES / "icon.svg", media_type="image/svg+xml", headers=headers)
