"""Pictures as files: checked, stored once by the hash of their bytes, read back, and found when nobody needs them."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Protocol

from PIL import ExifTags
from PIL import Image as Pillow

from shelfsight.catalog.picture import FORMATS, MAX_BYTES, check_picture
from shelfsight.catalog.rules import Image, Stamp
from shelfsight.catalog.store import images
from shelfsight.errors import PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

ROOT = "images"
"""The folder of all images in the storage."""

MAX_IMAGE_BYTES = min(50 * 2**20, MAX_BYTES)
"""Largest picture that is kept."""

_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further pictures behind it, as 3D cameras and phones write
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_LOOKED_UP_AT_ONCE = 500
_TURNS = BoundedSemaphore(os.cpu_count() or 4)
"""Held while a picture is decoded, which takes some 100 MB: no more at once than there are processors for."""


class Stores(Protocol):
    """Where images live: their rows and their files."""

    @property
    def database(self) -> Database:
        """The rows."""

    @property
    def storage(self) -> Storage:
        """The files."""


class Outcome(StrEnum):
    """What became of a picture."""

    ADDED = "added"
    ALREADY_THERE = "already-there"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture as it came; `name` is a file's name or a URL, and believed in nothing."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of one picture.

    Attributes:
        reason: why it was refused.
        also_under: other active products with the very same bytes; a recogniser cannot tell them apart by it.
    """

    name: str
    outcome: Outcome
    sha256: str | None = None
    reason: str | None = None
    also_under: tuple[str, ...] = ()


def add_images(
    stores: Stores, channel_id: str, product_id: str, uploads: Sequence[Upload], stamp: Stamp
) -> list[Added]:
    """Add pictures to a product; return what became of each. A bad one is refused without harm to the others.

    Raises:
        NotFoundError: there is no such channel or product.
        ConflictError: the product is deleted.
    """
    with stores.database.read() as connection:
        images.check_takes_images(connection, channel_id, product_id)
    checked = [_checked(upload, product_id, stamp.at) for upload in uploads]
    pairs = list(zip(checked, uploads, strict=True))
    good = {image.sha256: (image, upload.data) for image, upload in pairs if isinstance(image, Image)}
    with stores.database.read() as connection:
        known = images.known(connection, channel_id, good)
    for sha256 in good.keys() - known:  # before there is a row: no row is ever without its file
        stores.storage.put(image_path(channel_id, sha256), good[sha256][1])
    with stores.database.write(actor=stamp.actor) as connection:
        rows = [image for image, _ in good.values()]
        new = {image.sha256 for image in images.add(connection, channel_id, product_id, rows, stamp)}
        owners = images.owners(connection, channel_id, good)
    for sha256 in known:  # its last row may have gone, and the clean-up have come, since it was looked up
        if not stores.storage.exists(image_path(channel_id, sha256)):
            stores.storage.put(image_path(channel_id, sha256), good[sha256][1])
    others = {sha256: tuple(owner for owner in found if owner != product_id) for sha256, found in owners.items()}
    return [_result(upload.name, image, new, others) for image, upload in pairs]


def store_picture(storage: Storage, channel_id: str, data: bytes, at: datetime) -> Image:
    """Check a picture and store its file; return what its row is to say, which is for the caller to write.

    Returns: an image of no product yet: `product_id` is empty.

    Raises:
        PictureError: it cannot be used.
        StorageError: it cannot be stored.
    """
    image = _examined(data, "", at)
    storage.put(image_path(channel_id, image.sha256), data)
    return image


def image_path(channel_id: str, sha256: str) -> str:
    """Return where an image lies in the storage."""
    return f"{images_folder(channel_id)}/{sha256[:2]}/{sha256}"


def images_folder(channel_id: str) -> str:
    """Return where the images of a channel lie in the storage; never served with the models."""
    return f"{ROOT}/{channel_id}"


def read_image(storage: Storage, channel_id: str, sha256: str) -> bytes:
    """Return the bytes of an image.

    Raises:
        NotFoundError: its file is not there.
    """
    return storage.get(image_path(channel_id, sha256))


def unreferenced_images(stores: Stores, channel_id: str, *, before: datetime) -> Iterator[list[str]]:
    """Yield the paths of a channel's image files that no product has, deleted ones included, a few at a time.

    Args:
        before: only files that were stored before then; a younger one may be waiting for its row. A day is plenty.
    """
    old = (file.path for file in stores.storage.list(images_folder(channel_id)) if file.modified_at < before)
    while paths := list(islice(old, _LOOKED_UP_AT_ONCE)):
        hashes = {path.rpartition("/")[2]: path for path in paths}
        with stores.database.read() as connection:
            known = images.known(connection, channel_id, hashes)
        yield [path for sha256, path in hashes.items() if sha256 not in known]


def _result(name: str, image: Image | str, new: set[str], others: Mapping[str, tuple[str, ...]]) -> Added:
    """Return what became of a picture; takes it out of `new`, for it may be in one upload twice."""
    if isinstance(image, str):
        return Added(name=name, outcome=Outcome.REFUSED, reason=image)
    outcome = Outcome.ADDED if image.sha256 in new else Outcome.ALREADY_THERE
    new.discard(image.sha256)
    return Added(name=name, outcome=outcome, sha256=image.sha256, also_under=others.get(image.sha256, ()))


def _checked(upload: Upload, product_id: str, at: datetime) -> Image | str:
    """Return what is known of a picture, or the reason why it is refused."""
    try:
        return _examined(upload.data, product_id, at)
    except PictureError as reason:
        return str(reason)


def _examined(data: bytes, product_id: str, at: datetime) -> Image:
    if len(data) > MAX_IMAGE_BYTES:
        raise PictureError(f"larger than {MAX_IMAGE_BYTES // 2**20} MiB")
    with _TURNS:
        check_picture(data)
    with Pillow.open(io.BytesIO(data), formats=FORMATS) as picture:
        width, height = picture.size
        if picture.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
            width, height = height, width
        media_type = _MEDIA_TYPES[picture.format or ""]
    return Image(
        product_id=product_id,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=media_type,
        size_bytes=len(data),
        width=width,
        height=height,
        created_at=at,
    )
