"""The images of a channel's active products as a training's source."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shelfsight.errors import NotFoundError, PictureError
from shelfsight.training.images import Found, Image, each_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shelfsight.training.progress import Progress


class CatalogueSource:
    """A channel's images, by the hashes that the catalogue has; one is read only when its bytes are needed."""

    def __init__(self, channel: str, pairs: Iterable[tuple[str, str]], read: Callable[[str], bytes]) -> None:
        """Take the (product id, SHA-256) of the channel's images, and what reads one by its hash.

        Args:
            read: raises NotFoundError where there is no file; called from several threads.
        """
        self._channel = channel
        self._pairs = sorted(set(pairs))
        self._read = read

    @property
    def name(self) -> str:
        """The channel."""
        return f"channel {self._channel}"

    def find(self, progress: Progress) -> Found:  # noqa: ARG002 (nothing is read: the hashes are known)
        """Return the images; one is named `{product}/{SHA-256}`."""
        return each_once(
            Image(name=f"{product}/{sha256}", product=product, sha256=sha256) for product, sha256 in self._pairs
        )

    def read(self, image: Image) -> bytes:
        """Return the bytes of an image, checked against its hash."""
        try:
            data = self._read(image.sha256)
        except NotFoundError as exc:
            raise PictureError("its file is missing in the storage: add the picture again") from exc
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise PictureError("its file is damaged in the storage: add the picture again")
        return data
