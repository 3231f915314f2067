"""The claim on a checkpoint while a runner works: renewed in the background, given back at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from shelfsight.backfill.checkpoints import taken_over
from shelfsight.backfill.rules import backfill_of
from shelfsight.beside import beside
from shelfsight.errors import ConflictError, UnavailableError
from shelfsight.leases.holder import is_dead, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from threading import Event

    from shelfsight.backfill.checkpoints import Checkpoints, Claim, Written
    from shelfsight.backfill.rules import Record
    from shelfsight.backfill.stop import Stop

LASTS_S = 30.0
"""How long a claim lasts without a sign of life; after that, any machine may go on."""
_LOOKS_EVERY_S = 0.5


class Tell(Protocol):
    """Says something to the operator."""

    def __call__(self, text: str, /) -> None:
        """Say it."""


class Lease:
    """A claim that is ours until somebody takes it, or we cannot be sure any more."""

    def __init__(self, checkpoints: Checkpoints, claim: Claim) -> None:
        """Hold `claim`, which was just got."""
        self._checkpoints = checkpoints
        self._claim = claim
        self._is_lost = False
        self._clocks = _Clocks()
        self.paused_by: str | None = None

    def save(self, written: Written) -> None:
        """Keep a checkpoint.

        Raises:
            ConflictError: another has taken over.
            UnavailableError: the store does not answer.
        """
        began = _Clocks()
        self._heard(began, self._checkpoints.save(self._claim, written))

    def renew(self) -> None:
        """Show a sign of life, and hear whether a pause is asked for.

        Raises:
            ConflictError: another has taken over.
            UnavailableError: the store does not answer.
        """
        began = _Clocks()
        try:
            self._heard(began, self._checkpoints.renew(self._claim))
        except ConflictError:
            self._is_lost = True
            raise

    def check(self) -> None:
        """Return while the claim is surely ours; asks the store if it has not heard of us for too long.

        Raises:
            ConflictError: another has taken over.
            UnavailableError: the store does not answer.
        """
        if self._is_lost:
            raise taken_over(self._claim.name)
        if self._clocks.since_s() > self._claim.lasts_s:
            self.renew()

    def give_back(self) -> None:
        """Let another have it at once."""
        with suppress(UnavailableError):  # then it ends by itself
            self._checkpoints.give_back(self._claim)

    def beat(self, is_over: Event) -> None:
        """Renew until it is over, or lost."""
        while not is_over.wait(self._claim.lasts_s / 3):
            try:
                self.renew()
            except ConflictError:
                return
            except UnavailableError:
                continue  # `check` asks again when that has lasted too long

    def _heard(self, began: _Clocks, paused_by: str | None) -> None:
        self._clocks = began
        self.paused_by = paused_by


class _Clocks:
    """A moment by two clocks: one stands still while the machine is suspended, the other may be set."""

    def __init__(self) -> None:
        self._monotonic, self._wall = time.monotonic(), time.time()

    def since_s(self) -> float:
        """Return how long it may be ago."""
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)


@contextmanager
def held(checkpoints: Checkpoints, name: str, *, stop: Stop, tell: Tell, lasts_s: float = LASTS_S) -> Iterator[Lease]:
    """Yield the lease on a checkpoint. One whose holder shows no sign of life is waited for, and taken over.

    Raises:
        ConflictError: another runner is at work.
        EndAskedError: somebody asked for the end while it waited.
        UnavailableError: the store does not answer.
    """
    lease = Lease(checkpoints, _claimed(checkpoints, name, stop, tell, lasts_s))
    try:
        with beside(lease.beat, name="backfill-lease"):
            yield lease
    finally:
        lease.give_back()


def _claimed(checkpoints: Checkpoints, name: str, stop: Stop, tell: Tell, lasts_s: float) -> Claim:
    seen: tuple[int, datetime | None] | None = None
    backfill = backfill_of(name)
    while True:
        found = checkpoints.read(name)
        claim = checkpoints.claim(name, this_process(), lasts_s=lasts_s, instead_of=_dead(found))
        if claim is not None:
            return claim
        if found is not None and found.is_held:
            sign = (found.token, found.expires_at)
            if seen is None:
                tell(f"{backfill} is held by {_who(found)}: taking over unless it shows a sign of life")
            elif sign != seen:
                raise ConflictError(f"{backfill} is being worked on by {_who(found)}: stop that one first")
            seen = sign
        stop.sleep(_LOOKS_EVERY_S)


def _dead(found: Record | None) -> str | None:
    """Return the holder if it is known to be no more: a killed one on this machine need not be waited for."""
    return found.holder if found is not None and found.holder is not None and is_dead(found.holder) else None


def _who(found: Record) -> str:
    """Return machine and process of a holder, without what nobody wants to read."""
    machine, _, process = (found.holder or "?").rpartition(":")
    return f"process {process} on {machine.partition('/')[0]}"
