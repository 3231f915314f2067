"""`shelfsight backfill status`, `pause` and `resume`: of a backfill that runs here or on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    del group
