"""SQL of what every route shares: answers kept for requests that may come twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select, update

from shelfsight.database.tables import idempotency_keys as keys

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What a request was answered with."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRequest:
    """A request that has a key; `answer` is None while it runs, or when it was killed."""

    actor: str
    key: str
    fingerprint: str
    created_at: datetime
    answer: KeptAnswer | None = None


def find_request(connection: Connection, actor: str, key: str) -> KeptRequest | None:
    """Return what is kept of the request with that key."""
    row = connection.execute(select(keys).where(keys.c.actor == actor, keys.c.key == key)).one_or_none()
    if row is None:
        return None
    answer = None
    if row.status is not None:
        headers = tuple((name, value) for name, value in row.headers)
        answer = KeptAnswer(status=row.status, headers=headers, body=row.body or b"")
    return KeptRequest(actor=actor, key=key, fingerprint=row.fingerprint, created_at=row.created_at, answer=answer)


def insert_request(connection: Connection, request: KeptRequest) -> None:
    """Keep a request that begins. Two at once: the second is an IntegrityError."""
    connection.execute(
        insert(keys).values(
            actor=request.actor,
            key=request.key,
            fingerprint=request.fingerprint,
            created_at=request.created_at,
            headers=[],
        )
    )


def delete_request(connection: Connection, request: KeptRequest) -> bool:
    """Forget a request that was not answered, that very one; return False where it is no longer kept."""
    return connection.execute(delete(keys).where(_is_running(request))).rowcount == 1


def keep_answer(connection: Connection, request: KeptRequest, answer: KeptAnswer) -> None:
    """Keep the answer to a request that still runs, unless it was taken for dead."""
    connection.execute(
        update(keys)
        .where(_is_running(request))
        .values(status=answer.status, headers=[list(pair) for pair in answer.headers], body=answer.body)
    )


def purge(connection: Connection, before: datetime) -> int:
    """Delete what was kept before then; return how much it was."""
    return connection.execute(delete(keys).where(keys.c.created_at < before)).rowcount


def _is_running(request: KeptRequest) -> ColumnElement[bool]:
    return and_(
        keys.c.actor == request.actor,
        keys.c.key == request.key,
        keys.c.created_at == request.created_at,
        keys.c.status.is_(None),
    )
