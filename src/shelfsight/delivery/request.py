"""What is read of a request: one pass over its headers, and nothing that nobody needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

_LONGEST_LIST_BYTES = 8192
_READ = frozenset({b"accept-encoding", b"apikey", b"authorization", b"if-none-match", b"if-range", b"range"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `path` is as it was sent, percent-encoded; `headers` are those that matter here."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    address: str | None


def read_request(scope: Scope) -> Asked:
    """Return the request of an ASGI scope; a header that comes twice is one list."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            before = headers.get(name)
            if before is None:
                headers[name] = value
            elif len(before) < _LONGEST_LIST_BYTES:
                headers[name] = before + b", " + value
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "backslashreplace")
    root = scope.get("root_path")
    if root:
        path = path.removeprefix(root.encode())
    client = scope.get("client")
    return Asked(
        scope["method"], path.partition(b"?")[0], scope["query_string"], headers, client[0] if client else None
    )
