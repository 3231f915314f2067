"""What every storage promises, on a local folder, in memory, and on a real S3 server."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import S3Store

from shelfsight.errors import ConflictError, NotFoundError, StorageError, UsageError
from shelfsight.storage import Storage, StoredFile, check_path, open_storage
from shelfsight.storage.local import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import S3Server

FORBIDDEN = (
    *("", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/"),
    *("a\\b", "..\\x", "a\0b", "a\nb", "a\x7f", "a\x85b", "\ud800", "é" * 128, "/".join(["abc"] * 257)),
    *(".shelfsight-partial/x", "a/.shelfsight-pointer-b"),
)
ODD_NAMES = (
    *("a b", "a%20b", "a%2Fb", "x*?~", "p#1", 'q"<>|&+', "ä", "🙂", "é" * 127),
    *("..a", "...", " lead ", "-", "a@b=c,d;e:f"),
)
RANGES = ((0, 10), (3, 7), (3, None), (5, 5), (9, 99), (10, None), (50, 60), (0, 0))


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "storage")
    if request.param == "memory":
        return open_storage("memory://")
    running: S3Server = request.getfixturevalue("s3")
    return open_storage(f"{running.url}/{uuid.uuid4().hex}/deep", options=running.options)


def paths(storage: Storage, folder: str = "") -> list[str]:
    return sorted(file.path for file in storage.list(folder))


async def joined(storage: Storage, start: int, end: int | None, chunk_size: int) -> list[bytes]:
    return [chunk async for chunk in storage.stream("a/b", start=start, end=end, chunk_size=chunk_size)]


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff" * 3_000_000])
def test_what_is_put_is_what_is_read(storage: Storage, data: bytes) -> None:
    storage.put("a/b", data)
    assert storage.get("a/b") == data
    assert asyncio.run(storage.read("a/b")) == data
    assert storage.head("a/b").size_bytes == len(data)


def test_a_put_replaces_the_file(storage: Storage) -> None:
    storage.put("a/b", b"older and longer")
    storage.put("a/b", b"newer")
    assert storage.get("a/b") == b"newer"
    assert paths(storage) == ["a/b"]


def test_a_file_knows_its_path_size_and_time_in_utc(storage: Storage) -> None:
    storage.put("a/b", b"123")
    found = storage.head("a/b")
    assert found == StoredFile(path="a/b", size_bytes=3, modified_at=found.modified_at)
    assert abs(datetime.now(UTC) - found.modified_at) < timedelta(minutes=1)
    assert found.modified_at.utcoffset() == timedelta(0)
    assert [file.size_bytes for file in storage.list("a")] == [3]


@pytest.mark.parametrize("size_bytes", [0, 7, 11 * 1024 * 1024])
def test_a_local_file_is_stored_whole(storage: Storage, tmp_path: Path, size_bytes: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size_bytes))
    storage.put_file("a/b", source)
    assert storage.get("a/b") == source.read_bytes()


def test_a_local_file_that_is_not_there_is_not_stored(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no such file"):
        storage.put_file("a/b", tmp_path / "missing")
    with pytest.raises(StorageError, match="cannot store"):
        storage.put_file("a/b", tmp_path)
    assert not storage.exists("a/b")


def test_create_refuses_what_is_there_and_leaves_it(storage: Storage) -> None:
    storage.put("a/b", b"first", create=True)
    with pytest.raises(ConflictError, match="a/b"):
        storage.put("a/b", b"second", create=True)
    assert storage.get("a/b") == b"first"


def test_one_of_eight_threads_creates_the_file(storage: Storage) -> None:
    for number in range(2):  # SeaweedFS lets some of the losers wait a second
        path, barrier = f"lease/{number}", threading.Barrier(8)

        def create(who: int, path: str = path, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait()
            try:
                storage.put(path, str(who).encode(), create=True)
            except ConflictError:
                return None
            return who

        with ThreadPoolExecutor(8) as pool:
            winners = [who for who in pool.map(create, range(8)) if who is not None]
        assert [str(who).encode() for who in winners] == [storage.get(path)]


def test_a_missing_file_is_not_found(storage: Storage) -> None:
    storage.put("a/b", b"1")
    for path in ("a/c", "a", "x/y"):
        assert not storage.exists(path)
        for read in (storage.get, storage.head, lambda path: asyncio.run(storage.read(path, start=1))):
            with pytest.raises(NotFoundError, match=path):
                read(path)
    assert storage.exists("a/b")


def test_listing_is_recursive_and_of_one_folder(storage: Storage) -> None:
    for path in ("a/1", "a/b/2", "a/b/c/3", "ab/4", "5"):
        storage.put(path, b"")
    assert paths(storage, "a") == ["a/1", "a/b/2", "a/b/c/3"]
    assert paths(storage) == ["5", "a/1", "a/b/2", "a/b/c/3", "ab/4"]
    assert paths(storage, "a/1") == paths(storage, "missing/folder") == []
    assert storage.folders("") == ["a", "ab"]
    assert storage.folders("a") == ["b"]
    assert storage.folders("missing") == storage.folders("5") == []


def test_more_files_than_a_page_are_listed_and_deleted(storage: Storage) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: storage.put(f"many/{number}", b""), range(1100)))
    assert len(paths(storage, "many")) == 1100
    storage.delete_folder("many")
    assert paths(storage) == []


def test_deleting_takes_files_and_what_is_missing_is_fine(storage: Storage) -> None:
    for path in ("a/1", "a/2", "a/3"):
        storage.put(path, b"")
    storage.delete(["a/1", "a/missing", "x/y", "a/2", "a"])
    assert paths(storage) == ["a/3"]
    storage.delete([])
    storage.delete(path for path in ["a/3"])
    assert paths(storage) == []


def test_deleting_a_folder_takes_it_alone(storage: Storage) -> None:
    for path in ("a/b/1", "a/b/c/2", "a/bc", "d"):
        storage.put(path, b"")
    storage.point("a/b/latest", "c")
    storage.delete_folder("a/b")
    storage.delete_folder("missing")
    assert paths(storage) == ["a/bc", "d"]
    assert storage.pointer("a/b/latest") is None


def test_a_folder_moves_with_all_in_it(storage: Storage) -> None:
    storage.put("m/temp/1", b"1")
    storage.put("m/temp/d/2", b"2")
    storage.point("m/temp/p", "d")
    storage.move_folder("m/temp", "m/v1")
    assert paths(storage) == ["m/v1/1", "m/v1/d/2"]
    assert storage.get("m/v1/d/2") == b"2"
    assert (storage.pointer("m/v1/p"), storage.pointer("m/temp/p")) == ("d", None)


def test_a_folder_does_not_move_onto_another(storage: Storage) -> None:
    storage.put("temp/1", b"new")
    storage.put("v1/1", b"old")
    with pytest.raises(ConflictError, match="v1"):
        storage.move_folder("temp", "v1")
    assert (storage.get("temp/1"), storage.get("v1/1")) == (b"new", b"old")
    with pytest.raises(NotFoundError, match="missing"):
        storage.move_folder("missing", "v2")
    for target in ("temp", "temp/inner"):
        with pytest.raises(UsageError, match="inside the other"):
            storage.move_folder("temp", target)


def test_a_pointer_names_its_sibling_and_shows_nowhere(storage: Storage) -> None:
    storage.put("m/v1/f", b"1")
    assert storage.pointer("m/latest") is None
    for name in ("v1", "v1.4.2", "v1"):
        storage.point("m/latest", name)
        assert storage.pointer("m/latest") == name
    assert paths(storage) == ["m/v1/f"]
    assert storage.folders("m") == ["v1"]
    assert not storage.exists("m/latest")
    with pytest.raises(NotFoundError):
        storage.get("m/latest")
    with pytest.raises(NotFoundError):
        asyncio.run(storage.read("m/latest/f"))
    storage.delete(["m/latest"])
    assert storage.pointer("m/latest") is None
    assert paths(storage) == ["m/v1/f"]


def test_a_pointer_takes_no_place_of_a_file_or_folder(storage: Storage) -> None:
    storage.put("m/file", b"1")
    storage.put("m/folder/1", b"1")
    for path in ("m/file", "m/folder"):
        with pytest.raises(ConflictError, match=path):
            storage.point(path, "v1")
        assert storage.pointer(path) is None
    assert paths(storage) == ["m/file", "m/folder/1"]


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", "a\\b", "a\0"])
def test_a_pointer_holds_a_plain_name(storage: Storage, name: str) -> None:
    with pytest.raises(UsageError):
        storage.point("m/latest", name)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (3, 7), (3, None), (5, 5), (9, 99), (10, None), (50, 60), (0, 0)]
)
@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_a_range_is_a_slice_of_the_file(storage: Storage, start: int, end: int | None, chunk_size: int) -> None:
    storage.put("a/b", b"0123456789")
    chunks = asyncio.run(joined(storage, start, end, chunk_size))
    assert b"".join(chunks) == b"0123456789"[start:end] == asyncio.run(storage.read("a/b", start=start, end=end))
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
def test_a_backward_range_is_refused(storage: Storage, start: int, end: int) -> None:
    with pytest.raises(UsageError, match="no range"):
        asyncio.run(storage.read("a/b", start=start, end=end))
    with pytest.raises(UsageError, match="no range"):
        asyncio.run(joined(storage, start, end, 1))


def test_a_stream_never_mixes_two_versions(storage: Storage) -> None:
    async def read() -> bytes:
        stream = storage.stream("a/b", chunk_size=4)
        first = await anext(stream)
        storage.put("a/b", b"new-" * 5)
        return first + b"".join([chunk async for chunk in stream])

    storage.put("a/b", b"old-" * 5)
    if isinstance(storage, FolderStorage):
        assert asyncio.run(read()) == b"old-" * 5
    else:
        with pytest.raises(StorageError, match="another was put in its place meanwhile"):
            asyncio.run(read())


def test_odd_names_stay_as_they_are(storage: Storage) -> None:
    for name in ODD_NAMES:
        storage.put(f"odd/{name}", name.encode())
    assert paths(storage) == sorted(f"odd/{name}" for name in ODD_NAMES)
    assert [storage.get(f"odd/{name}").decode() for name in ODD_NAMES] == list(ODD_NAMES)
    storage.delete(f"odd/{name}" for name in ODD_NAMES)
    assert paths(storage) == []


@pytest.mark.parametrize("path", FORBIDDEN)
def test_no_method_takes_a_path_that_could_leave(storage: Storage, tmp_path: Path, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: check_path(path),
        lambda: storage.put(path, b""),
        lambda: storage.put_file(path, Path(__file__)),
        lambda: storage.get(path),
        lambda: storage.head(path),
        lambda: storage.exists(path),
        lambda: storage.delete([path]),
        lambda: storage.delete_folder(path),
        lambda: storage.move_folder(path, "x"),
        lambda: storage.move_folder("x", path),
        lambda: storage.point(path, "x"),
        lambda: storage.pointer(path),
        lambda: asyncio.run(storage.read(path)),
    ]
    if path:  # which names the top
        calls += [lambda: storage.folders(path), lambda: list(storage.list(path))]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert paths(storage) == []


def writes(storage: Storage) -> dict[str, Callable[[], object]]:
    return {
        "put": lambda: storage.put("m/v1/f", b"2"),
        "create": lambda: storage.put("m/v1/g", b"2", create=True),
        "put_file": lambda: storage.put_file("m/v1/f", Path(__file__)),
        "delete": lambda: storage.delete(["m/v1/f"]),
        "delete_folder": lambda: storage.delete_folder("m/v1"),
        "move_folder": lambda: storage.move_folder("m/v1", "m/v2"),
        "point": lambda: storage.point("m/latest", "v2"),
    }


def test_s3_that_refuses_writes_says_so_and_stays_as_it_is(s3: S3Server) -> None:
    url = f"{s3.url}/{uuid.uuid4().hex}"
    owner, reader = (open_storage(url, options=options) for options in (s3.options, s3.reader_options))
    owner.put("m/v1/f", b"1")
    owner.point("m/latest", "v1")
    for write in writes(reader).values():
        with pytest.raises(StorageError, match="not allowed; check the credentials") as caught:
            write()
        assert "\n" not in str(caught.value)
        assert url in str(caught.value)
    assert (paths(reader), reader.get("m/v1/f"), reader.pointer("m/latest")) == (["m/v1/f"], b"1", "v1")


def test_s3_with_a_wrong_secret_or_bucket_says_so(s3: S3Server) -> None:
    wrong = open_storage(s3.url, options=s3.options | {"aws_secret_access_key": "wrong"})
    for read in (lambda: wrong.get("a"), lambda: paths(wrong), lambda: asyncio.run(wrong.read("a"))):
        with pytest.raises(StorageError, match="not allowed"):
            read()
    nowhere = open_storage("s3://nowhere", options=s3.reader_options)
    for read in (lambda: nowhere.get("a"), lambda: paths(nowhere)):
        with pytest.raises(StorageError, match="there is no such bucket"):
            read()


def test_a_copy_killed_half_way_is_done_again(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{s3.url}/{uuid.uuid4().hex}"
    storage = open_storage(url, options=s3.options)
    for number in range(20):
        storage.put(f"temp/{number}", b"1")
    copy = obstore.copy

    def fail_at_nine(store: S3Store, source: str, target: str) -> None:
        if source.endswith("/9"):
            raise OSError("killed")
        copy(store, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "copy", fail_at_nine)
        with pytest.raises(StorageError, match="temp/9"):
            storage.move_folder("temp", "v1")
    assert len(paths(storage, "temp")) == 20
    storage.delete(["temp/0"])  # which was copied, and must not come back
    storage.move_folder("temp", "v1")
    assert paths(storage) == sorted(f"v1/{number}" for number in range(1, 20))


def test_a_pointer_object_of_somebody_else_is_not_believed(s3: S3Server) -> None:
    prefix = uuid.uuid4().hex
    storage = open_storage(f"{s3.url}/{prefix}", options=s3.options)
    storage.point("m/latest", "v1")
    bucket = S3Store.from_url(s3.url, config=s3.options, client_options={"allow_http": True})  # type: ignore[arg-type]
    for held in (b"../../x", b"/etc", b"", b"a\nb", b"\xff\xfe", b"v" * 5000):
        obstore.put(bucket, f"{prefix}/m/.shelfsight-pointer-latest", held)
        with pytest.raises(StorageError, match="m/latest points to"):
            storage.pointer("m/latest")
