"""Typesense, a search server: collections, imports, exports and searches over its HTTP API.

What is only read is asked again when it fails. What is written is asked again only where it was surely not done: the
server was not reached, or said that it is "Not Ready or Lagging" (503). Where a request was sent and its answer is
missing, it may have been done, and only the caller knows whether doing it twice is harmless: `UncertainError`.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import httpx2
import orjson

from shelfsight.errors import (
    ConflictError,
    NotFoundError,
    PartnerError,
    ShelfsightError,
    UnavailableError,
    UncertainError,
    UsageError,
)
from shelfsight.partners.typesense_values import (
    Action,
    Field,
    ImportResult,
    Limits,
    Patience,
    Refusal,
    refused_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = ["Action", "Field", "ImportResult", "Limits", "Patience", "Refusal", "Typesense"]

KEY_HEADER = "X-TYPESENSE-API-KEY"
_ALTER_RUNS = "another collection update operation is in progress"
_READ_BYTES = 1 << 20
_SHOWN = 300
_WIDER = {"int64": {"int64", "int32"}}
"""What else is taken for a type: seconds since 1970 fit into 32 bits until 2038."""


class Typesense:
    """A client of one server, for any number of threads."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience: Patience | None = None,
        limits: Limits | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """Ask the server at `url`, such as `http://localhost:8108`; nothing is sent yet.

        Args:
            wait: called with seconds between two attempts; what it raises ends the call.

        Raises:
            UsageError: `url` or the key cannot be one.
        """
        self.patience = patience or Patience()
        self._limits = limits or Limits()
        self._wait = wait
        try:
            address = httpx2.URL(url.rstrip("/"))
        except httpx2.InvalidURL:  # whose text may have a part of a password in it
            raise _no_address(url) from None
        if address.scheme not in {"http", "https"} or not address.host or address.userinfo or address.query:
            raise _no_address(url)
        if not api_key or not api_key.isascii() or not api_key.isprintable():
            raise UsageError("the API key of Typesense is empty, or has characters that no key has")
        self._at = f"Typesense at {address.host}:{address.port or ('443' if address.scheme == 'https' else '80')}"
        self._client = httpx2.Client(
            base_url=address, headers={KEY_HEADER: api_key}, timeout=self._timeout(self._limits.answer_s)
        )

    def __enter__(self) -> Typesense:
        """Return itself; its connections are closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def collection(self, name: str) -> dict[str, Any]:
        """Return a collection's schema, with `fields` and `num_documents`.

        Raises:
            NotFoundError: there is none of that name.
            UnavailableError: the server does not answer.
            PartnerError: it refuses.
        """
        return self._json(self._read("GET", _path(name)))

    def create_collection(self, name: str, fields: Sequence[Field]) -> None:
        """Make a collection.

        Raises:
            ConflictError: there is one of that name.
            UncertainError: the server did not say whether it was made.
            UnavailableError, PartnerError: as above.
        """
        self._write("POST", "/collections", {"name": name, "fields": [each.document() for each in fields]})

    def drop_collection(self, name: str) -> None:
        """Remove a collection with its documents.

        Raises:
            NotFoundError: there is none of that name.
            UncertainError: the server did not say whether it was removed.
            UnavailableError, PartnerError: as above.
        """
        self._write("DELETE", _path(name), None, answer_s=self._limits.alter_s)

    def ensure_fields(self, collection: str, fields: Sequence[Field]) -> list[str]:
        """Let a collection have the fields, in which old documents may lack them; return the names of added ones.

        Another change of the schema that is under way is waited for, and looked at: it may be the same one.

        Raises:
            NotFoundError: there is no such collection.
            ConflictError: a field of that name is of another type.
            UnavailableError: another change of the schema does not end, or the server does not answer.
            PartnerError: it refuses.
        """
        added: list[str] = []
        waited_s = 0.0  # not the time that altering took: it indexes again
        for wait_s in self._waits():
            missing = self._missing(collection, fields)
            if not missing:
                break
            try:
                self._alter(collection, missing)
            except (_AlterRunsError, UncertainError) as exc:
                if waited_s > self.patience.seconds:
                    raise UnavailableError(f"{exc} (the schema of {collection} is as it was)") from exc
                waited_s += wait_s
                self._wait(wait_s)
            except PartnerError:
                if self._missing(collection, fields) == missing:  # else another has added them just before
                    raise
            else:
                added = [each.name for each in missing]
        return added

    def import_documents(self, collection: str, lines: bytes | Sequence[bytes], action: Action) -> ImportResult:
        """Import documents, one JSON object a line; return what became of each line.

        Args:
            lines: as one text with line feeds between them, or one by one; none of them empty.

        Raises:
            UncertainError: the answer is missing, whole or in part: any of the lines may have been applied.
            NotFoundError: there is no such collection.
            UnavailableError: nothing was applied: the server is not reached, or goes on saying that it is lagging.
            PartnerError: it refuses.
        """
        body = lines if isinstance(lines, bytes) else b"\n".join(lines)
        count = body.rstrip(b"\n").count(b"\n") + 1 if body else 0
        if not count:
            return ImportResult(count=0)
        path = f"{_path(collection)}/documents/import?action={action.value}"
        response, waits = self._send("POST", path, body, answer_s=self._limits.import_s)
        refused = refused_lines(response.content, count)
        if refused is None:
            raise UncertainError(f"{self._at} did not answer all of the {count} lines that were imported")
        return ImportResult(count=count, refused=refused, waits=waits)

    def delete_document(self, collection: str, document_id: str) -> None:
        """Remove a document.

        Raises:
            NotFoundError: it is not there, or the collection is not.
            UncertainError: the server did not say whether it was removed.
            UnavailableError, PartnerError: as above.
        """
        self._write("DELETE", _document_path(collection, document_id), None)

    def export_documents(
        self, collection: str, fields: Sequence[str], *, filter_by: str = ""
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield all documents with these fields of them, some thousands at a time, as they come.

        Args:
            fields: `id` and others; a document without one of the others lacks it here, too.

        Raises:
            NotFoundError: there is no such collection.
            UnavailableError: the export did not start, or broke off: what came is not all.
            PartnerError: it refuses.
        """
        names = {"include_fields": ",".join(fields)}
        query = httpx2.QueryParams({**names, "filter_by": filter_by} if filter_by else names)
        path = f"{_path(collection)}/documents/export?{query}"
        request = self._client.build_request("GET", path, timeout=self._timeout(self._limits.import_s))
        response, _ = self._tried(request, is_safe=True, stream=True)
        try:
            rest = b""
            with self._told(request, is_safe=True):
                for part in response.iter_bytes(_READ_BYTES):
                    whole, _, rest = (rest + part).rpartition(b"\n")
                    if whole:
                        yield self._documents(whole)
            if rest:
                yield self._documents(rest)
        finally:
            response.close()

    def search(self, collection: str, parameters: Mapping[str, str | int | bool]) -> dict[str, Any]:
        """Return what Typesense finds: `found`, and `hits` with a `document` each.

        Raises:
            NotFoundError: there is no such collection or field.
            UnavailableError: the server does not answer.
            PartnerError: it refuses.
        """
        return self._json(self._read("GET", f"{_path(collection)}/documents/search?{httpx2.QueryParams(parameters)}"))

    def retrieve(self, collection: str, document_id: str) -> dict[str, Any]:
        """Return a document.

        Raises:
            NotFoundError: it is not there, or the collection is not.
            UnavailableError: the server does not answer.
            PartnerError: it refuses.
        """
        return self._json(self._read("GET", _document_path(collection, document_id)))

    def _missing(self, collection: str, fields: Sequence[Field]) -> list[Field]:
        there = {each["name"]: each["type"] for each in self.collection(collection)["fields"]}
        for wanted in fields:
            found = there.get(wanted.name, wanted.type)
            if found not in _WIDER.get(wanted.type, {wanted.type}):
                raise ConflictError(
                    f"field {wanted.name} of collection {collection} is {found}, not {wanted.type}: "
                    "drop it, or rename it"
                )
        return [wanted for wanted in fields if wanted.name not in there]

    def _alter(self, collection: str, missing: Sequence[Field]) -> None:
        document = {"fields": [each.document() for each in missing]}
        self._write("PATCH", _path(collection), document, answer_s=self._limits.alter_s)

    def _read(self, method: str, path: str) -> httpx2.Response:
        return self._tried(self._client.build_request(method, path), is_safe=True)[0]

    def _write(self, method: str, path: str, document: object, *, answer_s: float | None = None) -> None:
        body = b"" if document is None else orjson.dumps(document)
        self._send(method, path, body, answer_s=answer_s or self._limits.answer_s)

    def _send(self, method: str, path: str, body: bytes, *, answer_s: float) -> tuple[httpx2.Response, int]:
        request = self._client.build_request(method, path, content=body, timeout=self._timeout(answer_s))
        return self._tried(request, is_safe=False)

    def _tried(self, request: httpx2.Request, *, is_safe: bool, stream: bool = False) -> tuple[httpx2.Response, int]:
        """Return a good answer, and how often the server asked for patience before."""
        ends_at = time.monotonic() + self.patience.seconds
        busy = 0
        for wait_s in self._waits():
            try:
                with self._told(request, is_safe=is_safe):
                    response = self._client.send(request, stream=stream)
                    if response.is_success:
                        return response, busy
                    response.read()
                self._refuse(response)
            except UncertainError:
                raise
            except UnavailableError as exc:
                busy += isinstance(exc, _LaggingError)
                if time.monotonic() + wait_s > ends_at:
                    raise
            self._wait(wait_s)
        raise AssertionError("waits never end")

    def _waits(self) -> Iterator[float]:
        """Yield how long to wait after each attempt, for ever; not the same for all who wait."""
        longest = self.patience.first_wait_s
        while True:
            yield longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads attempts, guards nothing)
            longest = min(longest * 2, self.patience.longest_wait_s)

    @contextmanager
    def _told(self, request: httpx2.Request, *, is_safe: bool) -> Iterator[None]:
        """Raise our errors in place of the library's."""
        what = f"{request.method} {request.url.path}"
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as exc:
            raise UnavailableError(f"{self._at} cannot be reached: {_reason(exc)}") from exc
        except httpx2.TransportError as exc:
            said = f"{self._at} broke off at {what}: {_reason(exc)}"
            raise UnavailableError(said) if is_safe else UncertainError(f"{said}; it may have been done") from exc

    def _refuse(self, response: httpx2.Response) -> NoReturn:
        """Raise what an answer that is none means."""
        status, message = response.status_code, _message(response)
        said = f"{self._at} answers {status}: {message}"
        if status == 404:
            raise NotFoundError(said)
        if status == 409:
            raise ConflictError(said)
        if status in {401, 403}:
            raise PartnerError(f"{self._at} refuses the API key ({status}): check the key and what it is allowed")
        if status == 422 and _ALTER_RUNS in message.lower():
            raise _AlterRunsError(said)
        if status in {429, 503}:
            raise _LaggingError(said)
        if status in {502, 504} and response.request.method != "GET":  # of a proxy that did not wait for the answer
            raise UncertainError(f"{said}; it may have been done")
        if status in {500, 502, 504}:
            raise UnavailableError(said)
        raise PartnerError(said)

    def _documents(self, lines: bytes) -> list[dict[str, Any]]:
        try:
            documents: list[dict[str, Any]] = orjson.loads(b"[" + lines.replace(b"\n", b",") + b"]")
        except orjson.JSONDecodeError as exc:
            raise UnavailableError(f"{self._at} sent an export that cannot be read: {_reason(exc)}") from exc
        if not all("id" in document for document in documents):
            raise UnavailableError(f"{self._at} sent an export that cannot be read: a document without an id")
        return documents

    def _json(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError as exc:
            raise PartnerError(f"{self._at} answers what is no JSON: is it Typesense?") from exc
        if not isinstance(document, dict):
            raise PartnerError(f"{self._at} answers a {type(document).__name__}, not an object: is it Typesense?")
        return document

    def _timeout(self, answer_s: float) -> httpx2.Timeout:
        return httpx2.Timeout(answer_s, connect=self._limits.connect_s)


class _AlterRunsError(ShelfsightError):
    """Another change of the same schema is under way."""


class _LaggingError(UnavailableError):
    """The server did nothing, and asks for patience."""


def _path(collection: str) -> str:
    return f"/collections/{quote(collection, safe='')}"


def _document_path(collection: str, document_id: str) -> str:
    return f"{_path(collection)}/documents/{quote(document_id, safe='')}"


def _no_address(url: str) -> UsageError:
    """Return the error without what may be secret in it: what is before an @, or behind a question mark."""
    shown = _shown(url.rpartition("@")[2].partition("?")[0])
    return UsageError(f"{shown!r} is no address of Typesense: use one such as http://localhost:8108")


def _message(response: httpx2.Response) -> str:
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        document = response.text
    message = document.get("message", "") if isinstance(document, dict) else document
    return _shown(str(message)) or "no reason given"


def _reason(exc: Exception) -> str:
    return _shown(str(exc)) or type(exc).__name__


def _shown(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]
