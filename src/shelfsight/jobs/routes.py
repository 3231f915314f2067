"""Routes of trainings: ask for one, list, show, cancel, try again, follow."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.responses import StreamingResponse

from shelfsight.api.documents import Page
from shelfsight.api.guards import ReaderCaller, WriterCaller, asker_of
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.services import ServicesOf
from shelfsight.catalog.store import channels
from shelfsight.jobs import events, requests, store
from shelfsight.jobs.documents import LogDocument, TrainingDocument, TrainingRequestDocument
from shelfsight.jobs.events import Streams
from shelfsight.jobs.trainings import Training

router = APIRouter(prefix="/api/v1/channels/{channel_id}/trainings", tags=["trainings"])

TrainingId = Annotated[int, Path(ge=1, le=2**63 - 1)]
LastEventId = Annotated[str, Header(max_length=100, include_in_schema=False)]


@router.post("", status_code=202)
def request_training(
    channel_id: str,
    services: ServicesOf,
    caller: WriterCaller,
    request: Request,
    response: Response,
    document: TrainingRequestDocument | None = None,
) -> TrainingDocument:
    """Ask for a training; one that waits already is the one that is answered with."""
    forced = document is not None and document.force
    asked = requests.ask(services.database, channel_id, asker_of(caller, request), forced=forced)
    return _accepted(response, asked)


@router.get("")
def list_trainings(
    channel_id: str,
    services: ServicesOf,
    _caller: ReaderCaller,
    request: Request,
    response: Response,
    *,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[TrainingDocument]:
    """List the trainings of a channel, newest first, with those that failed."""
    before = decode_cursor(cursor, int)
    with services.database.read() as tx:
        channels.get(tx, channel_id)
        found, following = store.page(tx, channel_id, before=before, limit=limit)
    return page_of(request, response, [TrainingDocument.of(one) for one in found], following)


@router.get("/{training_id}")
def show_training(
    channel_id: str, training_id: TrainingId, services: ServicesOf, _caller: ReaderCaller
) -> TrainingDocument:
    """Show a training: how far it is, or how it ended."""
    with services.database.read() as tx:
        return TrainingDocument.of(requests.find(tx, training_id, channel_id))


@router.get("/{training_id}/log")
def show_log(
    channel_id: str, training_id: TrainingId, services: ServicesOf, _caller: ReaderCaller
) -> list[LogDocument]:
    """Show what was done in a training, in that order."""
    with services.database.read() as tx:
        requests.find(tx, training_id, channel_id)
        return [LogDocument(at=entry.at, line=entry.line) for entry in store.log_of(tx, training_id)]


@router.post("/{training_id}/cancel")
def cancel_training(
    channel_id: str, training_id: TrainingId, services: ServicesOf, caller: WriterCaller, request: Request
) -> TrainingDocument:
    """Ask for the end of a training: one that waits has ended then, one that runs ends within two seconds."""
    by = asker_of(caller, request)
    return TrainingDocument.of(requests.cancel(services.database, training_id, by, channel=channel_id))


@router.post("/{training_id}/retry", status_code=202)
def retry_training(
    channel_id: str,
    training_id: TrainingId,
    services: ServicesOf,
    caller: WriterCaller,
    request: Request,
    response: Response,
) -> TrainingDocument:
    """Ask for another training like one that failed, was cancelled, or had nothing to learn."""
    by = asker_of(caller, request)
    return _accepted(response, requests.ask_again(services.database, training_id, by, channel=channel_id))


def _watched(channel_id: str, training_id: TrainingId, services: ServicesOf, _caller: ReaderCaller) -> Training:
    with services.database.read() as tx:
        return requests.find(tx, training_id, channel_id)


async def _counted(request: Request, caller: ReaderCaller) -> AsyncIterator[Streams]:
    with events.streams_of(request.app).one(caller.actor) as streams:
        yield streams  # until the answer has been sent, or its reader is gone


@router.get(
    "/{training_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `progress`, each with a TrainingDocument as its data",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The last event has been seen: do not come back"},
    },
)
async def follow_training(
    training: Annotated[Training, Depends(_watched)],
    streams: Annotated[Streams, Depends(_counted)],
    services: ServicesOf,
    last_event_id: LastEventId = "",
) -> Response:
    """Follow a training by server-sent events, until it ends; a stream ends after ten minutes, too: come back."""
    if training.status.ended and last_event_id == events.LAST_ID:
        return Response(status_code=204)  # what tells a browser to stop asking
    found = events.follow(services.database, training, streams)
    return StreamingResponse(found, media_type="text/event-stream", headers=events.HEADERS)


def _accepted(response: Response, training: Training) -> TrainingDocument:
    response.headers["location"] = f"/api/v1/channels/{training.channel}/trainings/{training.id}"
    return TrainingDocument.of(training)
