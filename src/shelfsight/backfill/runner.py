"""Runs a backfill from where its checkpoint is to the end, or until somebody asks for the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shelfsight.backfill.journal import Journal
from shelfsight.backfill.lease import LASTS_S, held
from shelfsight.backfill.patience import Patience
from shelfsight.backfill.pipeline import Crew, Pipeline
from shelfsight.backfill.report import Report
from shelfsight.backfill.rules import Checkpoint, document_name
from shelfsight.backfill.stop import EndAskedError
from shelfsight.errors import ConflictError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.checkpoints import Checkpoints
    from shelfsight.backfill.lease import Lease
    from shelfsight.backfill.patience import Watch
    from shelfsight.backfill.rules import Pace, Refused
    from shelfsight.backfill.stop import Stop
    from shelfsight.backfill.work import Backfill, Phase

_MENDS_MOST = 3
"""So often what was found open is mended; a shop at work changes things again meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a runner works.

    Attributes:
        pace: of the first page.
        patience_s: so long something is tried again that does not answer.
        lasts_s: of the claim on the checkpoint, without a sign of life.
    """

    pace: Pace
    patience_s: float = 600.0
    lasts_s: float = LASTS_S


class Runner:
    """Runs one backfill, wherever its checkpoint comes from."""

    def __init__(
        self, backfill: Backfill, checkpoints: Checkpoints, *, terms: Terms, stop: Stop, watch: Watch
    ) -> None:
        """Run `backfill` with its checkpoint in `checkpoints`; nothing is asked of either yet."""
        self._backfill = backfill
        self._checkpoints = checkpoints
        self._terms = terms
        self._stop = stop
        self._watch = watch
        self._patience = Patience(stop, watch, seconds=terms.patience_s)
        self._name = document_name(backfill.name)

    def run(self, *, reset: bool = False, retry: bool = False) -> Report:
        """Do what is left and return how it ended; of a finished one, do nothing.

        Args:
            reset: start over.
            retry: also try once more what was refused.

        Raises:
            ConflictError: another runner is at work, or has taken over; or the checkpoint is not one of ours.
            UnavailableError: something does not answer, for longer than the patience.
            ShelfsightError: what `Backfill.check` says; nothing was changed.
        """
        found = self._checkpoints.read(self._name)
        if found is not None and found.checkpoint.is_alien and not reset:
            raise ConflictError(
                f"the checkpoint of {self._backfill.name} was written by something else: start over with --reset"
            )
        if found is not None and found.checkpoint.is_finished and not reset and not retry:
            return replace(self._report(found.checkpoint), did_nothing=True)
        lease = held(
            self._checkpoints, self._name, stop=self._stop, tell=self._watch.tell, lasts_s=self._terms.lasts_s
        )
        try:
            # A database that lets nobody in is a wrong setting rather than one that is away: that is said at once.
            self._patience(self._backfill.check, unless=DatabaseError)
            with lease as mine:
                return self._under(mine, reset=reset, retry=retry)
        except EndAskedError:  # while it waited for the other side, the lease, or the store
            found = self._checkpoints.read(self._name)
            return self._report(Checkpoint(name=self._name) if found is None else found.checkpoint)

    def _under(self, lease: Lease, *, reset: bool, retry: bool) -> Report:
        """Do the work under a lease."""
        found = self._checkpoints.read(self._name)
        fresh = Checkpoint(name=self._name)
        journal = Journal(lease, fresh if reset or found is None else found.checkpoint, self._patience)
        refused = self._checkpoints.refused(self._name)
        journal.save(accepted=refused if reset else ())
        try:
            self._patience(self._backfill.prepare)
            if not journal.checkpoint.is_finished:
                self._phases(journal)
            if retry and not reset:
                self._retry(journal, refused)
            return self._verified(journal)
        except EndAskedError:  # what had to wait is not done, and comes again
            return self._report(journal.checkpoint)

    def _phases(self, journal: Journal) -> None:
        for number, phase in enumerate(self._backfill.phases(), 1):
            if number >= journal.checkpoint.phase:
                self._run(journal, number, phase)

    def _run(self, journal: Journal, number: int, phase: Phase) -> None:
        crew = Crew(
            journal=journal,
            patience=self._patience,
            stop=self._stop,
            watch=self._watch,
            pressure=self._backfill.pressure,
        )
        journal.enter(number)
        Pipeline(phase, crew, self._terms.pace).run()
        self._stop.check()

    def _retry(self, journal: Journal, refused: Sequence[Refused]) -> None:
        for start in range(0, len(refused), self._terms.pace.size):
            part = refused[start : start + self._terms.pace.size]
            done = self._patience(lambda part=part: self._backfill.retry(part))  # type: ignore[misc]
            again = {(one.phase, one.key) for one in done.refused}
            accepted = [one for one in part if (one.phase, one.key) not in again]
            journal.save(counts=done.counts, refused=done.refused, accepted=accepted)
            self._watch.tell(f"{len(accepted):,} of {len(part):,} that had been refused are done now")

    def _verified(self, journal: Journal) -> Report:
        """Look whether everything is done and mend what is not, a few times; if nothing is left, it is finished."""
        last = len(self._backfill.phases()) + 1
        for left in reversed(range(_MENDS_MOST + 1)):
            self._watch.tell("verifying")
            refused = self._checkpoints.refused(self._name)
            findings = self._patience(lambda refused=refused: self._backfill.survey(refused))  # type: ignore[misc]
            if findings.is_clean:
                journal.finish()
            if findings.is_clean or not left:
                break
            self._run(journal, last, self._backfill.mend(refused))
        warnings = tuple(self._patience(self._backfill.warnings))
        return replace(self._report(journal.checkpoint), findings=findings, warnings=warnings)

    def _report(self, checkpoint: Checkpoint) -> Report:
        return Report(
            backfill=self._backfill.name,
            checkpoint=checkpoint,
            refused=tuple(self._checkpoints.refused(self._name)),
            stopped_by=self._stop.signal,
        )
