"""An object on its way in: to disk as it comes, counted and hashed, raw or as one of the forms that clients send."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shelfsight.api.documents import is_storable
from shelfsight.delivery.supabase.rules import MAX_OBJECT_BYTES, TOO_LARGE, check_media_type, kept_cache_control
from shelfsight.delivery.supabase.store.objects import Content
from shelfsight.errors import StorageError, TooLargeError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from python_multipart.multipart import MultipartCallbacks

    from shelfsight.delivery.supabase.request import WireRequest

_WRITTEN_AT_ONCE = 2**20
_MAX_METADATA_BYTES = 64 * 1024
_MAX_AROUND_BYTES = 256 * 1024  # what a form may have around the file
_FORM = "multipart/form-data"
_FIELDS = {b"cacheControl": "cache", b"contentType": "type", b"metadata": "metadata", b"userMetadata": "metadata"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An object that has come in whole, and where its bytes are until they are stored."""

    file: Path
    content: Content


@asynccontextmanager
async def received(request: WireRequest) -> AsyncIterator[Received]:
    """Yield the object that a request sends; what was kept of it on the way goes when the block ends.

    Raises:
        UsageError: there is no file, the form is damaged, or what is said of the object cannot be kept.
        TooLargeError: it is larger than 50 MiB, whatever the sender says.
        StorageError: there is no room for it here.
        ClientDisconnect: the sender has gone.
    """
    is_form = request.headers.get("content-type", "").lstrip()[: len(_FORM)].lower() == _FORM
    if (request.length or 0) > MAX_OBJECT_BYTES + (_MAX_AROUND_BYTES if is_form else 0):
        raise TooLargeError(TOO_LARGE)
    raw = None if is_form else _raw_facts(request)  # a wrong one is refused before all of it has come
    file = await asyncio.to_thread(_open)
    try:
        keeper = _Keeper(file)
        said = await _from_form(request, keeper) if raw is None else await _as_it_is(request, keeper, raw)
        content = Content(
            sha256=await keeper.end(),
            size_bytes=keeper.size_bytes,
            media_type=said.media_type,
            cache_control=said.cache_control,
            metadata=said.metadata,
        )
        yield Received(file=Path(file.name), content=content)
    finally:
        await asyncio.to_thread(_close, file)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What the sender says of an object."""

    media_type: str
    cache_control: str
    metadata: dict[str, Any]


class _Keeper:
    """Takes the bytes of one object."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self.size_bytes = 0

    async def take(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.size_bytes > MAX_OBJECT_BYTES:
            raise TooLargeError(TOO_LARGE)
        self._waiting += data
        if len(self._waiting) >= _WRITTEN_AT_ONCE:
            await self._write()

    async def end(self) -> str:
        """Return the hash of all, which is on disk then."""
        await self._write()
        return self._hash.hexdigest()

    async def _write(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        await asyncio.to_thread(self._keep, data)

    def _keep(self, data: bytes) -> None:
        try:
            self._hash.update(data)
            self._file.write(data)
            self._file.flush()
        except OSError as exc:
            raise StorageError(f"the upload cannot be kept ({exc.strerror or exc}): make room") from exc


def _open() -> IO[bytes]:
    try:
        return tempfile.NamedTemporaryFile(prefix="shelfsight-upload-")
    except OSError as exc:
        raise StorageError(f"the upload cannot be kept ({exc.strerror or exc}): make room") from exc


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what could not be written has been told
        file.close()  # removes it, too


def _raw_facts(request: WireRequest) -> _Said:
    return _Said(
        media_type=check_media_type(request.headers.get("content-type")),
        cache_control=kept_cache_control(request.headers.get("cache-control")),
        metadata=_metadata_of_header(request.headers.get("x-metadata")),
    )


async def _as_it_is(request: WireRequest, keeper: _Keeper, said: _Said) -> _Said:
    async for chunk in request.body():
        await keeper.take(chunk)
    return said


async def _from_form(request: WireRequest, keeper: _Keeper) -> _Said:
    _, options = parse_options_header(request.headers["content-type"])
    if not options.get(b"boundary"):
        raise UsageError("the form does not say where its parts end: leave Content-Type to the client")
    form = _Form()
    around_bytes = 0
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())
        async for chunk in request.body():
            parser.write(chunk)
            data = form.taken()
            around_bytes += len(chunk) - len(data)
            if around_bytes > _MAX_AROUND_BYTES:
                raise TooLargeError(TOO_LARGE)
            await keeper.take(data)
    except FormParserError as exc:
        raise UsageError(f"the form is damaged: {exc}") from exc
    if not form.has_file or not form.is_whole:
        raise UsageError("No content provided")
    return _Said(
        media_type=check_media_type(form.text("type") or form.file_type),
        cache_control=kept_cache_control(form.text("cache")),
        metadata=_metadata(bytes(form.fields.get("metadata", b""))),
    )


class _Form:
    """A form as it is taken apart: the first file in it, whatever its name, and the fields that count."""

    def __init__(self) -> None:
        self.fields: dict[str, bytearray] = {}
        self.has_file = self.is_whole = False
        self.file_type: str | None = None
        self._in_file = False
        self._field: str | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take,
            "on_end": self._end,
        }

    def taken(self) -> bytes:
        """Return what has come of the file since it was last asked."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def text(self, field: str) -> str | None:
        found = self.fields.get(field)
        return None if found is None else found.decode("latin-1")

    def _begin_part(self) -> None:
        self._headers, self._in_file, self._field = {}, False, None

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"filename" in options:
            self._in_file = not self.has_file
            if self._in_file:
                self.has_file = True
                content_type = self._headers.get(b"content-type")
                self.file_type = None if content_type is None else content_type.decode("latin-1")
            return
        self._field = _FIELDS.get(options.get(b"name", b""))
        if self._field is not None:
            self.fields[self._field] = bytearray()

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._data += data[start:end]
        elif self._field is not None:
            self.fields[self._field] += data[start:end]

    def _end(self) -> None:
        self.is_whole = True


def _metadata_of_header(text: str | None) -> dict[str, Any]:
    try:
        return _metadata(base64.b64decode(text or "", validate=True))
    except (ValueError, binascii.Error) as exc:
        raise UsageError("x-metadata is not base64") from exc


def _metadata(data: bytes) -> dict[str, Any]:
    """Return the uploader's own facts, an object of JSON that every database can hold."""
    if not data.strip():
        return {}
    if len(data) > _MAX_METADATA_BYTES:
        raise TooLargeError(f"metadata is larger than {_MAX_METADATA_BYTES} bytes")
    try:
        found = json.loads(data.decode(), parse_constant=_refuse)
        json.dumps(found, allow_nan=False)  # 1e999 is read as infinity, which no JSON holds
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(map(is_storable, _texts(found))):
        raise UsageError("metadata is no object of JSON that can be kept")
    return found


def _texts(found: Any) -> Iterator[str]:
    waiting = [found]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as members:
                waiting += [*members, *members.values()]
            case list() as items:
                waiting += items


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
