"""Where checkpoints are kept: MongoDB, PostgreSQL or SQLite, all with the same promises.

Who works on a backfill claims its checkpoint and gets a number, higher than that of every earlier holder. Everything
is written under that number: whoever lost the claim while it slept is refused, and cannot move the checkpoint back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shelfsight.backfill.rules import backfill_of
from shelfsight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.rules import Checkpoint, Record, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to write a checkpoint; `token` is higher than that of every earlier holder."""

    name: str
    holder: str
    token: int
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is written together: a checkpoint, what was refused since the last one, and what is not any more."""

    checkpoint: Checkpoint
    refused: Sequence[Refused] = ()
    accepted: Sequence[Refused] = ()


class Checkpoints(Protocol):
    """A store of checkpoints. Every method raises UnavailableError where the store does not answer."""

    @property
    def place(self) -> str:
        """Where it is, without a password, as people are told."""

    def read(self, name: str) -> Record | None:
        """Return what is kept under a name; None: nothing."""

    def claim(self, name: str, holder: str, *, lasts_s: float, instead_of: str | None = None) -> Claim | None:
        """Return a claim on a name, None while another holds it.

        Args:
            lasts_s: so long it lasts when nothing is written under it.
            instead_of: a holder that is known to be dead.
        """

    def save(self, claim: Claim, written: Written) -> str | None:
        """Keep a checkpoint, which also renews the claim; return who has asked for a pause.

        Raises:
            ConflictError: another has taken the claim; nothing was written.
        """

    def renew(self, claim: Claim) -> str | None:
        """Hold the claim for another while; return who has asked for a pause.

        Raises:
            ConflictError: another has taken the claim.
        """

    def give_back(self, claim: Claim) -> None:
        """End the claim; one that is lost already is none of ours."""

    def pause(self, name: str, by: str | None) -> None:
        """Ask whoever works on it, or will, to wait; None: to go on.

        Raises:
            NotFoundError: nothing is kept under the name.
        """

    def refused(self, name: str) -> list[Refused]:
        """Return what could not be done, by phase and key."""

    def close(self) -> None:
        """Close its connections."""


def taken_over(name: str) -> ConflictError:
    """Return the error of who writes under a claim that is not its own any more."""
    return ConflictError(
        f"another runner has taken over {backfill_of(name)} while this one was stopped: "
        "nothing of this one was kept since then"
    )


def never_run(name: str, place: str) -> NotFoundError:
    """Return the error of who asks for a checkpoint that is not kept in a store."""
    return NotFoundError(f"there is no checkpoint of {backfill_of(name)} in {place}: it has never run")
