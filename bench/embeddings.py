"""Embeddings of the Grocery Store photos for benchmarks, from the ordinary cache so that they are made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.backbone import load_backbone
from shelfsight.cli.output import progress_bars
from shelfsight.settings import cache_dir
from shelfsight.training.cache import EmbeddingCache
from shelfsight.training.embed import Embedder, Tools, embed
from shelfsight.training.files import FileSource
from shelfsight.training.source import Listing, Photo
from shelfsight.training.views import view_names

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.common import Grocery


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """Photos as (photos, views, size) float16, the number of each one's product, the products' names, the files."""

    vectors: NDArray[np.float16]
    labels: NDArray[np.int64]
    products: tuple[str, ...]
    paths: tuple[Path, ...]


def grocery_embeddings(data: Grocery, *parts: str, crops: int = 4, cache: Path | None = None) -> Embeddings:
    """Return the embeddings of the parts `train` and `val` with so many random crops a photo."""
    return _embeddings(data.photos(*parts), data.products(), crops, cache)


def studio_embeddings(data: Grocery, crops: int = 16) -> Embeddings:
    """Return the embeddings of the one studio picture that each product has."""
    return _embeddings(data.studio(), data.products(), crops, None)


def _embeddings(
    pictures: list[tuple[Path, str]], products: tuple[str, ...], crops: int, cache: Path | None
) -> Embeddings:
    embedder = Embedder(load_backbone())
    photos = tuple(Photo(path=path, product=product) for path, product in pictures)
    source = FileSource(photos[0].path.parent, Listing(photos=photos, skipped=()))
    with progress_bars() as bars, EmbeddingCache(cache or cache_dir(), embedder.id) as embeddings:
        tools = Tools(source=source, embedder=embedder, embeddings=embeddings, progress=bars)
        found = embed(source.find(bars).images, view_names(crops), tools)
    number = {product: index for index, product in enumerate(products)}
    labels = np.array([number[image.product] for image in found.images])
    paths = tuple(source.path(image) for image in found.images)
    return Embeddings(vectors=found.vectors, labels=labels, products=products, paths=paths)
