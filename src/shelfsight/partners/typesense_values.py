"""What Typesense is told, and what it answers, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCEPTED = b'{"success":true}'
_SHOWN = 300


class Action(StrEnum):
    """What an import does with a document whose id is there, and with one whose id is not."""

    CREATE = "create"
    """Adds it; refuses one that is there (409)."""
    UPDATE = "update"
    """Changes the fields it names; refuses one that is not there (404)."""
    UPSERT = "upsert"
    """Puts it in the place of one that is there."""
    EMPLACE = "emplace"
    """Changes the fields it names, or adds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a collection. `type`: `string`, `int64` and the others of Typesense; `infix`: found inside words."""

    name: str
    type: str
    optional: bool = True
    index: bool = True
    infix: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as Typesense is told."""
        return {
            "name": self.name,
            "type": self.type,
            "optional": self.optional,
            "index": self.index,
            "infix": self.infix,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a single document of an import was not taken; `code` as in HTTP, 0 where none was given."""

    code: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of the lines of an import.

    Attributes:
        count: so many lines were answered, which is all of them.
        refused: what was not taken, by the position of its line, from 0; every other line was.
        waits: so often the server asked for patience first (503).
    """

    count: int
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    waits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on asking a server that does not answer, or is lagging; waits double, up to the longest."""

    seconds: float = 60.0
    first_wait_s: float = 0.25
    longest_wait_s: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait for one answer: to a question, to an import, to a change of a schema, which indexes again."""

    connect_s: float = 5.0
    answer_s: float = 15.0
    import_s: float = 300.0
    alter_s: float = 3600.0


def refused_lines(answer: bytes, count: int) -> dict[int, Refusal] | None:
    """Return what was refused, by the position of its line; None if the answer is not one line for each."""
    lines = answer.rstrip(b"\n").split(b"\n")
    if len(lines) != count:
        return None
    try:
        results = [(position, orjson.loads(line)) for position, line in enumerate(lines) if line != _ACCEPTED]
        return {
            position: Refusal(int(result.get("code", 0)), str(result.get("error", "no reason given"))[:_SHOWN])
            for position, result in results
            if result["success"] is not True
        }
    except (orjson.JSONDecodeError, AttributeError, KeyError, ValueError):
        return None
