"""What a backfill is: a few phases, each of them pages of work in the order of a key.

A page is read and then sent. Reading may write to where it reads from; sending returns when the other side has it.
Both may happen twice to the same rows, after a kill or a lost answer, and must come to the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.backfill.rules import Pace, Refused, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was read for one page of work.

    Attributes:
        rows: how many it has, for the progress shown.
        position: what the checkpoint says once it is done, such as `{"last_id": 4711}`.
        counts: what reading it has done, to be added.
        refused: rows that could not be written while reading.
        load: what to send, known to its phase alone.
    """

    rows: int
    position: Mapping[str, Value]
    counts: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[Refused] = ()
    load: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of sending.

    Attributes:
        counts: what was done, to be added to those of the checkpoint.
        refused: what the other side did not take, and why.
        waits: so often it asked for patience.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[Refused] = ()
    waits: int = 0


class Note(Protocol):
    """Keeps values in the checkpoint at once: what is about to be done, so that a kill in the middle can be told."""

    def __call__(self, values: Mapping[str, Value], /) -> None:
        """Return when they are kept."""


class Phase(Protocol):
    """A part of a backfill: `title` is what its progress bar says."""

    @property
    def title(self) -> str:
        """What its progress is called, such as `products`."""

    def total(self) -> int:
        """Return about how many rows it has in all."""

    def done(self, values: Mapping[str, Value]) -> int:
        """Return how many of them are done, by the checkpoint."""

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:
        """Return the page of at most `size` rows behind a position, None when there are no more.

        Raises:
            UnavailableError: it could not be read now; a later try may work.
        """

    def send(self, page: Page) -> Done:
        """Return when the other side has the page. Called from another thread than `read`.

        Raises:
            UnavailableError: it may have it or not; a later try may work.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a backfill is about to do, as facts to be read: (`Expected time`, `58 min 20 s …`), and warnings."""

    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """How things stand: what is counted, and what of it is still to be done (nothing, after a backfill)."""

    counts: Mapping[str, int]
    open: Mapping[str, int]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is to be done."""
        return not any(self.open.values())


class Backfill(Protocol):
    """A resumable migration."""

    @property
    def name(self) -> str:
        """What its command is called, such as `inventory-fields`."""

    def check(self) -> None:
        """Return when everything that it needs is there and as it must be; changes nothing.

        Raises:
            ShelfsightError: something is missing, or alien: one sentence.
        """

    def plan(self, pace: Pace) -> Plan:
        """Return what it would do at that pace; changes nothing."""

    def survey(self, refused: Sequence[Refused]) -> Findings:
        """Return what it would do, counted in full, without what was refused before; changes nothing."""

    def prepare(self) -> None:
        """Make what the first page needs, such as a field of a schema; again at each start."""

    def phases(self) -> Sequence[Phase]:
        """Return its phases, in their order."""

    def mend(self, refused: Sequence[Refused]) -> Phase:
        """Return the phase that does what the last survey has found open, without what was refused."""

    def retry(self, refused: Sequence[Refused]) -> Done:
        """Try again what was refused; what is not in the answer's `refused` is done now."""

    def pressure(self) -> str | None:
        """Return who suffers, such as a replica that lags; None = nobody.

        Called about once a second, if the pace is adaptive, from the thread that sends: while `read` is at work.
        """

    def warnings(self) -> Sequence[str]:
        """Return what the operator should know at the end."""
