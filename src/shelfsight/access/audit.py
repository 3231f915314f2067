"""The audit: who did what, or was refused; written in the transaction of what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from shelfsight.database.tables import audit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection


REFUSED = "request_refused"
"""The action of what was not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit; ids count up."""

    id: int
    at: datetime
    actor: str
    action: str
    channel: str | None
    subject: str | None
    address: str | None
    details: Mapping[str, Any]


def record(  # noqa: PLR0913 (an entry has that many parts, and all but two may be left out)
    connection: Connection,
    *,
    actor: str,
    action: str,
    channel: str | None = None,
    subject: str | None = None,
    address: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry.

    Args:
        action: what happened, in the past: `product_deleted`, `request_refused`.
        subject: the id of what it happened to, within the channel.
        details: anything that JSON holds; never a secret.
    """
    connection.execute(
        insert(audit).values(
            actor=actor,
            action=action,
            channel_id=channel,
            subject=subject,
            address=address,
            details=dict(details or {}),
        )
    )


def list_entries(
    connection: Connection, *, channel: str | None = None, before: int | None = None, limit: int
) -> list[AuditEntry]:
    """Return entries, newest first.

    Args:
        channel: of this channel only.
        before: only those with a lower id.
        limit: that many at most.
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if channel is not None:
        query = query.where(audit.c.channel_id == channel)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [
        AuditEntry(
            id=row.id,
            at=row.at,
            actor=row.actor,
            action=row.action,
            channel=row.channel_id,
            subject=row.subject,
            address=row.address,
            details=row.details,
        )
        for row in connection.execute(query)
    ]


def purge_refusals(connection: Connection, before: datetime) -> int:
    """Delete refused requests from before then, and return how many; what was done stays for ever."""
    old = delete(audit).where(audit.c.action == REFUSED, audit.c.at < before)
    return connection.execute(old).rowcount
