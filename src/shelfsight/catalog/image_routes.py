"""Routes of images; `routes.py` includes them."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, File, Path, Request, Response, UploadFile
from starlette.responses import StreamingResponse

from shelfsight.access.rules import Caller
from shelfsight.api.documents import Page
from shelfsight.api.guards import DeviceCaller, ReaderCaller, WriterCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.preconditions import IfNoneMatch, is_known
from shelfsight.api.services import Services, ServicesOf
from shelfsight.catalog import fetch
from shelfsight.catalog.documents import AddedDocument, AddedImagesDocument, ImageDocument, UrlsDocument
from shelfsight.catalog.images import MAX_IMAGE_BYTES, Added, Upload, add_images, image_path
from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import images, products

router = APIRouter(tags=["products"])

_IMAGES = "/{channel_id}/products/{product_id}/images"
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_OF_STRANGERS = {
    "cache-control": "private, max-age=31536000, immutable",
    "content-disposition": "inline",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
}
"""Headers of files that nobody here has made; their names are hashes, so that they never change."""


@router.get(_IMAGES)
def list_images(  # noqa: PLR0913, PLR0917
    channel_id: str,
    product_id: str,
    _caller: ReaderCaller,
    services: ServicesOf,
    request: Request,
    response: Response,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ImageDocument]:
    """List the images of a product, by hash."""
    after = decode_cursor(cursor, str)
    with services.database.read() as connection:
        products.get(connection, channel_id, product_id)
        found = images.page(connection, channel_id, product_id, after=after, limit=limit + 1)
    shown = [ImageDocument.of(image) for image in found[:limit]]
    return page_of(request, response, shown, shown[-1].sha256 if len(found) > limit else None)


@router.post(_IMAGES)
def upload_images(
    channel_id: str,
    product_id: str,
    files: Annotated[list[UploadFile], File(description="Pictures, at most 50 MiB in all")],
    caller: WriterCaller,
    services: ServicesOf,
) -> AddedImagesDocument:
    """Add pictures to a product; a file that is no usable picture is refused with the reason, the others are kept."""
    uploads = [Upload(name=file.filename or "", data=file.file.read(MAX_IMAGE_BYTES + 1)) for file in files]
    return _added(add_images(services, channel_id, product_id, uploads, _stamp(caller)))


@router.post(_IMAGES + "/from-urls")
def fetch_images(
    channel_id: str, product_id: str, document: UrlsDocument, caller: WriterCaller, services: ServicesOf
) -> AddedImagesDocument:
    """Add pictures from the public web to a product; what is no usable picture is refused with the reason."""
    with services.database.read() as connection:
        images.check_takes_images(connection, channel_id, product_id)
    add = partial(_add_one, services, channel_id, product_id, _stamp(caller))
    return _added(fetch.fetch_each(document.urls, add))


@router.get(
    _IMAGES + "/{sha256}",
    response_class=Response,
    responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def show_image(
    channel_id: str,
    product_id: str,
    sha256: Sha256,
    _caller: DeviceCaller,
    services: ServicesOf,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the very bytes of an image."""
    with services.database.read() as connection:
        image = images.get(connection, channel_id, product_id, sha256)
    headers = {**_OF_STRANGERS, "etag": f'"{sha256}"'}
    if is_known(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    path = image_path(channel_id, sha256)
    headers["content-length"] = str(services.storage.head(path).size_bytes)  # an error after it began tells nothing
    return StreamingResponse(services.storage.stream(path), media_type=image.media_type, headers=headers)


@router.delete(_IMAGES + "/{sha256}", status_code=204)
def remove_image(
    channel_id: str, product_id: str, sha256: Sha256, caller: WriterCaller, services: ServicesOf
) -> None:
    """Take an image from a product."""
    with services.database.write(actor=caller.actor) as connection:
        images.remove(connection, channel_id, product_id, sha256, _stamp(caller))


def _stamp(caller: Caller) -> Stamp:
    return Stamp(actor=caller.actor, at=datetime.now(UTC))


def _add_one(services: Services, channel_id: str, product_id: str, stamp: Stamp, upload: Upload) -> Added:
    return add_images(services, channel_id, product_id, [upload], stamp)[0]


def _added(results: list[Added]) -> AddedImagesDocument:
    return AddedImagesDocument(
        results=[
            AddedDocument(
                name=one.name,
                outcome=one.outcome,
                sha256=one.sha256,
                reason=one.reason,
                also_under=list(one.also_under),
            )
            for one in results
        ]
    )
