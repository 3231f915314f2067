"""What every store of embeddings promises: one suite for the local file and for each kind of storage."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shelfsight.storage import open_storage
from shelfsight.training.cache import EmbeddingCache
from shelfsight.training.stored import StoredEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.training.embed import Embeddings

VIEWS = ("whole", "flip", "crop-1")
EMBEDDER = "ab" * 32


@pytest.fixture(params=["file", "folder", "memory", "s3"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Embeddings]:
    """What opens the same store again, as another worker does, for an embedder."""
    if request.param == "file":
        return lambda embedder: EmbeddingCache(tmp_path, embedder)
    if request.param == "s3":
        server = request.getfixturevalue("s3")
        storage = open_storage(f"{server.url}/{uuid.uuid4().hex}", options=server.options)
    else:
        storage = open_storage({"folder": str(tmp_path), "memory": "memory://"}[request.param])
    return lambda embedder: StoredEmbeddings(storage, "T_1", embedder)


def image(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def vectors(number: int, views: int = 3) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(views, 8)).astype(np.float16)


def some(*numbers: int) -> dict[str, np.ndarray]:
    return {image(number): vectors(number) for number in numbers}


def got(store: Embeddings, images: dict[str, np.ndarray], views: tuple[str, ...] = VIEWS) -> dict[str, list[float]]:
    return {sha256: found.tolist() for sha256, found in store.get(list(images), views)}


def listed(images: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {sha256: found.tolist() for sha256, found in images.items()}


def test_what_was_stored_comes_back_to_everybody(reopened: Callable[[str], Embeddings]) -> None:
    one = reopened(EMBEDDER)
    one.put(some(1, 2), VIEWS)
    one.put(some(3), VIEWS)
    for store in (one, reopened(EMBEDDER)):
        assert store.known([image(1), image(3), image(9)], VIEWS) == {image(1), image(3)}
        assert got(store, some(1, 3, 9)) == listed(some(1, 3))
        assert store.trouble is None


def test_what_was_stored_after_a_look_is_known_as_well(reopened: Callable[[str], Embeddings]) -> None:
    store = reopened(EMBEDDER)
    assert store.known([image(1)], VIEWS) == set()
    store.put(some(1), VIEWS)
    assert store.known([image(1)], VIEWS) == {image(1)}
    assert got(store, some(1)) == listed(some(1))


def test_fewer_views_are_found_in_any_order_and_more_are_not(reopened: Callable[[str], Embeddings]) -> None:
    store = reopened(EMBEDDER)
    store.put(some(1), VIEWS)
    assert got(store, some(1), ("crop-1", "whole")) == {image(1): vectors(1)[[2, 0]].tolist()}
    more = (*VIEWS, "crop-2")
    assert store.known([image(1)], more) == set()
    assert got(store, some(1), more) == {}
    store.put({image(1): vectors(7, 4)}, more)
    assert got(reopened(EMBEDDER), some(1), more) == {image(1): vectors(7, 4).tolist()}


def test_another_embedder_finds_nothing(reopened: Callable[[str], Embeddings]) -> None:
    reopened(EMBEDDER).put(some(1), VIEWS)
    other = reopened("cd" * 32)
    assert other.known([image(1)], VIEWS) == set()
    assert got(other, some(1)) == {}


def test_nothing_at_all_is_fine(reopened: Callable[[str], Embeddings]) -> None:
    store = reopened(EMBEDDER)
    store.put({}, VIEWS)
    assert store.known([], VIEWS) == set()
    assert got(store, {}) == {}


def test_a_thousand_pictures_come_back_each_once(reopened: Callable[[str], Embeddings]) -> None:
    store = reopened(EMBEDDER)
    every = some(*range(1000))
    for start in range(0, 1000, 64):
        store.put(dict(list(every.items())[start : start + 64]), VIEWS)
    found = [sha256 for sha256, _ in reopened(EMBEDDER).get(list(every), VIEWS)]
    assert sorted(found) == sorted(every)
