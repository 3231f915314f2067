"""How long a backfill goes on trying what does not answer, and what it says meanwhile."""

from __future__ import annotations

import pytest

from shelfsight.backfill.patience import Patience
from shelfsight.backfill.stop import Stop
from shelfsight.errors import DatabaseError, UnavailableError
from tests.backfill.inventory.shop import Watched


class _Noting(Stop):
    """Nobody asks for the end; the waits, and how much had been told before each, are remembered."""

    def __init__(self, watch: Watched) -> None:
        super().__init__()
        self._watch = watch
        self.slept: list[float] = []
        self.told: list[int] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.told.append(len(self._watch.told))
        super().sleep(seconds)


def _away() -> None:
    raise UnavailableError("the search is away")


def test_every_wait_is_told_before_it_begins_and_all_of_them_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = Watched()
    stop = _Noting(watch)
    monkeypatch.setattr("shelfsight.backfill.patience._FIRST_WAIT_S", 0.1)
    with pytest.raises(UnavailableError):
        Patience(stop, watch, seconds=0.5)(_away)

    assert stop.told == list(range(1, len(stop.slept) + 1))
    assert stop.slept[0] == 0.1
    assert sum(stop.slept) < 0.51  # doubled each time, the third would make it 0.7
    assert watch.told[0] == "the search is away; trying again in 0.1 s"


def test_without_patience_nothing_is_tried_again() -> None:
    watch = Watched()
    with pytest.raises(UnavailableError):
        Patience(Stop(), watch, seconds=0)(_away)
    assert watch.told == []


def test_an_error_that_waiting_does_not_mend_is_raised_at_once() -> None:
    def refused() -> None:
        raise DatabaseError("no such user")

    watch = Watched()
    with pytest.raises(DatabaseError):
        Patience(Stop(), watch, seconds=30)(refused, unless=DatabaseError)
    assert watch.told == []
