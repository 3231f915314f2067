"""A channel's pictures in a storage, as the catalogue leaves them there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shelfsight.catalog.images import image_path
from shelfsight.training.catalogue import CatalogueSource
from tests.tiny import paint_shop

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.storage import Storage

CHANNEL = "T_1"


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """The images of a channel's products, and which of them were read."""

    storage: Storage
    pairs: list[tuple[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def add(self, product: str, data: bytes) -> str:
        """Add a picture to a product and return its hash."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.storage.put(image_path(CHANNEL, sha256), data)
        self.pairs.append((product, sha256))
        return sha256

    def add_shop(self, folder: Path, products: int = 3, photos: int = 5) -> None:
        """Add a painted shop; `folder` holds it afterwards, too."""
        for path in sorted(paint_shop(folder, products, photos).rglob("*.jpg")):
            self.add(path.parent.name, path.read_bytes())

    def source(self) -> CatalogueSource:
        """Return the channel as a source."""
        return CatalogueSource(CHANNEL, self.pairs, self._bytes)

    def _bytes(self, sha256: str) -> bytes:
        self.read.append(sha256)
        return self.storage.get(image_path(CHANNEL, sha256))
