"""How a run of a backfill ended, for people and for programs."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfsight.backfill.rules import document_of, spoken, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.rules import Checkpoint, Record, Refused
    from shelfsight.backfill.work import Findings

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How things stand after a run.

    Attributes:
        findings: of the verification at the end; None where it did not come to that.
        stopped_by: the signal that asked for the end before it.
        did_nothing: it was finished before.
    """

    backfill: str
    checkpoint: Checkpoint
    refused: Sequence[Refused] = ()
    findings: Findings | None = None
    warnings: Sequence[str] = ()
    stopped_by: int | None = None
    did_nothing: bool = False

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0 finished, 130 or 143 stopped, 1 something is left that needs a person."""
        if self.did_nothing:
            return 0
        if not self.checkpoint.is_finished:
            return 1 if self.stopped_by is None else 128 + self.stopped_by
        return 1 if self.refused else 0

    @property
    def outcome(self) -> str:
        """In one word: finished, stopped, or failed."""
        if self.checkpoint.is_finished:
            return "finished"
        return "failed" if self.stopped_by is None else "stopped"

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        findings = self.findings
        return {
            "backfill": self.backfill,
            "outcome": self.outcome,
            "checkpoint": document_of(self.checkpoint),
            "verified": None if findings is None else {"counts": dict(findings.counts), "open": dict(findings.open)},
            "refused": refused_document(self.refused),
            "warnings": list(self.warnings),
        }

    def facts(self) -> list[tuple[str, str]]:
        """Return it as people read it: names and values."""
        values = sorted(self.checkpoint.values.items())
        facts = [("Outcome", self._said()), ("Phase", str(self.checkpoint.phase))]
        facts += [(_title(name), _shown(name, value)) for name, value in values if value is not None]
        facts += [("Worked for", spoken(self.checkpoint.worked_s))]
        if self.findings is not None:
            facts += [(f"Verified: {name}", f"{count:,}") for name, count in self.findings.counts.items()]
            facts += [(f"Left: {name}", f"{count:,}") for name, count in self.findings.open.items() if count]
        return facts + refused_facts(self.refused)

    def _said(self) -> str:
        if self.did_nothing:
            return "finished before; nothing was done (--reset starts over)"
        if self.outcome == "stopped" and self.stopped_by is not None:
            return f"stopped by {signal.Signals(self.stopped_by).name}; all that was begun is saved"
        return "not finished: the verification found what is left below" if self.outcome == "failed" else "finished"


def refused_facts(refused: Sequence[Refused]) -> list[tuple[str, str]]:
    """Return the first of what was refused, and how many there are for each reason."""
    if not refused:
        return []
    reasons = Counter(one.reason for one in refused).most_common(3)
    many = "; ".join(f"{count:,} × {reason}" for reason, count in reasons)
    first = ", ".join(one.key for one in refused[:_SHOWN]) + (" …" if len(refused) > _SHOWN else "")
    return [("Refused", f"{len(refused):,}: {many}"), ("Refused rows", first)]


def record_facts(name: str, record: Record, refused: Sequence[Refused]) -> list[tuple[str, str]]:
    """Return how a backfill stands, from its store alone."""
    checkpoint = record.checkpoint
    facts = Report(backfill=name, checkpoint=checkpoint).facts()[1:]
    holder = (record.holder or "").partition("/")[0]
    state = f"running on {holder}" if record.is_held else "not running"
    if checkpoint.is_alien:
        state = "written by something else: --reset starts over"
    elif checkpoint.is_finished:
        state = "finished"
    elif record.paused_by:
        state = f"paused by {record.paused_by} ({state})"
    saved = [("Saved", f"{checkpoint.updated_at:%Y-%m-%d %H:%M:%S} UTC")] if checkpoint.updated_at else []
    return [("State", state), *saved, *facts, *refused_facts(refused)]


def record_document(record: Record, refused: Sequence[Refused]) -> dict[str, Any]:
    """Return the same as JSON has it."""
    return {
        "checkpoint": document_of(record.checkpoint),
        "running_on": record.holder if record.is_held else None,
        "paused_by": record.paused_by,
        "refused": refused_document(refused),
    }


def refused_document(refused: Sequence[Refused]) -> list[dict[str, Any]]:
    """Return what was refused as JSON has it."""
    return [{"key": one.key, "phase": one.phase, "reason": one.reason} for one in refused]


def _shown(name: str, value: int | str) -> str:
    """Return a count with thousands apart, a key as it is."""
    return f"{value:,}" if isinstance(value, int) and not name.endswith(("_id", "_until")) else str(value)


def _title(name: str) -> str:
    return titled(name.replace("_", " "))
