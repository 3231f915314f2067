"""The photos of a folder or CSV file as a training's source."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from shelfsight.bundle.recogniser import processors
from shelfsight.catalog.picture import read_picture
from shelfsight.errors import PictureError
from shelfsight.training.images import Found, Image, SkippedImage, each_once
from shelfsight.training.source import display_name, read_source

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.training.progress import Progress
    from shelfsight.training.source import Listing, Photo


class FileSource:
    """Photos in files, named as the shop knows them: relative to the folder or CSV file; see `Source`."""

    def __init__(self, place: Path, listing: Listing) -> None:
        """Take the photos of `listing`, which `place` named."""
        self._place = place
        self._listing = listing
        self._paths: dict[str, Path] = {}

    @classmethod
    def open(cls, place: Path) -> Self:
        """Return the source that a folder or a CSV file is.

        Raises:
            SourceError: it cannot be used; see `read_source`.
        """
        return cls(place, read_source(place))

    @property
    def name(self) -> str:
        """What was given."""
        return str(self._place)

    def find(self, progress: Progress) -> Found:
        """Return the images, identified by reading every file once."""
        photos = self._listing.photos
        progress.stage("Reading photos", len(photos))
        images = []
        skipped = [SkippedImage(name=self._name(one.path), reason=one.reason) for one in self._listing.skipped]
        with ThreadPoolExecutor(processors()) as pool:
            for photo, sha256 in zip(photos, pool.map(_hash, photos), strict=True):
                progress.advance()
                if sha256 is None:
                    skipped.append(SkippedImage(name=self._name(photo.path), reason="the file cannot be read"))
                    continue
                self._paths.setdefault(sha256, photo.path)
                images.append(Image(name=self._name(photo.path), product=photo.product, sha256=sha256))
        found = each_once(images)
        return Found(images=found.images, skipped=(*skipped, *found.skipped))

    def read(self, image: Image) -> bytes:
        """Return the bytes of a file that is still what it was."""
        data = read_picture(self.path(image))
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise PictureError("the file changed while it was being read")
        return data

    def path(self, image: Image) -> Path:
        """Return the file of an image that `find` returned."""
        return self._paths[image.sha256]

    def _name(self, path: Path) -> str:
        return display_name(path, self._place)


def _hash(photo: Photo) -> str | None:
    try:
        with photo.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
