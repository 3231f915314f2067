"""What a lease is for. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exclusive:
    """Work that one process at a time may do.

    Attributes:
        name: of its lease. That of work for a channel ends with a colon and the channel's id; others have no colon.
        what: the work in words, such as `a sync of T_1 with Vendure`.
    """

    name: str
    what: str
