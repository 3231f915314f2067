"""Which bytes of a file answer a request: all, a part, compressed, or none because the client has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shelfsight.delivery.answers import (
    Answer,
    StreamedAnswer,
    not_modified_headers,
    part_headers,
    problem,
    whole_headers,
)
from shelfsight.delivery.rules import (
    ByteRange,
    Encoding,
    NoRange,
    acceptable_encodings,
    known_encoding,
    parse_range,
    range_applies,
    vary,
)

if TYPE_CHECKING:
    from shelfsight.delivery.answers import Headers, ServedFile
    from shelfsight.delivery.content import Content
    from shelfsight.delivery.downloads import Source
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.rules import Policy

_HEAD = "HEAD"
_SENT = frozenset({200, 206})


async def represent(content: Content, file: ServedFile, policy: Policy, asked: Asked) -> Answer | StreamedAnswer:
    """Return the answer to a request for `file` by who may have it.

    Raises:
        NotFoundError: the file is gone, or damaged.
        StorageError: storage does not answer.
    """
    headers = asked.headers
    acceptable = acceptable_encodings(headers.get(b"accept-encoding"))
    compressible = content.is_compressible(file)
    if b"if-none-match" in headers:
        known = known_encoding(headers[b"if-none-match"], file.sha256, acceptable)
        if known is not None:
            return Answer(304, not_modified_headers(file, policy, known, compressible=compressible))
    if b"range" in headers and Encoding.IDENTITY in acceptable and asked.method != _HEAD:
        part = parse_range(headers[b"range"], file.size_bytes)
        if part is not NoRange.WHOLE and range_applies(headers.get(b"if-range"), file.sha256):
            return await _part(content, file, policy, part, asked)
    if acceptable and acceptable[0] is not Encoding.IDENTITY:
        must = Encoding.IDENTITY not in acceptable
        packed = await content.compressed(file, acceptable[0], wait=must)
        if packed is not None:
            return Answer(200, whole_headers(file, policy, acceptable[0], len(packed), compressible=True), packed)
    if Encoding.IDENTITY not in acceptable:
        return _not_acceptable(policy, asked)
    # Asked anew: that compressing does not pay may have been found out just now.
    compressible = content.is_compressible(file)
    found = whole_headers(file, policy, Encoding.IDENTITY, file.size_bytes, compressible=compressible)
    if asked.method == _HEAD:
        return Answer(200, found)
    return await _bytes(content, file, ByteRange(0, file.size_bytes), 200, found)


def finished(
    answer: Answer | StreamedAnswer, source: Source, *, headers: Headers = (), is_public: bool = False
) -> Answer | StreamedAnswer:
    """Return an answer of `represent` with what its bytes count as, if it carries any.

    Args:
        headers: take the place of those of the same name.
        is_public: as of `Answer`.
    """
    if headers:
        names = {name for name, _ in headers}
        headers = (*(one for one in answer.headers if one[0] not in names), *headers)
    else:
        headers = answer.headers
    counted = source if answer.status in _SENT else None
    if isinstance(answer, StreamedAnswer):
        return replace(answer, headers=headers, source=counted)
    return Answer(answer.status, headers, answer.body, is_public, counted)


async def _part(
    content: Content, file: ServedFile, policy: Policy, part: ByteRange | NoRange, asked: Asked
) -> Answer | StreamedAnswer:
    compressible = content.is_compressible(file)
    if isinstance(part, ByteRange):
        return await _bytes(content, file, part, 206, part_headers(file, policy, part, compressible=compressible))
    extra: Headers = ((b"content-range", b"bytes */%d" % file.size_bytes), (b"accept-ranges", b"bytes"))
    detail = f"the file has {file.size_bytes} bytes: ask for some of those"
    return problem(416, detail, code="range_not_satisfiable", instance=asked.path.decode("latin-1"), headers=extra)


async def _bytes(
    content: Content, file: ServedFile, part: ByteRange, status: int, headers: Headers
) -> Answer | StreamedAnswer:
    if content.is_held_whole(file):
        data = await content.whole(file)
        return Answer(status, headers, data if status == 200 else memoryview(data)[part.start : part.end])
    chunks = content.stream(file, part)
    first = await anext(chunks)  # before the status is sent: a file that is missing is a 404
    return StreamedAnswer(status, headers, part.end - part.start, first, chunks)


def _not_acceptable(policy: Policy, asked: Asked) -> Answer:
    detail = "Accept-Encoding takes neither the file as it is nor a compressed form that it is to be had in"
    extra: Headers = ((b"vary", vary(policy, compressible=True)),)
    return problem(406, detail, code="not_acceptable", instance=asked.path.decode("latin-1"), headers=extra)
