"""Requests that were refused, in the audit: few enough a minute that nobody can fill the disk with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import structlog

from shelfsight.access import audit
from shelfsight.access.rate import Rate, network_of
from shelfsight.errors import ConflictError, DatabaseError

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

PER_MINUTE_AND_ADDRESS = 60
PER_MINUTE = 600
_AUDITED = frozenset({400, 401, 403, 413, 415, 422, 429})
_LONGEST_PATH = 200
_CLIMBS = re.compile(r"(^|[/\\])\.\.([/\\]|$)|\\|\x00")
_log = structlog.get_logger()


class RefusalLog:
    """Writes refusals to the audit. One for each process; safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        """Write to the audit of `database`."""
        self._database = database
        self._per_address = Rate(PER_MINUTE_AND_ADDRESS)
        self._in_all = Rate(PER_MINUTE)

    def note(self, actor: str, address: str | None, method: str, path: str, status: int, code: str) -> None:
        """Add an entry `request_refused`, if the answer is a refusal, or the path tries to leave where it may go.

        It writes to the database, so an event loop calls it in a thread; that the database is away harms nobody.

        Args:
            path: as it was sent, percent-encoded, without the query, which may hold a secret.
            code: what was wrong, such as `not_found`.
        """
        if not is_refusal(status, path):
            return
        if not (self._per_address.allows(network_of(address)) and self._in_all.allows("")):
            return
        details = {"method": _printable(method), "path": _printable(path), "status": status, "code": code}
        try:
            self._write(actor, address, details)
        except (ConflictError, DatabaseError):
            _log.warning("refusal_not_audited", actor=actor, status=status, code=code)

    def _write(self, actor: str, address: str | None, details: dict[str, Any]) -> None:
        with self._database.write(actor=actor) as connection:
            audit.record(connection, actor=actor, action="request_refused", address=address, details=details)


def is_refusal(status: int, path: str) -> bool:
    """Return whether an answer goes to the audit; a path is as it was sent, percent-encoded once or more often."""
    plain = unquote(unquote(path))
    return status in _AUDITED or (400 <= status < 500 and _CLIMBS.search(plain) is not None)


def _printable(text: str) -> str:
    """Return the beginning of `text` as any database holds it and any terminal shows it."""
    short = text[:_LONGEST_PATH]
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in short)
