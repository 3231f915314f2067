"""What is known of a backfill between two pages, how big the next page is, and how long it all takes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | str | None
"""What a checkpoint keeps: a count, or a key."""

SMALLEST_PAGE = 50
LARGEST_PAGE = 20_000
_GROWS_BY = 1.25
_NEAR = 0.8
"""A page between this share of the wanted time and its inverse keeps its size."""
_FIRST_REST_S = 0.5
_LONGEST_REST_S = 30.0

_PREFIX = "backfill_"
_OWN = {"_id", "phase", "state", "started_at", "updated_at", "finished_at", "worked_s"}
_LEASE = {"lease", "paused_by"}
_FINISHED = "finished"
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a backfill is.

    Attributes:
        phase: which of its phases it is in, from 1.
        values: where it is and what it has counted, by the names that the backfill gave them.
        worked_s: seconds of all its runs together, sleeps included.
        is_alien: something else wrote it; nobody can go on from there.
    """

    name: str
    phase: int = 1
    values: Mapping[str, Value] = field(default_factory=dict)
    started_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None
    worked_s: float = 0.0
    is_alien: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished_at is not None

    def count(self, name: str) -> int:
        """Return a number of `values`, 0 where it is not there."""
        value = self.values.get(name)
        return value if isinstance(value, int) else 0

    def advanced(self, position: Mapping[str, Value], counts: Mapping[str, int]) -> Checkpoint:
        """Return it behind a page: at that position, with the counts of the page added."""
        added = {name: self.count(name) + more for name, more in counts.items()}
        return replace(self, values={**self.values, **position, **added})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that could not be done: by its key, in which phase, and why."""

    key: str
    phase: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A checkpoint as it lies in its store, and who works on it.

    Attributes:
        token: how often somebody has taken it; each holder knows its own.
        holder: the process that holds it, None = nobody.
        is_held: whether the holder's time has not run out.
        expires_at: when it does.
        paused_by: who has asked it to wait.
    """

    checkpoint: Checkpoint
    token: int = 0
    holder: str | None = None
    is_held: bool = False
    expires_at: datetime | None = None
    paused_by: str | None = None


def document_name(backfill: str) -> str:
    """Return the name of a backfill's checkpoint: `backfill_inventory_fields`."""
    return f"{_PREFIX}{backfill.replace('-', '_')}"


def backfill_of(document: str) -> str:
    """Return what people call the backfill whose checkpoint has that name: `inventory-fields`."""
    return document.removeprefix(_PREFIX).replace("_", "-")


def document_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint as stores keep it; times are text."""
    return {
        "_id": checkpoint.name,
        "phase": checkpoint.phase,
        "state": _FINISHED if checkpoint.is_finished else _UNFINISHED,
        **checkpoint.values,
        "started_at": _text(checkpoint.started_at),
        "updated_at": _text(checkpoint.updated_at),
        "finished_at": _text(checkpoint.finished_at),
        "worked_s": round(checkpoint.worked_s, 3),
    }


def checkpoint_of(document: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint of a document; of one that is none, a checkpoint that is alien."""
    name, phase = str(document.get("_id")), document.get("phase", 1)
    values = {key: value for key, value in document.items() if key not in _OWN | _LEASE}
    is_ours = isinstance(phase, int) and phase >= 1 and document.get("state", _UNFINISHED) in {_FINISHED, _UNFINISHED}
    if not is_ours or not all(value is None or isinstance(value, int | str) for value in values.values()):
        return Checkpoint(name=name, is_alien=True)
    return Checkpoint(
        name=name,
        phase=phase,
        values=values,
        started_at=_moment(document.get("started_at")),
        updated_at=_moment(document.get("updated_at")),
        finished_at=_moment(document.get("finished_at")),
        worked_s=float(document.get("worked_s") or 0),
    )


class Strain(StrEnum):
    """Whether others suffer: a replica lags, somebody waits for a lock, or the other side asks for patience."""

    NONE = "none"
    NEW = "new"
    """They do; nothing was done about it yet."""
    SAME = "same"
    """They did when somebody last looked, and something was done about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How big the next page is, and how long to rest before it.

    Attributes:
        sleep_s: after each page, as the operator wants it.
        page_time_s: how long a page should take, None = whatever its size takes.
        rest_s: more sleep, because others suffered.
    """

    size: int
    sleep_s: float = 0.0
    page_time_s: float | None = None
    rest_s: float = 0.0

    @property
    def pause_s(self) -> float:
        """How long to wait after a page."""
        return self.sleep_s + self.rest_s

    def after(self, took_s: float, strain: Strain) -> Pace:
        """Return the pace after a page that took so long, while others suffered so much."""
        if self.page_time_s is None or strain is Strain.SAME:
            return self
        if strain is Strain.NEW:
            rest_s = min(max(self.rest_s * 2, _FIRST_REST_S), _LONGEST_REST_S)
            return replace(self, size=_bounded(self.size // 2), rest_s=rest_s)
        calmer = replace(self, rest_s=self.rest_s / 2 if self.rest_s > _FIRST_REST_S else 0.0)
        if took_s < self.page_time_s * _NEAR:
            return replace(calmer, size=_bounded(math.ceil(self.size * _GROWS_BY)))
        if took_s > self.page_time_s / _NEAR:
            return replace(calmer, size=_bounded(int(self.size / _GROWS_BY)))
        return calmer


def expected_s(rows: int, *, page_size: int, sleep_s: float, rows_per_s: float) -> tuple[float, float]:
    """Return how long rows take: seconds of work, and seconds of sleep between pages."""
    pages = math.ceil(rows / page_size)
    return rows / rows_per_s, max(pages - 1, 0) * sleep_s


def spoken(seconds: float) -> str:
    """Return a time as people say it: `58 min 20 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def titled(name: str) -> str:
    """Return a name as it begins a line; what else is large in it stays so."""
    return name[:1].upper() + name[1:]


def _bounded(size: int) -> int:
    return max(SMALLEST_PAGE, min(size, LARGEST_PAGE))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
