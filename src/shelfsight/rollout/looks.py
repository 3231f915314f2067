"""What one look at the evidence leaves for the next, to be kept in between. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from shelfsight.rollout.comparison import Step, Tally, steps_between

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialState:
    """What one look leaves for the next; the first look of a stage begins with an empty one.

    Attributes:
        looked_at: the candidate's events at which the threshold was last looked at; 0 = never.
        candidate_errors, control_errors: of devices that have had any, at the last look.
        steps: which devices have reached how many errors, look by look.
    """

    looked_at: int = 0
    candidate_errors: Mapping[str, int] = field(default_factory=dict)
    control_errors: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def after(self, now: Tally, *, events: int, first_look: int) -> SequentialState:
        """Return what the next look leaves.

        Args:
            now: the errors of all devices that have reported anything.
            events: the candidate's.
            first_look: the number of events at which the threshold is first looked at.
        """
        then = Tally(candidate=self.candidate_errors, control=self.control_errors)
        return SequentialState(
            looked_at=max(self.looked_at, _last_double(first_look, events)),
            candidate_errors=_most_errors(then.candidate, now.candidate),
            control_errors=_most_errors(then.control, now.control),
            steps=(*self.steps, *steps_between(then, now)),
        )

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "lookedAt": self.looked_at,
            "candidateErrors": dict(self.candidate_errors),
            "controlErrors": dict(self.control_errors),
            "steps": [
                [one.level, one.candidate_waiting, one.control_waiting, one.candidate_reached, one.control_reached]
                for one in self.steps
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what `as_document` gave."""
        names = ("level", "candidate_waiting", "control_waiting", "candidate_reached", "control_reached")
        return cls(
            looked_at=document["lookedAt"],
            candidate_errors=document["candidateErrors"],
            control_errors=document["controlErrors"],
            steps=tuple(Step(**dict(zip(names, row, strict=True))) for row in document["steps"]),
        )


def _last_double(first: int, events: int) -> int:
    """Return the last of `first`, its double, its fourfold, ... that has been reached; 0 before the first."""
    return first << ((events // first).bit_length() - 1) if events >= first else 0


def _most_errors(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Return the errors of devices that have had any; a count that has become smaller stays what it was."""
    return {one: most for one in (*before, *now) if (most := max(before.get(one, 0), now.get(one, 0)))}
