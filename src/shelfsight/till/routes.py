"""Routes of the till: sales are booked, listed, summed up and exported; products are listed for tills."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from shelfsight.access.rules import Caller, may_report
from shelfsight.api.devices import WITHIN_LIMITS, check_volume
from shelfsight.api.documents import Page
from shelfsight.api.guards import DeviceCaller, ReaderCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.preconditions import IfNoneMatch, is_known
from shelfsight.api.services import ServicesOf
from shelfsight.catalog.sequence import SEQUENCE_HEADER, sequence_header
from shelfsight.catalog.store import channels
from shelfsight.errors import AccessError, UsageError
from shelfsight.moments import is_sensible
from shelfsight.till import sales, store
from shelfsight.till.documents import (
    NewSalesDocument,
    ReceiptDocument,
    ReceiptsDocument,
    SaleDocument,
    SummaryDocument,
    TillProductsDocument,
)
from shelfsight.till.export import csv_chunks
from shelfsight.till.products import Packing, ProductLists, Wanted, packing_for, tag_of
from shelfsight.till.rules import (
    DEVICE_MOST,
    SALE_ID_PATTERN,
    NewSale,
    Position,
    blamed,
    period_of,
)

router = APIRouter(prefix="/api/v1/channels/{channel_id}", tags=["sales"])

SaleId = Annotated[str, Path(pattern=SALE_ID_PATTERN)]
Since = Annotated[AwareDatetime | None, Query(alias="from", description="Received then or later")]
Until = Annotated[AwareDatetime | None, Query(alias="to", description="Received before that")]
Device = Annotated[str | None, Query(max_length=DEVICE_MOST, description="Of this device only")]
Revision = Annotated[str | None, Query(max_length=100, description="`revision` of the list that is there already")]
AcceptEncoding = Annotated[str | None, Header(include_in_schema=False)]
_LISTED = {"cache-control": "private, no-cache", "vary": "accept-encoding, authorization, cookie"}


@router.post("/sales", dependencies=[WITHIN_LIMITS])
def book_sales(
    channel_id: str,
    document: NewSalesDocument,
    caller: DeviceCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
) -> ReceiptsDocument:
    """Book sales: all of them, or none. One that was booked already, with the same contents, is not booked again."""
    _check_may_sell(caller, channel_id)
    lines = sum(len(sale.lines) for sale in document.sales)
    check_volume(request.app.state.sale_line_volume, lines, what="sales", caller=caller, channel=channel_id)
    receipts = sales.book(services.database, channel_id, _batch(document), actor=caller.actor)
    with services.database.read() as tx:
        response.headers.update(sequence_header(tx, channel_id))
    return ReceiptsDocument(sales=[ReceiptDocument.of(receipt) for receipt in receipts])


@router.get("/sales")
def list_sales(  # noqa: PLR0913, PLR0917 (FastAPI's way of asking for each)
    channel_id: str,
    _caller: ReaderCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    since: Since = None,
    until: Until = None,
    device: Device = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[SaleDocument]:
    """List sales, the last that was received first."""
    period, behind = period_of(since, until, device), _position(cursor)
    with services.database.read() as tx:
        channels.get(tx, channel_id)
        found = store.page(tx, channel_id, period, behind=behind, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    position = f"{last.received_at.isoformat()} {last.number}" if last else None
    return page_of(request, response, [SaleDocument.of(sale) for sale in found[:limit]], position)


@router.get("/sales/summary")
def summarise_sales(
    channel_id: str,
    _caller: ReaderCaller,
    services: ServicesOf,
    since: Since = None,
    until: Until = None,
    device: Device = None,
) -> SummaryDocument:
    """Say what was sold of each product, until now at the latest."""
    period = sales.closed(services.database, channel_id, period_of(since, until, device))
    return SummaryDocument.of(sales.summarised(services.database, channel_id, period), period)


@router.get(
    "/sales.csv",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "UTF-8 with a byte order mark, a row for each line of a sale",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
def export_sales(
    channel_id: str,
    _caller: ReaderCaller,
    services: ServicesOf,
    since: Since = None,
    until: Until = None,
    device: Device = None,
) -> StreamingResponse:
    """Send sales as CSV, the first that was received first, until now at the latest."""
    period = sales.closed(services.database, channel_id, period_of(since, until, device))
    chunks = csv_chunks(sales.each(services.database, channel_id, period))
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="sales-{channel_id}.csv"',
        "content-type": "text/csv; charset=utf-8; header=present",
    }
    return StreamingResponse(chunks, headers=headers)


@router.get("/sales/{sale_id}")
def show_sale(channel_id: str, sale_id: SaleId, _caller: ReaderCaller, services: ServicesOf) -> SaleDocument:
    """Show a sale."""
    with services.database.read() as tx:
        return SaleDocument.of(store.get(tx, channel_id, sale_id))


@router.get(
    "/till/products",
    dependencies=[WITHIN_LIMITS],
    response_class=Response,
    responses={
        200: {"model": TillProductsDocument, "headers": {"ETag": {"schema": {"type": "string"}}}},
        304: {"description": "The list of If-None-Match is the present one"},
    },
)
def list_till_products(
    channel_id: str,
    _caller: DeviceCaller,
    request: Request,
    since: Revision = None,
    if_none_match: IfNoneMatch = None,
    accept_encoding: AcceptEncoding = None,
) -> Response:
    """List all active products for a till; with `since`, only what changed in that list, where that is less.

    Pictures are no part of it.
    """
    lists: ProductLists = request.app.state.product_lists
    revision, sequence = lists.standing(channel_id)
    always = {SEQUENCE_HEADER: str(sequence), **_LISTED}
    for packing in Packing:
        tag = tag_of(revision, packing)
        if is_known(if_none_match, tag):
            return Response(status_code=304, headers={"etag": tag, **always})
    wanted = Wanted(channel=channel_id, packing=packing_for(accept_encoding), since=since)
    found = lists.find(wanted, revision)
    headers = {"etag": found.etag, **always}
    if found.packing is not Packing.NONE:
        headers["content-encoding"] = found.packing.value
    return Response(found.body, headers=headers, media_type="application/json")


def _check_may_sell(caller: Caller, channel_id: str) -> None:
    if not may_report(caller, channel_id):
        raise AccessError(f"{caller.actor} may only read channel {channel_id}: sales come from its devices")


def _batch(document: NewSalesDocument) -> list[NewSale]:
    batch = []
    for place, one in enumerate(document.sales):
        with blamed(place):
            batch.append(one.sale())
    return batch


def _position(cursor: str | None) -> Position | None:
    position = decode_cursor(cursor, str)
    if position is None:
        return None
    at, _, number = position.partition(" ")
    try:
        found = Position(datetime.fromisoformat(at), int(number))
    except ValueError:
        found = None
    if found is None or not is_sensible(found.received_at) or not 0 < found.number < 2**63:
        raise UsageError(f"{position[:40]!r} is no position in this list: use nextCursor of the page before")
    return found
