"""Storage in S3, Google Cloud Storage or Azure, through obstore."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import MemoryStore, from_url

from shelfsight.errors import ConflictError, NotFoundError, StorageError, UsageError
from shelfsight.storage.disk import open_source
from shelfsight.storage.port import (
    CHUNK_BYTES,
    LONGEST_NAME_BYTES,
    RESERVED,
    Names,
    StoredFile,
    check_folder,
    check_move,
    check_path,
    check_range,
    is_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from pathlib import Path

    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_POINTER = f"{RESERVED}pointer-"
_MOVING = f"{RESERVED}moving"
_PART_BYTES, _PARTS_AT_ONCE = 5 * 1024 * 1024, 4
_COPIES_AT_ONCE = 8
_PAGE = 1000  # keys per listing, and per request to delete
# No server: 3 times 4 s. A silent one: once the time to answer, because no retry begins after 8 s.
_RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=8)}
# The time for an answer begins with the request, so sending must fit in: 4 parts of 5 MB in 60 s is 2.7 Mbit/s.
_ANSWER_TO_READ, _ANSWER_TO_WRITE = timedelta(seconds=12), timedelta(seconds=60)
_NO_BUCKET = "NoSuchBucket"
_REASONS = (  # what a library's sentence holds, and ours; the first that fits
    (_NO_BUCKET, "there is no such bucket; make it, or correct the address"),
    ("169.254.169.254", "no credentials are given; set them in the environment or in the options"),
    ("403 Forbidden", "not allowed; check the credentials and what they may do"),
    ("AccessDenied", "not allowed; check the credentials and what they may do"),
    ("401 Unauthorized", "not allowed; check the credentials and what they may do"),
    ("Precondition", "another was put in its place meanwhile; try again"),
    ("error sending request", "it does not answer; check its address, the network, and whether it runs"),
    ("builder error", "plain http:// is refused; use https://, or allow it with allow_http"),
)
_OPTIONS_BEGIN_WITH = ("aws_", "google_", "azure_")
_CLIENT_OPTIONS = ("allow_http", "proxy_url", "root_certificate")


class ObjectStorage:
    """Files in an object store; see `Storage`."""

    def __init__(self, store: ObjectStore, *, name: str, writes: ObjectStore | None = None) -> None:
        self._store = store
        self._writes = store if writes is None else writes
        self._name = name

    @classmethod
    def open(cls, url: str, options: Mapping[str, str]) -> ObjectStorage:
        """Return the storage at `url` without connecting to it.

        Raises:
            UsageError: the address or an option is not one.
        """
        bare = {key.removeprefix("aws_"): value for key, value in options.items()}
        client = {key: bare[key] for key in _CLIENT_OPTIONS if key in bare}
        config = {key: value for key, value in options.items() if key.removeprefix("aws_") not in client}
        for key in config:
            if not key.startswith(_OPTIONS_BEGIN_WITH):  # obstore panics at some others
                raise UsageError(f"{key} is no option of an object store: give one such as aws_endpoint")
        name = re.sub(r"//[^/@]*@|[?#].*", lambda found: "//" if found[0].startswith("/") else "", url)
        connect = partial(_connect, url, config, client, name)
        store = connect(_ANSWER_TO_READ)
        # Each memory store is its own; the others are two names of the same files.
        return cls(store, name=name, writes=store if isinstance(store, MemoryStore) else connect(_ANSWER_TO_WRITE))

    def put(self, path: str, data: bytes, *, create: bool = False) -> None:
        """Store a file whole and durably."""
        with self._telling("write", check_path(path)):
            obstore.put(
                self._writes,
                path,
                data,
                mode="create" if create else "overwrite",
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def put_file(self, path: str, source: Path) -> None:
        """Store a copy of a local file, in parts."""
        check_path(path)
        with open_source(source) as file, self._telling("write", path):
            obstore.put(self._writes, path, file, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def get(self, path: str) -> bytes:
        """Return a file's bytes."""
        with self._telling("read", check_path(path)):
            return bytes(obstore.get(self._store, path).bytes())

    def head(self, path: str) -> StoredFile:
        """Return a file's size and time."""
        with self._telling("read", check_path(path)):
            return _stored(obstore.head(self._store, path))

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        try:
            self.head(path)
        except NotFoundError:
            return False
        return True

    def folders(self, folder: str) -> Names:
        """Return the sorted names of the folders right in `folder`."""
        with self._telling("list", check_folder(folder)):
            found = obstore.list_with_delimiter(self._store, folder or None)["common_prefixes"]
        names = (prefix.rstrip("/").rpartition("/")[2] for prefix in found)
        return sorted(name for name in names if is_name(name))

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Yield every file in `folder` and its sub-folders."""
        pages = self._pages(check_folder(folder))
        return (_stored(found) for page in pages for found in page if all(map(is_name, found["path"].split("/"))))

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files and pointers."""
        self._delete([key for path in paths for key in (check_path(path), _pointer_key(path))])

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all in it."""
        self._delete(self._keys(check_path(folder)))

    def move_folder(self, source: str, target: str) -> None:
        """Give a folder another path: copy every file, then delete the sources."""
        check_move(source, target)
        keys = self._keys(source)
        if not keys:
            raise NotFoundError(f"the folder {source} is not in the storage")
        marker = f"{target}/{_MOVING}"
        there = self._keys(target)
        if there and marker not in there:
            raise ConflictError(f"cannot move to {target}: something is there already")
        self._delete([key for key in there if key != marker])
        with self._telling("write", target):
            obstore.put(self._writes, marker, source.encode())
        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            list(pool.map(lambda key: self._copy(key, target + key.removeprefix(source)), keys))
        self._delete([marker])  # from here on the target is whole
        self._delete(keys)

    def point(self, path: str, name: str) -> None:
        """Let the pointer `path` name the folder `name` beside it, in one step."""
        if "/" in check_path(name):
            raise UsageError(f"a pointer names a folder beside it, not {name!r}")
        if self.exists(path) or self._keys(path):
            raise ConflictError(f"cannot point {path} to {name}: a file or folder has that path")
        with self._telling("write", path):
            obstore.put(self._writes, _pointer_key(path), name.encode())

    def pointer(self, path: str) -> str | None:
        """Return the name that a pointer holds, or None where no pointer is."""
        try:
            with self._telling("read", check_path(path)):
                found = obstore.get(self._store, _pointer_key(path))
                held = bytes(found.bytes()) if found.meta["size"] <= LONGEST_NAME_BYTES else b""
        except NotFoundError:
            return None
        name = held.decode(errors="replace")
        if "\ufffd" in name or not is_name(name):
            raise StorageError(f"{path} points to {name!r}, which is no folder beside it: publish again")
        return name

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to but not including `end`."""
        if start or end is not None:
            return b"".join([chunk async for chunk in self.stream(path, start=start, end=end, chunk_size=1 << 40)])
        with self._telling("read", check_path(path)):
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())

    async def stream(
        self, path: str, *, start: int = 0, end: int | None = None, chunk_size: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """Yield the same bytes as `read` in chunks.

        One request per chunk: a single long answer would time out while a slow phone takes it.
        """
        check_range(start, end)
        with self._telling("read", check_path(path)):
            found = await obstore.head_async(self._store, path)
        last = found["size"] if end is None else min(end, found["size"])
        for first in range(start, last, chunk_size):
            wanted = (first, min(first + chunk_size, last))
            with self._telling("read", path):
                part = await obstore.get_async(
                    self._store, path, options={"range": wanted, "if_match": found["e_tag"]}
                )
                chunk = bytes(await part.bytes_async())
            yield chunk

    def remove_leftovers(self, older_than_s: float) -> int:  # noqa: ARG002 (other storages have some)
        """Return 0: obstore cannot list the uploads that killed writers left."""
        return 0

    def _pages(self, folder: str) -> Iterator[Iterable[ObjectMeta]]:
        with self._telling("list", folder):
            yield from obstore.list(self._store, folder or None, chunk_size=_PAGE)

    def _keys(self, folder: str) -> Names:
        """Return all keys in a folder, our own included."""
        return [found["path"] for page in self._pages(folder) for found in page]

    def _copy(self, key: str, to: str) -> None:
        with self._telling("copy", key):
            obstore.copy(self._writes, key, to)

    def _delete(self, keys: Names) -> None:
        for first in range(0, len(keys), _PAGE):
            page = keys[first : first + _PAGE]
            with self._telling("delete", page[0]):
                try:
                    obstore.delete(self._writes, page)
                except FileNotFoundError:  # Google's and Azure's stores mind what is not there
                    for key in page:
                        self._delete_one(key)

    def _delete_one(self, key: str) -> None:
        with suppress(FileNotFoundError):
            obstore.delete(self._writes, key)

    @contextmanager
    def _telling(self, verb: str, path: str) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except (exceptions.BaseError, OSError, ValueError) as exc:
            raise _ours(exc, verb, path, self._name) from exc


def _connect(
    url: str, config: Mapping[str, str], client: Mapping[str, str], name: str, answer_within: timedelta
) -> ObjectStore:
    """Return obstore's store.

    The client's options are always ours: obstore then ignores those of the environment (AWS_ALLOW_HTTP).
    """
    timeouts: ClientConfig = {
        "connect_timeout": timedelta(seconds=4),
        "read_timeout": answer_within,
        "timeout": timedelta(hours=1),
    }
    chosen: Any = {"allow_http": True, **client, **timeouts}
    try:
        if url.lower().startswith("memory:"):
            return MemoryStore()
        return from_url(url, config=dict(config), client_options=chosen, retry_config=_RETRY)  # type: ignore[call-overload, no-any-return]
    except (exceptions.BaseError, ValueError, TypeError) as exc:
        raise UsageError(f"cannot use {name} as storage: {_first_line(exc)}") from exc


def _ours(exc: Exception, verb: str, path: str, name: str) -> ConflictError | NotFoundError | StorageError:
    what = f"cannot {verb} {path or 'the top'} at {name}"
    text = str(exc)
    if isinstance(exc, exceptions.AlreadyExistsError):
        return ConflictError(f"{what}: it is there already")
    if isinstance(exc, FileNotFoundError) and verb == "read" and _NO_BUCKET not in text:
        return NotFoundError(f"{path} is not in the storage")
    return StorageError(f"{what}: {next((why for sign, why in _REASONS if sign in text), _first_line(exc))}")


def _first_line(exc: Exception) -> str:
    """Return the library's reason in short, without the query of an address, which can be a signature."""
    return re.sub(r"\?\S*", "", str(exc).strip().partition("\n")[0])[:300]


def _pointer_key(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{_POINTER}{name}"


def _stored(found: ObjectMeta) -> StoredFile:
    modified_at = found["last_modified"].astimezone(UTC)
    return StoredFile(path=found["path"], size_bytes=found["size"], modified_at=modified_at)
