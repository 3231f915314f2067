"""The embedding cache gives back what was stored, and never gets in the way."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from shelfsight.training.cache import EmbeddingCache

VIEWS = ("whole", "flip")
EMBEDDER = "ab" * 32


def image(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def vectors(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 8)).astype(np.float16)


def stored(cache: EmbeddingCache, name: str, views: tuple[str, ...] = VIEWS) -> np.ndarray | None:
    return dict(cache.get([image(name)], views)).get(image(name))


def filled(folder: Path) -> Path:
    with EmbeddingCache(folder, EMBEDDER) as cache:
        cache.put({image("a"): vectors(1)}, VIEWS)
    return folder / "embeddings-1.sqlite"


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    filled(tmp_path)
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        found = stored(cache, "a")
        assert found is not None
        assert np.array_equal(found, vectors(1))
        assert stored(cache, "b") is None
        assert cache.trouble is None


def test_another_embedder_or_a_view_more_is_not_found(tmp_path: Path) -> None:
    filled(tmp_path)
    with EmbeddingCache(tmp_path, "cd" * 32) as cache:
        assert stored(cache, "a") is None
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        assert stored(cache, "a", (*VIEWS, "crop-1")) is None


def test_an_embedding_that_was_changed_on_disk_is_not_believed(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE embedding SET vector = zeroblob(16) WHERE view = 'flip'")
    database.close()
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        assert stored(cache, "a") is None


@pytest.mark.parametrize("where", [0, 5000])
def test_a_damaged_file_is_started_anew_and_said(tmp_path: Path, where: int) -> None:
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    data[where : where + 3000] = os.urandom(3000)
    path.write_bytes(data)
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        assert stored(cache, "a") is None
        cache.put({image("b"): vectors(2)}, VIEWS)
        assert stored(cache, "b") is not None
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        assert stored(cache, "b") is not None
        assert cache.trouble is None


def test_a_place_that_cannot_be_written_is_said_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with EmbeddingCache(tmp_path / "file", EMBEDDER) as cache:
        assert cache.trouble is not None
        assert "training goes on without it" in cache.trouble
        cache.put({image("a"): vectors(1)}, VIEWS)
        found = stored(cache, "a")  # for this training, in memory
        assert found is not None
        assert np.array_equal(found, vectors(1))
        assert cache.known([image("a")], VIEWS) == {image("a")}


def store_some(folder: Path, first: int) -> None:
    with EmbeddingCache(folder, EMBEDDER) as cache:
        for number in range(first, first + 20):
            cache.put({image(str(number)): vectors(number)}, VIEWS)
        assert cache.trouble is None


def test_two_trainings_at_once_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=store_some, args=(tmp_path, 20 * index)) for index in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    with EmbeddingCache(tmp_path, EMBEDDER) as cache:
        assert all(stored(cache, str(number)) is not None for number in range(40))
