"""What a training learns from: images of products, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shelfsight.training.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A photo of a product, identified by the SHA-256 of its bytes; `name` is what the report calls it."""

    name: str
    product: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedImage:
    """A photo, or another file among them, that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is to learn from, each content once, in the order of products and hashes; and what is not used."""

    images: tuple[Image, ...]
    skipped: tuple[SkippedImage, ...]


class Source(Protocol):
    """Where images come from: a folder, a CSV file, a channel's catalogue."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def find(self, progress: Progress) -> Found:
        """Return its images; none of them is decoded yet."""

    def read(self, image: Image) -> bytes:
        """Return the bytes of an image that `find` returned, which have its hash; called from several threads.

        Raises:
            PictureError: they are not there, or not the same any more.
        """


def each_once(candidates: Iterable[Image]) -> Found:
    """Return the images with each content once.

    The same bytes under two products teach nothing but a contradiction: they are used for neither.
    """
    by_hash: dict[str, list[Image]] = {}
    for image in candidates:
        by_hash.setdefault(image.sha256, []).append(image)
    images: list[Image] = []
    skipped: list[SkippedImage] = []
    for same in by_hash.values():
        products = sorted({image.product for image in same})
        if len(products) > 1:
            reason = f"the same picture is given for {' and '.join(products)}"
            skipped += [SkippedImage(name=image.name, reason=reason) for image in same]
            continue
        images.append(same[0])
        reason = f"the same as {same[0].name.rpartition('/')[2]}"
        skipped += [SkippedImage(name=image.name, reason=reason) for image in same[1:]]
    images.sort(key=lambda image: (image.product, image.sha256))
    return Found(images=tuple(images), skipped=tuple(skipped))
