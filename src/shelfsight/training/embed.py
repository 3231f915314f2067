"""Turn photos into embeddings: read, check, draw the views, run the backbone; only what the store does not hold."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from queue import LifoQueue
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shelfsight.bundle.onnx_model import write_embedder
from shelfsight.bundle.recogniser import open_session, processors
from shelfsight.catalog.picture import open_picture
from shelfsight.errors import PictureError, StorageError
from shelfsight.training.views import GENERATION, make_view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import onnxruntime
    from numpy.typing import NDArray

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.training.images import Image, Source
    from shelfsight.training.progress import Progress

    Halves = NDArray[np.float16]

CHUNK = 64
"""Photos that are embedded before they are stored: about a second of work, all that a kill can lose."""

_READ_AHEAD = 4  # photos whose bytes wait for a processor, so that a distant storage does not hold it up
_TRIES = 3


class Embeddings(Protocol):
    """Where the embeddings of one embedder are kept, by the SHA-256 of the picture and the names of the views."""

    @property
    def trouble(self) -> str | None:
        """What is wrong with what was kept, in one sentence; nothing worse than that it is made again."""

    def known(self, images: Collection[str], views: Sequence[str]) -> set[str]:
        """Return which pictures have all views here, as far as can be told without reading them."""

    def get(self, images: Collection[str], views: Sequence[str]) -> Iterator[tuple[str, Halves]]:
        """Yield each picture whose embeddings are all there and whole, in any order, with them, (views, d) float16.

        Others are not `known` from then on.
        """

    def put(self, images: Mapping[str, Halves], views: Sequence[str]) -> None:
        """Store the embeddings of some pictures, (views, d) each; all are stored when this returns."""


class Embedder:
    """A backbone at work: one-thread sessions side by side beat one session with many, and give the same bits."""

    def __init__(self, backbone: Backbone) -> None:
        """Take a backbone; what runs it is made when first needed."""
        self.backbone = backbone
        self._turns: LifoQueue[onnxruntime.InferenceSession | None] = LifoQueue()
        for _ in range(processors()):
            self._turns.put(None)

    @property
    def id(self) -> str:
        """What embeddings are kept under, hexadecimal: it changes with the backbone and with the views."""
        return hashlib.sha256(f"{self.backbone.digest}/{GENERATION}".encode()).hexdigest()

    def embed(self, data: bytes, sha256: str, views: Sequence[str]) -> Halves:
        """Return the embeddings of a picture's views, (views, d) float16.

        Raises:
            PictureError: it is no usable picture.
        """
        session = self._turns.get()
        try:
            picture = open_picture(data)
            session = session or open_session(self._model)
            rows = []
            for view in views:
                pixels = np.asarray(make_view(picture, sha256, view, self.backbone.network.input_size), np.float32)
                rows.append(session.run(["embedding"], {"image": pixels[None]})[0][0])
            return np.stack(rows).astype(np.float16)
        finally:
            self._turns.put(session)

    @cached_property
    def _model(self) -> bytes:
        return write_embedder(self.backbone)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tools:
    """What embedding takes: where images come from, what turns them into embeddings, and where those are kept."""

    source: Source
    embedder: Embedder
    embeddings: Embeddings
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """Images with their embeddings, (images, views, d) float16; and why others have none, by their SHA-256."""

    images: tuple[Image, ...]
    vectors: Halves
    unusable: Mapping[str, str]


def missing(images: Sequence[Image], views: Sequence[str], embeddings: Embeddings) -> list[Image]:
    """Return the images whose embeddings are still to be made."""
    known = embeddings.known([image.sha256 for image in images], views)
    return [image for image in images if image.sha256 not in known]


def embed_chunk(images: Sequence[Image], views: Sequence[str], tools: Tools) -> dict[str, str]:
    """Embed at most `CHUNK` images and store what comes out; return why some cannot be used, by their SHA-256.

    Raises:
        StorageError: a picture cannot be read now, or the embeddings cannot be stored.
    """

    def look(image: Image) -> Halves | str:
        try:
            return tools.embedder.embed(tools.source.read(image), image.sha256, views)
        except PictureError as exc:
            return str(exc)

    fresh: dict[str, Halves] = {}
    unusable: dict[str, str] = {}
    pool = ThreadPoolExecutor(processors() + _READ_AHEAD)
    try:
        for image, result in zip(images, pool.map(look, images), strict=True):
            tools.progress.advance()
            if isinstance(result, str):
                unusable[image.sha256] = result
            else:
                fresh[image.sha256] = result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if fresh:
        tools.embeddings.put(fresh, views)
    return unusable


def embed(images: Sequence[Image], views: Sequence[str], tools: Tools) -> Embedded:
    """Return the embeddings of every image that is a usable picture, in the order of `images`.

    What is stored may turn out to be damaged when it is read, or be tidied away by another process: it is made anew.

    Raises:
        StorageError: pictures or embeddings cannot be read or stored.
    """
    unusable: dict[str, str] = {}
    for _ in range(_TRIES):
        used = [image for image in images if image.sha256 not in unusable]
        absent = missing(used, views, tools.embeddings)
        tools.progress.stage("Looking at photos", len(images))
        tools.progress.advance(len(images) - len(absent))
        for start in range(0, len(absent), CHUNK):
            unusable |= embed_chunk(absent[start : start + CHUNK], views, tools)
        used = [image for image in used if image.sha256 not in unusable]
        vectors = _load(used, views, tools)
        if vectors is not None:
            return Embedded(images=tuple(used), vectors=vectors, unusable=unusable)
    raise StorageError(
        f"embeddings of {tools.source.name} that were stored a moment ago cannot be read: look after the storage"
    )


def _load(images: Sequence[Image], views: Sequence[str], tools: Tools) -> Halves | None:
    """Return the stored embeddings, (images, views, d), or None when some are not there after all."""
    vectors = np.empty((len(images), len(views), tools.embedder.backbone.embedding_size), np.float16)
    rows = {image.sha256: row for row, image in enumerate(images)}
    for sha256, found in tools.embeddings.get(list(rows), views):
        if found.shape == vectors.shape[1:]:
            vectors[rows.pop(sha256)] = found
    return None if rows else vectors
