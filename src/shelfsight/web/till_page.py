"""The till page of each channel: what makes a browser a till, which works without a network after one visit.

It is the same for everybody, and says nothing of a channel but its id: who may see what is the API's to decide.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from shelfsight import __version__
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.web import static

router = APIRouter(include_in_schema=False)
router.add_route("/static/{name}", static.static)

ChannelId = Annotated[str, Path(pattern=CHANNEL_PATTERN)]
_HEADERS = {"cache-control": static.REVALIDATE}


@router.get("/till/{channel_id}")
def show_till(channel_id: ChannelId, request: Request) -> Response:
    """Return the page."""
    static.check_built()
    return static.page_answer(request, static.fill("till.html", {"channel": channel_id, "version": __version__}))


@router.get("/till/{channel_id}/manifest.webmanifest")
def show_manifest(channel_id: ChannelId) -> Response:
    """Return what a browser needs to install the page as an app."""
    manifest = static.fill("manifest.webmanifest", {"channel": channel_id})
    return Response(manifest, media_type="application/manifest+json", headers=_HEADERS)


@router.get("/till/{channel_id}/service-worker.js")
def show_service_worker(channel_id: ChannelId, request: Request) -> Response:
    """Return the script that keeps the page on the device; it may answer for this channel's page alone."""
    headers = {"service-worker-allowed": f"/till/{channel_id}"}
    path = static.DIST / "service-worker.js"
    return static.file_answer(request, path, media_type="text/javascript", headers=headers)
