"""The page that makes a phone a till: the link and its QR code, for an administrator who asks for them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import Response  # noqa: TC002 (FastAPI reads it)

from shelfsight.api.problems import note_refusal, problem_of
from shelfsight.api.services import ServicesOf  # noqa: TC001 (FastAPI reads it)
from shelfsight.catalog.store import channels
from shelfsight.errors import NotFoundError, UsageError
from shelfsight.till.pairing import code_of, pairing_link
from shelfsight.web.pages import Administrator, page, refused

router = APIRouter(include_in_schema=False)

Address = Annotated[str, Form(max_length=1000)]


@router.post("/admin/channels/{channel_id}/pair")
def pair(
    channel_id: str, services: ServicesOf, caller: Administrator, request: Request, server: Address = ""
) -> Response:
    """Return the link and the code for tills that reach this server at `server`; they carry the channel's key."""
    server = server.strip()
    try:
        with services.database.read() as tx:
            channel = channels.get(tx, channel_id)
        about: dict[str, Any] = {"caller": caller, "channel": channel, "server": server}
        link = pairing_link(services.database, channel_id, server)
        code = code_of(link).svg_data_uri(scale=8, border=4, light="#fff")
    except NotFoundError as error:
        return refused(request, error)
    except UsageError as error:
        problem = problem_of(error, request.scope)
        note_refusal(problem, request.scope)
        return page("pair.html.j2", status=problem.status, wrong=str(error), link="", **about)
    return page("pair.html.j2", wrong="", link=link, code=code, advice=advice(server), **about)


def own_address(request: Request) -> str:
    """Return where the browser that asks has found this server."""
    return str(request.base_url).rstrip("/")


def advice(server: str) -> str:
    """Return what stands in the way of a phone that opens a page of `server`; empty where nothing is known to."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    if _is_own(host):
        return f"No phone reaches {host}, which is this computer alone."
    if parts.scheme == "http":
        return "Browsers give the camera, and working without a network, to pages of https only."
    return ""


def _is_own(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
