"""Turn photos into embeddings: read, check, draw the views, run the backbone; only what the cache does not hold."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.onnx_model import write_embedder
from shelfsight.bundle.recogniser import open_session, processors
from shelfsight.catalog.picture import open_picture, read_picture
from shelfsight.errors import PictureError
from shelfsight.training.source import Photo, Skipped
from shelfsight.training.views import GENERATION, make_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import onnxruntime
    from numpy.typing import NDArray

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.training.cache import EmbeddingCache
    from shelfsight.training.progress import Progress

_BATCH = 64
"""Photos between two commits of the cache: about a second of work, all that a kill can lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A photo identified by the SHA-256 of its bytes."""

    photo: Photo
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """Images with their embeddings, (images, views, d) float16, and the photos that could not be used."""

    images: tuple[Image, ...]
    vectors: NDArray[np.float16]
    skipped: tuple[Skipped, ...]


def embedder_id(backbone: Backbone) -> str:
    """Return what embeddings are cached under, hexadecimal: it changes with the backbone and with the views."""
    return hashlib.sha256(f"{backbone.digest}/{GENERATION}".encode()).hexdigest()


def identify(photos: Sequence[Photo], progress: Progress) -> tuple[list[Image], list[Skipped]]:
    """Return the photos with the hash of their bytes, each content once, and those that are not used.

    The same bytes under two products teach nothing but a contradiction: they are used for neither.
    """
    progress.stage("Reading photos", len(photos))
    skipped: list[Skipped] = []
    by_hash: dict[str, list[Photo]] = {}
    with ThreadPoolExecutor(processors()) as pool:
        for photo, sha256 in zip(photos, pool.map(_hash, photos), strict=True):
            progress.advance()
            if sha256 is None:
                skipped.append(Skipped(path=photo.path, reason="the file cannot be read"))
            else:
                by_hash.setdefault(sha256, []).append(photo)
    images: list[Image] = []
    for sha256, same in by_hash.items():
        products = sorted({photo.product for photo in same})
        if len(products) > 1:
            reason = f"the same picture is given for {' and '.join(products)}"
            skipped += [Skipped(path=photo.path, reason=reason) for photo in same]
            continue
        images.append(Image(photo=same[0], sha256=sha256))
        skipped += [Skipped(path=photo.path, reason=f"the same as {same[0].path.name}") for photo in same[1:]]
    return sorted(images, key=lambda image: (image.photo.product, image.sha256)), skipped


def embed(
    images: Sequence[Image],
    views: Sequence[str],
    backbone: Backbone,
    cache: EmbeddingCache,
    progress: Progress,
) -> Embedded:
    """Return the embeddings of every image that is a usable picture, in the order of `images`."""
    progress.stage("Looking at photos", len(images))
    found: dict[str, NDArray[np.float16]] = {}
    missing: list[Image] = []
    for image in images:
        vectors = cache.get(image.sha256, views)
        if vectors is None:
            missing.append(image)
        else:
            found[image.sha256] = vectors
            progress.advance()
    skipped: list[Skipped] = []
    if missing:
        for batch in _embed_missing(missing, views, backbone, progress):
            fresh = {image.sha256: result for image, result in batch if not isinstance(result, str)}
            cache.put(fresh, views)
            found |= fresh
            skipped += [Skipped(path=i.photo.path, reason=r) for i, r in batch if isinstance(r, str)]
    used = tuple(image for image in images if image.sha256 in found)
    size = (len(views), backbone.embedding_size)
    vectors = np.stack([found.pop(i.sha256) for i in used]) if used else np.empty((0, *size), np.float16)
    return Embedded(images=used, vectors=vectors, skipped=tuple(skipped))


def _embed_missing(
    images: Sequence[Image], views: Sequence[str], backbone: Backbone, progress: Progress
) -> Iterator[list[tuple[Image, NDArray[np.float16] | str]]]:
    """Yield batches of (image, embeddings of its views, or the reason why there are none)."""
    work = _worker(views, backbone)
    pool = ThreadPoolExecutor(processors())
    try:
        for start in range(0, len(images), _BATCH):
            batch = []
            for result in pool.map(work, images[start : start + _BATCH]):
                batch.append(result)
                progress.advance()
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _worker(views: Sequence[str], backbone: Backbone) -> Callable[[Image], tuple[Image, NDArray[np.float16] | str]]:
    """Return a function that embeds one image, with a session of its own in each thread.

    One-thread sessions side by side beat one session with many threads, and give the same bits each time.
    """
    model, size, local = write_embedder(backbone), backbone.network.input_size, threading.local()

    def work(image: Image) -> tuple[Image, NDArray[np.float16] | str]:
        if not hasattr(local, "session"):
            local.session = open_session(model)
        session: onnxruntime.InferenceSession = local.session
        try:
            data = read_picture(image.photo.path)
            if hashlib.sha256(data).hexdigest() != image.sha256:
                return image, "the file changed while it was being read"
            picture = open_picture(data)
        except PictureError as exc:
            return image, str(exc)
        rows = []
        for view in views:
            pixels = np.asarray(make_view(picture, image.sha256, view, size), np.float32)
            rows.append(session.run(["embedding"], {"image": pixels[None]})[0][0])
        return image, np.stack(rows).astype(np.float16)

    return work


def _hash(photo: Photo) -> str | None:
    try:
        with photo.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
