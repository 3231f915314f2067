"""The checkpoint of a run, and the only way in which it is saved."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.backfill.checkpoints import Written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.backfill.lease import Lease
    from shelfsight.backfill.patience import Patience
    from shelfsight.backfill.rules import Checkpoint, Refused, Value


class Journal:
    """Saves the checkpoint under a lease.

    Attributes:
        checkpoint: as it was last saved.
    """

    def __init__(self, lease: Lease, checkpoint: Checkpoint, patience: Patience) -> None:
        """Go on from a checkpoint; nothing is saved yet."""
        self.lease = lease
        self.checkpoint = replace(checkpoint, started_at=checkpoint.started_at or datetime.now(UTC))
        self._patience = patience
        self._clock = time.monotonic()

    def save(
        self,
        *,
        position: Mapping[str, Value] | None = None,
        counts: Mapping[str, int] | None = None,
        refused: Sequence[Refused] = (),
        accepted: Sequence[Refused] = (),
    ) -> None:
        """Save that it is at that position, with the counts added, and what is refused now or not any more.

        Raises:
            ConflictError: another runner has taken over.
            UnavailableError, EndAskedError: as `Patience`.
        """
        self._save(self.checkpoint.advanced(position or {}, counts or {}), refused, accepted)

    def note(self, values: Mapping[str, Value]) -> None:
        """Save values at once: what is about to be done."""
        self.save(position=values)

    def enter(self, phase: int) -> None:
        """Save that a phase begins, or goes on."""
        self._save(replace(self.checkpoint, phase=phase))

    def finish(self) -> None:
        """Save that nothing is left."""
        self._save(replace(self.checkpoint, finished_at=self.checkpoint.finished_at or datetime.now(UTC)))

    def _save(
        self, checkpoint: Checkpoint, refused: Sequence[Refused] = (), accepted: Sequence[Refused] = ()
    ) -> None:
        now = time.monotonic()
        worked_s = checkpoint.worked_s + now - self._clock
        after = replace(checkpoint, worked_s=worked_s, updated_at=datetime.now(UTC))
        self._patience(lambda: self.lease.save(Written(checkpoint=after, refused=refused, accepted=accepted)))
        self.checkpoint, self._clock = after, now
