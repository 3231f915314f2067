"""What storage in a local folder promises beyond the contract: killed anywhere, links, full and read-only disks."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import ConflictError, NotFoundError, StorageError, UsageError
from shelfsight.storage import Storage, check_path, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Does one operation in ever new storages, killed before line 1, 2, 3 … that it runs in local.py and disk.py.
KILLER = """
import os, signal, sys
from pathlib import Path
from shelfsight.storage import open_storage

def prepare(storage):
    for path in ("v1/f", "v1/g", "temp/f", "temp/g"):
        storage.put(path, b"old")
    storage.point("latest", "v1")

def operate(storage):
    {operation}

def kill_at(step):
    lines = 0
    def trace(frame, event, arg):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(("storage/local.py", "storage/disk.py")):
            return None
        if event == "line":
            lines += 1
            if lines == step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

step, ended = 0, False
while not ended:
    step += 1
    storage = open_storage(Path(sys.argv[1], str(step)))
    prepare(storage)
    child = os.fork()
    if not child:
        sys.settrace(kill_at(step))
        operate(storage)
        sys.settrace(None)
        os._exit(0)
    ended = os.waitpid(child, 0)[1] == 0
"""
MOUNT, UMOUNT = (["/usr/bin/env", command] for command in ("mount", "umount"))
NEW = b"new" * 100_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def storage(root: Path) -> Storage:
    return open_storage(root)


def files(storage: Storage) -> dict[str, bytes]:
    return {file.path: storage.get(file.path) for file in storage.list("")}


def killed_everywhere(tmp_path: Path, operation: str) -> list[Storage]:
    subprocess.run([sys.executable, "-c", KILLER.format(operation=operation), tmp_path], check=True, timeout=120)
    steps = sorted(tmp_path.iterdir(), key=lambda place: int(place.name))
    assert len(steps) > 15
    return [open_storage(place) for place in steps]


OLD = dict.fromkeys(("v1/f", "v1/g", "temp/f", "temp/g"), b"old")
MOVED = dict.fromkeys(("v1/f", "v1/g", "v2/f", "v2/g"), b"old")


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ("storage.put('v1/f', b'new' * 100_000)", OLD | {"v1/f": NEW}),
        ("storage.put('deep/er/f', b'new' * 100_000, create=True)", OLD | {"deep/er/f": NEW}),
        ("storage.put_file('v1/f', Path(os.__file__))", OLD | {"v1/f": Path(os.__file__).read_bytes()}),
        ("storage.move_folder('temp', 'v2')", MOVED),
    ],
    ids=["put", "create", "put_file", "move_folder"],
)
def test_killed_anywhere_the_older_or_the_newer_is_whole(
    tmp_path: Path, operation: str, after: dict[str, bytes]
) -> None:
    found = killed_everywhere(tmp_path, operation)
    assert all(files(storage) in (OLD, after) for storage in found)
    assert files(found[0]) == OLD
    assert files(found[-1]) == after


def test_killed_anywhere_a_pointer_names_the_older_or_the_newer(tmp_path: Path) -> None:
    found = [storage.pointer("latest") for storage in killed_everywhere(tmp_path, "storage.point('latest', 'v2')")]
    assert found == sorted(found, key=str)  # all of one, then all of the other
    assert set(found) == {"v1", "v2"}


def test_what_killed_writers_left_is_removed_when_old_enough(tmp_path: Path) -> None:
    for operation in ("storage.put('v1/f', b'new')", "storage.point('latest', 'v2')"):
        place = tmp_path / str(len(operation))
        place.mkdir()
        storages = killed_everywhere(place, operation)
        assert sum(storage.remove_leftovers(3600) for storage in storages) == 0
        assert sum(storage.remove_leftovers(-1) for storage in storages) > 0
        assert sum(storage.remove_leftovers(-1) for storage in storages) == 0
        assert all(len(files(storage)) == 4 for storage in storages)


def test_bytes_are_on_disk_before_they_get_their_name_and_the_name_after(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(root)
    storage.put("a/b", b"old")
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        steps.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    storage.put("a/b", b"new")
    assert steps == ["file", "name", "folder"]


def test_a_put_survives_others_that_empty_its_folder(storage: Storage) -> None:
    def put(number: int) -> None:
        storage.put(f"a/b/{number}", b"1")
        storage.delete([f"a/b/{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(400)))
    assert storage.folders("") == []


def test_others_may_read_files_and_folders(root: Path) -> None:
    before = os.umask(0o077)
    try:
        storage = open_storage(root / "made")
        storage.put("a/b", b"1")
        storage.put("a/c", b"1", create=True)
    finally:
        os.umask(before)
    modes = {place.name: stat.S_IMODE(place.stat().st_mode) for place in (root / "made").rglob("[abc]")}
    assert modes == {"a": 0o755, "b": 0o644, "c": 0o644}
    assert stat.S_IMODE((root / "made").stat().st_mode) == 0o755


def test_latest_is_a_relative_link_that_nginx_follows(root: Path, storage: Storage) -> None:
    storage.put("m/v1/f", b"1")
    storage.point("m/latest", "v1")
    assert (root / "m/latest").readlink() == Path("v1")
    assert (root / "m/latest/f").read_bytes() == b"1"


def test_deleting_leaves_no_empty_folder(root: Path, storage: Storage) -> None:
    storage.put("a/b/c", b"1")
    storage.put("d/e/f", b"1")
    storage.delete(["a/b/c"])
    storage.delete_folder("d/e")
    assert [place.name for place in root.iterdir()] == [".shelfsight-partial"]


def test_a_file_is_no_folder_and_a_folder_no_file(storage: Storage) -> None:
    storage.put("a/b", b"1")
    for path in ("a", "a/b/c"):
        with pytest.raises(ConflictError):
            storage.put(path, b"2")
    assert files(storage) == {"a/b": b"1"}


@pytest.fixture
def outside(root: Path, storage: Storage, tmp_path: Path) -> Path:
    """A folder beside the storage, into which a link in the storage leads."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_bytes(b"secret")
    storage.put("a/b", b"1")
    (root / "a/file").symlink_to("/etc/passwd")
    (root / "a/folder").symlink_to(place)
    (root / "a/inside").symlink_to("b")
    return place


@pytest.mark.parametrize("path", ["a/file", "a/folder/secret", "a/inside"])
def test_no_planted_link_is_read_or_written_through(storage: Storage, outside: Path, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.get(path),
        lambda: storage.head(path),
        lambda: asyncio.run(storage.read(path)),
        lambda: storage.put(path, b"2"),
        lambda: storage.put(path, b"2", create=True),
        lambda: storage.put_file(path, Path(__file__)),
    ]
    assert not storage.exists(path)
    for call in calls:
        with pytest.raises((ConflictError, NotFoundError), match="symbolic link"):
            call()
    assert files(storage) == {"a/b": b"1"}
    assert (outside / "secret").read_bytes() == b"secret"


def test_nothing_behind_a_planted_link_is_deleted_or_moved(storage: Storage, outside: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.delete(["a/folder/secret"]),
        lambda: storage.delete_folder("a/folder/secret"),
        lambda: storage.point("a/folder/secret", "x"),
        lambda: storage.move_folder("a/folder", "x"),
        lambda: storage.move_folder("a", "c/../x"),
    ]
    for call in calls:
        with pytest.raises((ConflictError, NotFoundError, UsageError)):
            call()
    assert storage.folders("a") == []
    storage.delete_folder("a/folder")
    storage.delete(["a/folder"])
    storage.delete_folder("a")
    assert files(storage) == {}
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_planted_partial_folder_is_not_written_into(root: Path, storage: Storage, tmp_path: Path) -> None:
    (root / ".shelfsight-partial").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="symbolic link"):
        storage.put("a", b"1")
    assert list(tmp_path.iterdir()) == [root]


def test_links_in_a_circle_end_no_listing(root: Path, storage: Storage) -> None:
    storage.put("a/b", b"1")
    (root / "a/self").symlink_to("self")
    (root / "a/up").symlink_to("..")
    (root / "a/one").symlink_to("two")
    (root / "a/two").symlink_to("one")
    assert files(storage) == {"a/b": b"1"}
    assert storage.folders("a") == []
    with pytest.raises(NotFoundError):
        storage.get("a/self")
    storage.delete_folder("a")
    assert files(storage) == {}


def test_a_pipe_is_no_file_and_blocks_nobody(root: Path, storage: Storage) -> None:
    storage.put("a/b", b"1")
    os.mkfifo(root / "a/pipe")
    with pytest.raises(NotFoundError, match="no file"):
        storage.get("a/pipe")
    assert files(storage) == {"a/b": b"1"}


@pytest.mark.parametrize("held", ["/etc", "../other", "a/b", "..", ".", ".shelfsight-partial"])
def test_a_link_that_is_no_pointer_of_ours_is_not_believed(root: Path, storage: Storage, held: str) -> None:
    (root / "latest").symlink_to(held)
    with pytest.raises(StorageError, match="latest points to"):
        storage.pointer("latest")


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file/inner"):
        with pytest.raises(UsageError, match="name a folder"):
            open_storage(place)


def test_a_storage_whose_disk_is_gone_is_not_made_again(root: Path, storage: Storage) -> None:
    root.rmdir()
    with pytest.raises(StorageError, match="is its disk mounted"):
        storage.put("a/b", b"1")
    assert not root.exists()


def test_a_file_address_is_a_local_folder(tmp_path: Path) -> None:
    open_storage(f"file://{tmp_path}/with%20blank").put("a", b"1")
    assert (tmp_path / "with blank/a").read_bytes() == b"1"


SEGMENTS = st.text(max_size=6) | st.sampled_from(["..", ".", "", "~", "C:", "%2e%2e", "..\u2215", "a"])


@given(st.lists(SEGMENTS, max_size=5).map("/".join))
def test_no_path_that_is_taken_escapes_the_root(path: str) -> None:
    try:
        check_path(path)
    except UsageError:
        return
    assert os.path.normpath(f"/root/of/all/{path}") == f"/root/of/all/{path}"


@given(path=st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join), data=st.binary(max_size=9))
def test_every_path_that_is_taken_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, path: str, data: bytes
) -> None:
    try:
        check_path(path)
    except UsageError:
        return
    for storage in (open_storage(tmp_path_factory.getbasetemp() / "taken"), open_storage("memory://")):
        storage.put(path, data)
        assert files(storage) == {path: data}
        storage.delete([path])
        assert files(storage) == {}


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Path]]:
    """A disk of one megabyte, and what makes it fail with an error: for real where we may mount, else by pretence."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        [*MOUNT, "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, check=False
    )

    def fail(number: int) -> Path:
        if mounted.returncode:
            monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        elif number == errno.EROFS:
            subprocess.run([*MOUNT, "-o", "remount,ro", place], check=True)
        return place

    yield fail
    if not mounted.returncode:
        subprocess.run([*UMOUNT, place], check=True)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full: free some room"), (errno.EROFS, "the disk is read-only")],
)
def test_a_disk_that_takes_no_more_says_so_and_keeps_what_it_has(
    small_disk: Callable[[int], Path], tmp_path: Path, number: int, sentence: str
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(2_000_000))
    storage = open_storage(tmp_path / "disk")
    storage.put("m/v1/f", b"old")
    small_disk(number)
    writes: list[Callable[[], object]] = [
        lambda: storage.put("m/v1/f", bytes(2_000_000)),
        lambda: storage.put_file("m/v1/f", big),
    ]
    for write in writes:
        with pytest.raises(StorageError, match=f"cannot write m/v1/f: {sentence}"):
            write()
    assert files(storage) == {"m/v1/f": b"old"}
    assert storage.remove_leftovers(-1) == 0


def test_a_file_beyond_the_limit_of_the_process_is_told(root: Path) -> None:
    script = (
        "import resource, sys; from shelfsight.storage import open_storage\n"
        "storage = open_storage(sys.argv[1]); storage.put('a', b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: storage.put('a', bytes(5000))\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
    )
    told = subprocess.run([sys.executable, "-c", script, root], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("StorageError cannot write a: the file is larger than the system allows")
    assert files(open_storage(root)) == {"a": b"old"}


def test_importing_storage_takes_neither_numerics_nor_obstore() -> None:
    script = (
        "import sys, shelfsight.storage; print(sorted({'numpy', 'obstore', 'asyncio.sslproto'} & {*sys.modules}))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"numpy", "obstore"}.isdisjoint(told.stdout.split())
