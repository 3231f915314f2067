"""How a device hears, with any answer, that its config has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.catalog.store import channels

if TYPE_CHECKING:
    from sqlalchemy import Connection

SEQUENCE_HEADER = "X-Shelfsight-Sequence"
"""Of the channel's config: a device that has an older one asks for it."""


def sequence_header(tx: Connection, channel_id: str) -> dict[str, str]:
    """Return the header that says how often a channel's config has changed.

    Raises:
        NotFoundError: there is no such channel.
    """
    return {SEQUENCE_HEADER: str(channels.sequence(tx, channel_id))}
