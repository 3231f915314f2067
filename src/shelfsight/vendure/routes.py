"""Routes for the plugin of a Vendure server: what happened there, trainings that are asked for, and how they go."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from shelfsight.api.devices import WITHIN_LIMITS
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf
from shelfsight.jobs.documents import TrainingDocument
from shelfsight.vendure import messages
from shelfsight.vendure.documents import (
    AcceptedDocument,
    EventsDocument,
    PingDocument,
    PongDocument,
    TheirChannelDocument,
    TrainingStatusDocument,
    TrainingWishDocument,
)
from shelfsight.vendure.message_rules import Signed
from shelfsight.vendure.rules import Server

router = APIRouter(prefix="/api/v1/vendure/{server_id}", tags=["vendure"], dependencies=[WITHIN_LIMITS])

MessageId = Annotated[str, Header(alias="webhook-id", max_length=200, description="The same at every attempt")]
Timestamp = Annotated[str, Header(alias="webhook-timestamp", max_length=20, description="Unix time, seconds")]
Signature = Annotated[
    str, Header(alias="webhook-signature", max_length=2000, description="Standard Webhooks 1.0.0: v1,<base64>")
]


async def _body(request: Request) -> bytes:
    return await request.body()


def _sender(
    server_id: str,
    services: ServicesOf,
    body: Annotated[bytes, Depends(_body)],
    message_id: MessageId = "",
    timestamp: Timestamp = "",
    signature: Signature = "",
) -> Server:
    signed = Signed(message_id=message_id, timestamp=timestamp, signature=signature)
    return messages.sender(services.database, server_id, signed, body)


Sender = Annotated[Server, Depends(_sender)]
"""The server that signed the request."""


@router.post("/events", status_code=202)
def receive_events(
    document: EventsDocument, server: Sender, services: ServicesOf, response: Response, message_id: MessageId = ""
) -> AcceptedDocument:
    """Take events: what they are about is looked at soon. Those that came before have no effect, and status 200."""
    happened = [event.happening() for event in document.events]
    if messages.note_happenings(services.database, server, message_id, happened):
        return AcceptedDocument(accepted=len(happened))
    response.status_code = 200
    return AcceptedDocument(accepted=0)


@router.post("/trainings", status_code=202)
def request_training(
    document: TrainingWishDocument,
    server: Sender,
    services: ServicesOf,
    request: Request,
    response: Response,
    message_id: MessageId = "",
) -> TrainingDocument:
    """Ask for a training of a channel of Vendure; one that waits already is the one that is answered with."""
    by = messages.asker(document.requested_by, address_of(request.scope))
    training, is_new = messages.ask_for_training(services.database, server, message_id, document.channel_id, by)
    if not is_new:
        response.status_code = 200
    return TrainingDocument.of(training)


@router.post("/trainings/status")
def show_training(document: TheirChannelDocument, server: Sender, services: ServicesOf) -> TrainingStatusDocument:
    """Show the latest training of a channel of Vendure, and its stable version."""
    training, version = messages.latest_training(services.database, server, document.channel_id)
    shown = None if training is None else TrainingDocument.of(training)
    return TrainingStatusDocument(training=shown, model_version=version)


@router.post("/ping")
def ping(_document: PingDocument, server: Sender) -> PongDocument:
    """Say that this server can be reached, and that the secret fits."""
    return PongDocument(server=server.id)
