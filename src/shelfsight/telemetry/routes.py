"""The route of what devices report."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from shelfsight.access.rules import Caller, may_report
from shelfsight.api.devices import WITHIN_LIMITS, check_volume
from shelfsight.api.documents import ApiDocument
from shelfsight.api.guards import AnyCaller
from shelfsight.api.services import ServicesOf
from shelfsight.bundle.documents import VERSION_PATTERN
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.catalog.sequence import sequence_header
from shelfsight.errors import AccessError
from shelfsight.telemetry import store
from shelfsight.telemetry.rules import MOST_EVENTS, Event, EventKind, moment

router = APIRouter(prefix="/api/v1", tags=["events"])

_Product = Annotated[str, Field(min_length=1, max_length=200)]


class EventDocument(ApiDocument):
    """One thing that a device reports."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="The device's own; once is enough")]
    at: Annotated[datetime, AfterValidator(moment)]
    kind: EventKind
    version: Annotated[str, Field(pattern=VERSION_PATTERN, max_length=64)] | None = None
    device: (
        Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="HMAC of its id, anew for each release")] | None
    ) = None
    product_id: _Product | None = None
    correct_product_id: _Product | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    known: bool | None = None
    latency_ms: Annotated[float, Field(ge=0, le=3_600_000)] | None = None
    agrees: bool | None = None
    reason: Annotated[str, Field(max_length=300)] | None = None

    def event(self) -> Event:
        """Return the event."""
        return Event(
            id=self.id,
            at=self.at,
            kind=self.kind,
            version=self.version,
            device=self.device,
            product=self.product_id,
            correct_product=self.correct_product_id,
            confidence=self.confidence,
            known=self.known,
            latency_ms=self.latency_ms,
            agrees=self.agrees,
            reason=self.reason,
        )


class EventsDocument(BaseModel):
    """A batch of what a device reports; one that is wrong does not keep the others out.

    No `ApiDocument`, which would look into the events, and refuse all for one.
    """

    model_config = ApiDocument.model_config

    channel_id: Annotated[str, Field(pattern=CHANNEL_PATTERN)]
    events: Annotated[list[Any], Field(min_length=1, max_length=MOST_EVENTS, description="`EventDocument`s")]


class RefusedEventDocument(ApiDocument):
    """An event that was not stored, and never will be: sending it again does not help."""

    index: int
    reason: str


class TakenEventsDocument(ApiDocument):
    """What became of a batch."""

    stored: int = Field(description="Those that were not there yet")
    refused: list[RefusedEventDocument]


@router.post("/events", dependencies=[WITHIN_LIMITS])
def report_events(
    document: EventsDocument, caller: AnyCaller, services: ServicesOf, request: Request, response: Response
) -> TakenEventsDocument:
    """Store what a device reports; the same event again changes nothing."""
    channel, count = document.channel_id, len(document.events)
    _check_may_report(caller, channel)
    check_volume(request.app.state.event_volume, count, what="events", caller=caller, channel=channel)
    events: dict[str, Event] = {}
    refused: list[RefusedEventDocument] = []
    for index, raw in enumerate(document.events):
        try:
            event = EventDocument.model_validate(raw).event()
        except ValidationError as exc:
            refused.append(RefusedEventDocument(index=index, reason=_first(exc)))
        else:
            events.setdefault(event.id, event)
    with services.database.write(actor=caller.actor) as tx:
        response.headers.update(sequence_header(tx, channel))
        stored = store.add(tx, channel, list(events.values()), datetime.now(UTC))
    return TakenEventsDocument(stored=stored, refused=refused)


def _check_may_report(caller: Caller, channel_id: str) -> None:
    if not may_report(caller, channel_id):
        raise AccessError(f"{caller.actor} may report nothing of channel {channel_id}: events come from its devices")


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "event"
    return f"{where}: {problem['msg']}"[:300]
