"""How often a worker looks for jobs, shows that it is alive, and waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds; the defaults are for real use, tests are in more of a hurry.

    Attributes:
        poll_s: between two looks into the queue of a kind.
        beat_s: between two heartbeats of a worker.
        dead_after_s: a worker that was silent for so long is dead. Its jobs are taken over within this, `beat_s` and
            `poll_s` together.
        look_s: how old the answer of `Job.should_stop` may be.
        retry_s: before the second attempt of a step; doubled before each one after it.
    """

    poll_s: float = 0.05
    beat_s: float = 5.0
    dead_after_s: float = 20.0
    look_s: float = 0.5
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would declare a worker dead between two of its heartbeats."""
        if not 0 < 2 * self.beat_s <= self.dead_after_s:
            raise ValueError(f"dead_after_s is {self.dead_after_s}, wanted twice beat_s ({self.beat_s}) or more")
