"""Routes of channels and products, with those of images."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection

from shelfsight.access import audit
from shelfsight.access.rules import Caller, Right, may, readable_channels
from shelfsight.api.documents import Page
from shelfsight.api.guards import AdministratorCaller, AnyCaller, ReaderCaller, WriterCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.preconditions import IfMatch, check_if_match, etag
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf
from shelfsight.catalog import image_routes
from shelfsight.catalog.documents import (
    BatchDocument,
    BatchResultDocument,
    BatchResultsDocument,
    ChangeDocument,
    ChangesDocument,
    ChannelChangeDocument,
    ChannelDocument,
    DetailsDocument,
    NewChannelDocument,
    NewProductDocument,
    ProductChangeDocument,
    ProductDocument,
)
from shelfsight.catalog.rules import ChangeKind, Channel, Product, ProductDetails, ProductState, Stamp, check_batch
from shelfsight.catalog.search import ProductSearch
from shelfsight.catalog.store import changes, channels, products
from shelfsight.errors import UsageError

router = APIRouter(prefix="/api/v1/channels")
router.include_router(image_routes.router)

Revision = Annotated[int, Query(ge=0, le=2**63 - 1, description="What came after this revision; 0 = everything")]


def _search_of(request: Request) -> ProductSearch:
    search: ProductSearch = request.app.state.product_search
    return search


SearchOf = Annotated[ProductSearch, Depends(_search_of)]
SearchText = Annotated[str, Query(max_length=500, description="Part of a name, SKU or barcode")]


@router.get("", tags=["channels"])
def list_channels(
    caller: AnyCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ChannelDocument]:
    """List the channels that the caller may see, by id."""
    after = decode_cursor(cursor, str)
    with services.database.read() as connection:
        among = readable_channels(caller)
        found = channels.page(connection, after=after, limit=limit + 1, among=among)
    shown = [_channel_document(caller, channel) for channel in found[:limit]]
    return page_of(request, response, shown, shown[-1].id if len(found) > limit else None)


@router.post("", status_code=201, tags=["channels"])
def create_channel(
    document: NewChannelDocument,
    caller: AdministratorCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
) -> ChannelDocument:
    """Make a channel."""
    with services.database.write(actor=caller.actor) as connection:
        channel = channels.create(connection, document.id, document.values(), _stamp(caller))
        _audit(connection, request, caller, "channel_created", channel.id)
    response.headers["location"] = f"{router.prefix}/{channel.id}"
    response.headers["etag"] = etag(channel.settings_revision)
    return _channel_document(caller, channel)


@router.get("/{channel_id}", tags=["channels"])
def show_channel(channel_id: str, caller: ReaderCaller, services: ServicesOf, response: Response) -> ChannelDocument:
    """Show a channel; its ETag is that of its settings."""
    with services.database.read() as connection:
        channel = channels.get(connection, channel_id)
    response.headers["etag"] = etag(channel.settings_revision)
    return _channel_document(caller, channel)


@router.patch("/{channel_id}", tags=["channels"])
def change_channel(  # noqa: PLR0913, PLR0917 (FastAPI's way of asking for each)
    channel_id: str,
    document: ChannelChangeDocument,
    caller: WriterCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ChannelDocument:
    """Change what the document names of a channel."""
    with services.database.write(actor=caller.actor) as connection:
        changes.lock(connection, channel_id)
        before = channels.get(connection, channel_id)
        check_if_match(if_match, before.settings_revision)
        channel = channels.change(connection, channel_id, document.values(), stamp=_stamp(caller))
        if channel != before:
            details = {"names": sorted(document.model_fields_set), "revision": channel.revision}
            _audit(connection, request, caller, "channel_settings_changed", channel_id, details)
    response.headers["etag"] = etag(channel.settings_revision)
    return _channel_document(caller, channel)


@router.delete("/{channel_id}", status_code=204, tags=["channels"])
def delete_channel(channel_id: str, caller: AdministratorCaller, services: ServicesOf, request: Request) -> None:
    """Delete a channel with all its products, images and versions, for good."""
    with services.database.write(actor=caller.actor) as connection:
        channels.delete(connection, channel_id)
        _audit(connection, request, caller, "channel_deleted", channel_id)


@router.post("/{channel_id}/token", tags=["channels"])
def rotate_token(
    channel_id: str, caller: AdministratorCaller, services: ServicesOf, request: Request, response: Response
) -> ChannelDocument:
    """Give a channel another token; devices that know the old one lose it at once."""
    with services.database.write(actor=caller.actor) as connection:
        channel = channels.rotate_token(connection, channel_id, _stamp(caller))
        _audit(connection, request, caller, "channel_token_rotated", channel_id)
    response.headers["etag"] = etag(channel.settings_revision)
    return _channel_document(caller, channel)


@router.get("/{channel_id}/changes", tags=["channels"])
def list_changes(
    channel_id: str,
    _caller: ReaderCaller,
    services: ServicesOf,
    since: Revision = 0,
    limit: Limit = DEFAULT_LIMIT,
) -> ChangesDocument:
    """List what changed in a channel, oldest first."""
    with services.database.read() as connection:
        channel = channels.get(connection, channel_id)
        found = changes.changes_since(connection, channel_id, since, limit)
    revision = max([channel.revision, *(entry.revision for entry in found)])
    return ChangesDocument(items=[ChangeDocument.of(entry) for entry in found], revision=revision)


@router.get("/{channel_id}/products", tags=["products"])
def list_products(  # noqa: PLR0913, PLR0917
    channel_id: str,
    _caller: ReaderCaller,
    search: SearchOf,
    request: Request,
    response: Response,
    state: ProductState = ProductState.ACTIVE,
    q: SearchText = "",
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ProductDocument]:
    """List products by id; with `q` those that have it in name, SKU or barcode, whatever the case and accents."""
    after = decode_cursor(cursor, str)
    found = search.page(channel_id, state=state, text=q, after=after, limit=limit + 1)
    shown = [ProductDocument.of(product) for product in found[:limit]]
    return page_of(request, response, shown, shown[-1].id if len(found) > limit else None)


@router.post("/{channel_id}/products", status_code=201, tags=["products"])
def add_product(
    channel_id: str, document: NewProductDocument, caller: WriterCaller, services: ServicesOf, response: Response
) -> ProductDocument:
    """Add a product."""
    product_id = document.id if document.id is not None else secrets.token_hex(8)
    with services.database.write(actor=caller.actor) as connection:
        product = products.add(connection, channel_id, product_id, document.details(), _stamp(caller))
    return _shown(response, product)


@router.post("/{channel_id}/products/batch", tags=["products"])
def put_products(
    channel_id: str, document: BatchDocument, caller: WriterCaller, services: ServicesOf
) -> BatchResultsDocument:
    """Let every product of a batch be as it says: added, changed, or restored. All of them, or none."""
    check_batch([one.id for one in document.products])
    batch = {one.id: _details(one.id, one) for one in document.products}
    with services.database.write(actor=caller.actor) as connection:
        written = products.put(connection, channel_id, batch, _stamp(caller))
    return BatchResultsDocument(
        results=[
            BatchResultDocument(id=product.id, revision=product.revision, change=kind)
            for product, kind in written.values()
        ]
    )


@router.get("/{channel_id}/products/{product_id}", tags=["products"])
def show_product(
    channel_id: str, product_id: str, _caller: ReaderCaller, services: ServicesOf, response: Response
) -> ProductDocument:
    """Show a product, deleted or not."""
    with services.database.read() as connection:
        return _shown(response, products.get(connection, channel_id, product_id))


@router.put("/{channel_id}/products/{product_id}", tags=["products"])
def put_product(  # noqa: PLR0913, PLR0917
    channel_id: str,
    product_id: str,
    document: DetailsDocument,
    caller: WriterCaller,
    services: ServicesOf,
    response: Response,
    if_match: IfMatch = None,
) -> ProductDocument:
    """Let a product be as the document says: added, changed, or restored."""
    details = document.details()
    with services.database.write(actor=caller.actor) as connection:
        if if_match is not None:
            _check_revision(connection, channel_id, product_id, if_match)
        written = products.put(connection, channel_id, {product_id: details}, _stamp(caller))
    product, kind = written[product_id]
    response.status_code = 201 if kind is ChangeKind.PRODUCT_ADDED else 200
    return _shown(response, product)


@router.patch("/{channel_id}/products/{product_id}", tags=["products"])
def change_product(  # noqa: PLR0913, PLR0917
    channel_id: str,
    product_id: str,
    document: ProductChangeDocument,
    caller: WriterCaller,
    services: ServicesOf,
    response: Response,
    if_match: IfMatch = None,
) -> ProductDocument:
    """Change what the document names of a product."""
    with services.database.write(actor=caller.actor) as connection:
        _check_revision(connection, channel_id, product_id, if_match)
        product = products.change(connection, channel_id, product_id, document.values(), stamp=_stamp(caller))
    return _shown(response, product)


@router.delete("/{channel_id}/products/{product_id}", status_code=204, tags=["products"])
def delete_product(
    channel_id: str, product_id: str, caller: WriterCaller, services: ServicesOf, if_match: IfMatch = None
) -> None:
    """Delete a product; it can be restored, with its images."""
    with services.database.write(actor=caller.actor) as connection:
        _check_revision(connection, channel_id, product_id, if_match)
        products.delete(connection, channel_id, product_id, stamp=_stamp(caller))


@router.post("/{channel_id}/products/{product_id}/restore", tags=["products"])
def restore_product(
    channel_id: str, product_id: str, caller: WriterCaller, services: ServicesOf, response: Response
) -> ProductDocument:
    """Take the deletion of a product back."""
    with services.database.write(actor=caller.actor) as connection:
        product = products.restore(connection, channel_id, product_id, stamp=_stamp(caller))
    return _shown(response, product)


def _stamp(caller: Caller) -> Stamp:
    return Stamp(actor=caller.actor, at=datetime.now(UTC))


def _audit(
    connection: Connection,
    request: Request,
    caller: Caller,
    action: str,
    channel_id: str,
    details: dict[str, object] | None = None,
) -> None:
    address = address_of(request.scope)
    audit.record(connection, actor=caller.actor, action=action, channel=channel_id, address=address, details=details)


def _channel_document(caller: Caller, channel: Channel) -> ChannelDocument:
    return ChannelDocument.of(channel, with_token=may(caller, Right.WRITE, channel.id))


def _shown(response: Response, product: Product) -> ProductDocument:
    response.headers["etag"] = etag(product.revision)
    return ProductDocument.of(product)


def _details(product_id: str, document: DetailsDocument) -> ProductDetails:
    """Return the details of a product of many; what is wrong with them names the product."""
    try:
        return document.details()
    except UsageError as exc:
        raise UsageError(f"product {product_id!r}: {exc}") from exc


def _check_revision(connection: Connection, channel_id: str, product_id: str, if_match: str | None) -> None:
    """Refuse a change by who has seen another revision; nobody else changes the product from here on."""
    changes.lock(connection, channel_id)
    check_if_match(if_match, products.get(connection, channel_id, product_id).revision)
