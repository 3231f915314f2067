"""Pictures on their way into a catalogue: from files, from the web, from a folder of many products."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.catalog.fetch import URLS_MOST, fetch_each
from shelfsight.catalog.images import Added, Outcome, Upload, add_images
from shelfsight.catalog.picture import read_picture
from shelfsight.catalog.rules import ProductDetails
from shelfsight.catalog.store import channels, images, products
from shelfsight.errors import ConflictError, NotFoundError, PictureError, UsageError
from shelfsight.training.source import base_folder, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.cli.output import Bars
    from shelfsight.cli.service import Service

_FILES_AT_ONCE = 8
"""Of 50 MB at most, in memory."""


@dataclass(slots=True, kw_only=True)
class AddedImages:
    """What became of pictures: by name those that were refused, and those that several products have.

    `homeless` counts, of each product that is not there, its pictures; `refused_count` all that were refused.
    """

    new: int = 0
    known: int = 0
    refused_count: int = 0
    homeless: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    shared: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def count(self, results: Sequence[Added]) -> None:
        """Add what became of some more."""
        for result in results:
            match result.outcome:
                case Outcome.ADDED:
                    self.new += 1
                case Outcome.ALREADY_THERE:
                    self.known += 1
                case Outcome.REFUSED:
                    self.refuse(result.name, result.reason or "")
            if result.also_under:
                self.shared.append((result.name, result.also_under))

    def refuse(self, name: str, reason: str, photos: int = 1) -> None:
        """Add what cannot be used, and why."""
        self.refused.append((name, reason))
        self.refused_count += photos

    def turn_away(self, product_id: str, photos: int) -> None:
        """Add pictures of a product that is not there."""
        self.homeless[product_id] = photos
        self.refused_count += photos


def add_to_product(
    service: Service, channel: str, product_id: str, sources: Sequence[str], *, create: bool, bars: Bars
) -> AddedImages:
    """Add pictures, by path or URL, to one product.

    Raises:
        NotFoundError: there is no such channel or product.
        ConflictError: the product is deleted.
    """
    added = AddedImages()
    _ready(service, channel, product_id, create=create)
    bars.stage("Photos", len(sources))
    urls = [source for source in sources if source.startswith(("http://", "https://"))]
    files = [(source, Path(source)) for source in sources if source not in urls]
    _add_files(service, channel, product_id, files, added, bars)
    for first in range(0, len(urls), URLS_MOST):
        some = urls[first : first + URLS_MOST]
        added.count(fetch_each(some, lambda one: _add(service, channel, product_id, [one])[0]))
        bars.advance(len(some))
    return added


def add_folder(service: Service, channel: str, source: Path, *, create: bool, bars: Bars) -> AddedImages:
    """Add the pictures of a folder or CSV file, which names products as for a training.

    Raises:
        NotFoundError: there is no such channel.
        SourceError: the folder or file cannot be used.
    """
    listing = read_source(source)
    base = base_folder(source)
    added = AddedImages()
    for one in listing.skipped:
        added.refuse(_name(one.path, base), one.reason)
    with service.database.read() as tx:
        channels.get(tx, channel)
    bars.stage("Photos", len(listing.photos))
    for product_id, photos in groupby(listing.photos, key=lambda photo: photo.product):
        files = [(_name(photo.path, base), photo.path) for photo in photos]
        try:
            _ready(service, channel, product_id, create=create)
        except NotFoundError:
            added.turn_away(product_id, len(files))
            bars.advance(len(files))
        except (ConflictError, UsageError) as exc:
            added.refuse(f"{len(files)} photos of {product_id}", str(exc), len(files))
            bars.advance(len(files))
        else:
            _add_files(service, channel, product_id, files, added, bars)
    return added


def _ready(service: Service, channel: str, product_id: str, *, create: bool) -> None:
    """Return when a product takes images, and is there if it may be made.

    Raises:
        NotFoundError: there is no such channel or product.
        ConflictError: it is deleted.
        UsageError: it cannot be made: its id can be none.
    """
    with service.database.read() as tx:
        channels.get(tx, channel)
        try:
            images.check_takes_images(tx, channel, product_id)
        except NotFoundError:
            if not create:
                raise
        else:
            return
    with service.database.write(actor=service.caller.actor) as tx:
        products.add(tx, channel, product_id, ProductDetails(name=product_id), service.stamp())


def _add_files(
    service: Service, channel: str, product_id: str, files: Sequence[tuple[str, Path]], added: AddedImages, bars: Bars
) -> None:
    """Add files, each with the name under which it is reported."""
    for first in range(0, len(files), _FILES_AT_ONCE):
        read = [(name, _read(path)) for name, path in files[first : first + _FILES_AT_ONCE]]
        uploads = [Upload(name=name, data=data) for name, data in read if isinstance(data, bytes)]
        results = iter(_add(service, channel, product_id, uploads))
        for name, data in read:
            unread = Added(name=name, outcome=Outcome.REFUSED, reason=str(data))
            added.count([next(results) if isinstance(data, bytes) else unread])
        bars.advance(len(read))


def _read(path: Path) -> bytes | PictureError:
    try:
        return read_picture(path)
    except PictureError as exc:
        return exc


def _add(service: Service, channel: str, product_id: str, uploads: Sequence[Upload]) -> list[Added]:
    return add_images(service, channel, product_id, uploads, service.stamp())


def _name(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
