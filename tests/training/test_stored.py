"""Embeddings in the storage: damaged files cost work and nothing else; tidying up loses nothing, wherever killed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import StorageError
from shelfsight.storage import open_storage
from shelfsight.training.chunks import read_chunk
from shelfsight.training.compaction import compact
from shelfsight.training.layout import embedder_folder
from shelfsight.training.rules import STORED_CHUNK_BYTES, worth_compacting
from shelfsight.training.stored import StoredEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shelfsight.storage import Storage, StoredFile
    from shelfsight.training.chunks import Chunk

CHANNEL, EMBEDDER = "T_1", "ab" * 32
FOLDER = embedder_folder(CHANNEL, EMBEDDER)
VIEWS = ("whole", "flip")
MORE = (*VIEWS, "crop-1")
LATER = datetime.now(UTC) + timedelta(days=1)


def image(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def vectors(number: int, views: int = 2, size: int = 8) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(views, size)).astype(np.float16)


def put(storage: Storage, *numbers: int, views: tuple[str, ...] = VIEWS) -> None:
    store = StoredEmbeddings(storage, CHANNEL, EMBEDDER)
    store.put({image(number): vectors(number, len(views)) for number in numbers}, views)


def found(storage: Storage, *numbers: int, views: tuple[str, ...] = VIEWS) -> list[int]:
    """Return which of the pictures come back, each with just what was stored."""
    store = StoredEmbeddings(storage, CHANNEL, EMBEDDER)
    got = dict(store.get([image(number) for number in numbers], views))
    whole = [number for number in numbers if image(number) in got]
    assert all(np.array_equal(got[image(number)], vectors(number, len(views))) for number in whole)
    assert set(got) <= store.known([image(number) for number in numbers], views)
    return whole


def files(storage: Storage) -> list[str]:
    return sorted(file.path for file in storage.list("embeddings"))


@pytest.fixture
def storage() -> Storage:
    return open_storage("memory://")


def test_two_workers_that_store_the_same_store_one_file(storage: Storage) -> None:
    put(storage, 1, 2)
    put(storage, 2, 1)
    assert len(files(storage)) == 1


def test_many_embeddings_are_split_into_files_of_a_few_megabytes(storage: Storage) -> None:
    store = StoredEmbeddings(storage, CHANNEL, EMBEDDER)
    store.put({image(n): vectors(n, 18, 1280) for n in range(200)}, tuple(map(str, range(18))))
    sizes = [file.size_bytes for file in storage.list("embeddings")]
    assert len(sizes) == 3
    assert max(sizes) < STORED_CHUNK_BYTES + 50_000
    assert len(store.known([image(n) for n in range(200)], ("0", "17"))) == 200


def test_a_header_longer_than_the_first_look_is_read_whole(storage: Storage) -> None:
    put(storage, *range(1200))
    assert found(storage, *range(1200)) == list(range(1200))


def damage(data: bytes, how: str) -> bytes:
    half = len(data) // 2
    return {
        "empty": b"",
        "cut in the header": data[:40],
        "cut in the rows": data[:-5],
        "longer": data + b"x",
        "magic": b"X" + data[1:],
        "a bit in the header": data[:60] + bytes([data[60] ^ 1]) + data[61:],
        "a bit in the rows": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "length": data[:8] + b"\xff\xff\xff\xff" + data[12:],
        "noise": bytes(np.random.default_rng(half).integers(0, 256, len(data), np.uint8)),
        "no object": data[:12] + b"[]".ljust(len(data) - 12),
    }[how]


HOWS = (
    *("empty", "cut in the header", "cut in the rows", "longer", "magic", "a bit in the header"),
    *("a bit in the rows", "length", "noise", "no object"),
)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_file_is_not_believed_and_the_others_are(storage: Storage, how: str) -> None:
    put(storage, 1, 2)
    (path,) = files(storage)
    put(storage, 3)
    storage.put(path, damage(storage.get(path), how))
    store = StoredEmbeddings(storage, CHANNEL, EMBEDDER)
    every = [image(number) for number in (1, 2, 3)]
    assert [sha256 for sha256, _ in store.get(every, VIEWS)] == [image(3)]
    assert store.known(every, VIEWS) == {image(3)}
    assert store.trouble == (
        f"of the embeddings stored in {FOLDER} 1 file is damaged or not ours: "
        "the photos in question were looked at again"
    )
    store.put({image(1): vectors(1)}, VIEWS)
    assert dict(store.get(every, VIEWS)).keys() == {image(1), image(3)}
    assert found(storage, 1, 3) == [1, 3]


def test_files_of_others_are_not_believed(storage: Storage) -> None:
    put(storage, 1)
    (path,) = files(storage)
    other = embedder_folder(CHANNEL, "cd" * 32)
    name = path.rpartition("/")[2]
    storage.put(f"{other}/{name}", storage.get(path))
    storage.put(f"{other}/notes.txt", b"what is this?")
    store = StoredEmbeddings(storage, CHANNEL, "cd" * 32)
    assert store.known([image(1)], VIEWS) == set()
    assert "2 files are damaged or not ours" in (store.trouble or "")


class Watched:
    """A storage that counts what changes it, and may be killed before one of those, or tells of what is read."""

    def __init__(self, storage: Storage, kill_at: int = -1) -> None:
        self.storage, self.left, self.changes = storage, kill_at, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.storage, name)

    def put(self, path: str, data: bytes, *, create: bool = False) -> None:
        self._change()
        self.storage.put(path, data, create=create)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._change()
            self.storage.delete([path])

    def _change(self) -> None:
        if self.left == 0:
            raise StorageError("killed")
        self.left -= 1
        self.changes += 1


def scattered(storage: Storage) -> None:
    """Store fifty pictures in ten files, some twice, some with more views, one file damaged."""
    for start in range(0, 40, 5):
        put(storage, *range(start, start + 5))
    put(storage, 0, 1, 2, views=MORE)
    put(storage, 3, 7, 40)
    storage.put(f"{FOLDER}/{'0' * 64}.chunk1", b"damaged")


def test_tidying_up_killed_anywhere_loses_nothing_and_ends(tmp_path: Path) -> None:
    keep = [0, 1, 3, 7, 12, 30, 40]
    kill_at = 0
    while True:
        storage = open_storage(tmp_path / str(kill_at))
        scattered(storage)
        watched = Watched(storage, kill_at)
        try:
            compact(watched, CHANNEL, {image(n) for n in keep}, before=LATER)  # type: ignore[arg-type]
            whole = True
        except StorageError:
            whole = False
        assert found(storage, *keep) == keep
        assert found(storage, 0, 1, views=MORE) == [0, 1]
        compact(storage, CHANNEL, {image(n) for n in keep}, before=LATER)
        assert found(storage, *keep) == keep
        assert found(storage, 0, 1, views=MORE) == [0, 1]
        if whole:
            assert found(storage, *range(41)) == keep
            assert len(files(storage)) == 2  # one for each set of views
            break
        assert len(files(storage)) <= 4
        kill_at += 1
    assert kill_at > 10


def test_it_is_left_as_it_is_while_most_of_it_is_of_use(storage: Storage) -> None:
    for start in range(0, 20, 5):
        put(storage, *range(start, start + 5))
    before = files(storage)
    assert compact(storage, CHANNEL, {image(n) for n in range(11)}, before=LATER) == 0
    assert files(storage) == before
    assert compact(storage, CHANNEL, {image(n) for n in range(9)}, before=LATER) == 4
    assert found(storage, *range(20)) == list(range(9))


def test_many_small_files_become_one(storage: Storage) -> None:
    for number in range(40):
        put(storage, number)
    assert compact(storage, CHANNEL, {image(n) for n in range(40)}, before=LATER) == 40
    assert len(files(storage)) == 1
    assert compact(storage, CHANNEL, {image(n) for n in range(40)}, before=LATER) == 0
    assert found(storage, *range(40)) == list(range(40))


def test_what_a_running_training_has_just_stored_is_left_alone(storage: Storage) -> None:
    put(storage, 1, 2)
    before = files(storage)
    assert compact(storage, CHANNEL, set(), before=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert files(storage) == before


def test_all_of_a_channel_without_images_goes(storage: Storage) -> None:
    put(storage, 1, 2)
    StoredEmbeddings(storage, CHANNEL, "cd" * 32).put({image(1): vectors(1)}, VIEWS)
    StoredEmbeddings(storage, "T_2", EMBEDDER).put({image(1): vectors(1)}, VIEWS)
    assert compact(storage, CHANNEL, set(), before=LATER) == 2
    assert [path.split("/")[1] for path in files(storage)] == ["T_2"]
    assert compact(storage, "nobody", set(), before=LATER) == 0


def test_a_training_that_reads_meanwhile_finds_the_new_files(storage: Storage) -> None:
    scattered(storage)
    store = StoredEmbeddings(storage, CHANNEL, EMBEDDER)
    wanted = [image(n) for n in (0, 3, 12, 30)]
    assert store.known(wanted, VIEWS) == set(wanted)
    compact(storage, CHANNEL, set(wanted), before=LATER)
    assert {sha256 for sha256, _ in store.get(wanted, VIEWS)} == set(wanted)


def test_two_that_tidy_up_at_once_lose_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = {image(n) for n in (0, 1, 3, 7, 12, 30, 40)}
    scattered(storage)
    reads = 0

    def overtaken(storage: Storage, path: str) -> Chunk | None:
        nonlocal reads
        reads += 1
        if reads == 4:
            compact(storage, CHANNEL, keep, before=LATER)
        return read_chunk(storage, path)

    monkeypatch.setattr("shelfsight.training.compaction.read_chunk", overtaken)
    compact(storage, CHANNEL, keep, before=LATER)
    assert found(storage, 0, 1, 3, 7, 12, 30, 40) == [0, 1, 3, 7, 12, 30, 40]


class Vanishing(Watched):
    """A storage in which listed files are gone when they are read."""

    def list(self, folder: str) -> Iterator[StoredFile]:
        listed = list(self.storage.list(folder))
        yield from listed

    def get(self, path: str) -> bytes:
        self.storage.delete([path])
        return self.storage.get(path)


def test_files_that_vanish_for_ever_end_the_search(storage: Storage) -> None:
    put(storage, 1)
    put(storage, 2)
    store = StoredEmbeddings(Vanishing(storage), CHANNEL, EMBEDDER)  # type: ignore[arg-type]
    assert list(store.get([image(1), image(2)], VIEWS)) == []
    assert store.trouble is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_tidying_up_is_not_called_for_twice(live: int, gone: int) -> None:
    needed = -(-live // STORED_CHUNK_BYTES)
    assert not worth_compacting(live_bytes=live, total_bytes=live, files=needed + 2)
    assert worth_compacting(live_bytes=live, total_bytes=live + gone, files=1) == (gone > live)
