"""A server that answers imports and exports as Typesense does, and keeps nothing: for measuring who talks to it.

python -m bench.typesense_sink PORT DOCUMENTS ONLY_IN_SEARCH
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import orjson

CREATED_S = 1_700_000_000
_ACCEPTED = b'{"success":true}'
_AT_ONCE = 20_000


def ids(documents: int, only_in_search: int) -> list[tuple[int, int]]:
    """Return (id, seconds of `created_at`) of every document; those without a row have 0."""
    return [(number, CREATED_S + number) for number in range(1, documents + 1)] + [
        (documents + 1000 + number, 0) for number in range(only_in_search)
    ]


class Sink(BaseHTTPRequestHandler):
    """Answers for one collection, whatever its name."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer in two packets waits for 40 ms
    documents: int
    exports: dict[bool, list[bytes]]

    def do_GET(self) -> None:
        """Answer with the schema, or with every document."""
        url = urlsplit(self.path)
        if not url.path.endswith("/export"):
            fields = [{"name": name, "type": "int64", "optional": True} for name in ("created_at", "deleted_at")]
            return self._answer(orjson.dumps({"num_documents": self.documents, "fields": fields}))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in self.exports[parse_qs(url.query)["include_fields"] == ["id"]]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")
        return None

    def do_POST(self) -> None:
        """Take every line of an import."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"\n".join([_ACCEPTED] * (body.rstrip(b"\n").count(b"\n") + 1)))

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until the process is ended."""
    port, documents, only_in_search = map(int, sys.argv[1:])
    found = ids(documents, only_in_search)
    lines = {
        True: [b'{"id":"%d"}' % number for number, _ in found],
        False: [b'{"created_at":%d,"deleted_at":0,"id":"%d"}' % (seconds, number) for number, seconds in found],
    }
    Sink.documents = len(found)
    Sink.exports = {
        kind: [b"\n".join(all_[at : at + _AT_ONCE]) + b"\n" for at in range(0, len(all_), _AT_ONCE)]
        for kind, all_ in lines.items()
    }
    ThreadingHTTPServer(("127.0.0.1", port), Sink).serve_forever()


if __name__ == "__main__":
    main()
