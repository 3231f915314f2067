"""The plain administration: channels, and the training of each. Works without JavaScript, which makes it live."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from shelfsight.api.guards import asker_of
from shelfsight.api.services import Services, ServicesOf
from shelfsight.catalog.store import channels, images, products
from shelfsight.catalog.zones import zone_of
from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.jobs import requests, store
from shelfsight.jobs.documents import TrainingDocument
from shelfsight.jobs.outcome import TOO_FEW, outcome
from shelfsight.jobs.trainings import Training, TrainingState
from shelfsight.rollout import store as rollouts
from shelfsight.web import login, pairing, versions
from shelfsight.web.pages import TEMPLATES, Administrator, page, refused

router = APIRouter(include_in_schema=False)
router.include_router(login.router)
router.include_router(pairing.router)
router.include_router(versions.router)

_PAGE = 50
_SHOWN = 10

Id = Annotated[str, Query(max_length=100)]
TrainingId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/admin")
def list_channels(services: ServicesOf, caller: Administrator, id: Id = "", after: Id = "") -> Response:  # noqa: A002
    """Return the channels by id, after one of them; or go to that of an id."""
    wanted = id.strip()
    with services.database.read() as tx:
        if wanted and channels.page(tx, among=[wanted], limit=1):
            return RedirectResponse(_address(wanted), status_code=303)
        found = channels.page(tx, after=after or None, limit=_PAGE + 1)
    return page(
        "channels.html.j2",
        status=404 if wanted else 200,
        caller=caller,
        channels=found[:_PAGE],
        following=found[_PAGE - 1].id if len(found) > _PAGE else None,
        wanted=wanted,
    )


@router.get("/admin/channels/{channel_id}")
def show_channel(channel_id: str, services: ServicesOf, caller: Administrator, request: Request) -> Response:
    """Return a channel, what its training does, and how the last ones ended."""
    try:
        facts = _facts(services, channel_id)
    except NotFoundError as error:
        return refused(request, error)
    return page("channel.html.j2", caller=caller, server=pairing.own_address(request), **facts)


@router.post("/admin/channels/{channel_id}/train")
def train(
    channel_id: str,
    services: ServicesOf,
    caller: Administrator,
    request: Request,
    force: Annotated[bool, Form()] = False,
) -> Response:
    """Ask for a training, and show the channel."""
    try:
        requests.ask(services.database, channel_id, asker_of(caller, request), forced=force)
    except NotFoundError as error:
        return refused(request, error)
    return RedirectResponse(_address(channel_id), status_code=303)


@router.post("/admin/channels/{channel_id}/trainings/{training_id}/cancel")
def cancel(
    channel_id: str, training_id: TrainingId, services: ServicesOf, caller: Administrator, request: Request
) -> Response:
    """Ask for the end of a training, and show the channel."""
    try:
        requests.cancel(services.database, training_id, asker_of(caller, request), channel=channel_id)
    except NotFoundError as error:
        return refused(request, error)
    except ConflictError:
        pass  # it ended while its button was pressed: the page says how
    return RedirectResponse(_address(channel_id), status_code=303)


@router.get("/static/training.js")
def show_script() -> Response:
    """Return the script that shows the progress of a training."""
    headers = {"cache-control": "no-cache"}
    return FileResponse(TEMPLATES / "training.js", media_type="text/javascript", headers=headers)


def _facts(services: Services, channel_id: str) -> dict[str, Any]:
    """Return what the page of a channel shows.

    Raises:
        NotFoundError: there is no such channel.
    """
    with services.database.read() as tx:
        channel = channels.get(tx, channel_id)
        standing = rollouts.standing(tx, channel_id)
        found, _ = store.page(tx, channel_id, limit=_SHOWN)
        current = _current(found)
        counted = products.count(tx, channel_id), images.count(tx, channel_id)
        facts = {
            "channel": channel,
            "zone": zone_of(channel.settings.time_zone),
            "products": counted[0],
            "photos": counted[1],
            "training": None if current is None else TrainingDocument.of(current),
            "outcome": _advice(counted) if current is None else outcome(tx, current),
            "tone": "idle" if current is None else _tone(current, channel.settings.model_version),
            "is_open": current is not None and not current.status.ended,
            "another_waits": current is not None and current is not found[0],
            "has_worker": requests.has_worker(tx),
            "trainings": found,
        }
    trained = {one.version for one in found if one.version}
    return facts | versions.facts(services, standing, also=trained)


def _current(found: list[Training]) -> Training | None:
    """Return the training to show, of some, the newest first: what runs, else what waits, else the last."""
    for state in (TrainingState.TRAINING, TrainingState.QUEUED):
        for training in found:
            if training.status is state:
                return training
    return found[0] if found else None


def _tone(training: Training, stable: str | None) -> str:
    """Return the class that the outcome has: what is not live is nothing to be glad of."""
    if training.status is TrainingState.READY and stable != f"v{training.version}":
        return TrainingState.IDLE
    return training.status


def _advice(counted: tuple[int, int]) -> str:
    """Return what to do with a channel that was never trained, from its number of products and photos."""
    match counted:
        case (0, _):
            return "Add two products or more, with photos."
        case (1, _):
            return TOO_FEW
        case (_, 0):
            return "Add photos to the products."
    return "Not trained yet."


def _address(channel_id: str) -> str:
    return f"/admin/channels/{channel_id}"
