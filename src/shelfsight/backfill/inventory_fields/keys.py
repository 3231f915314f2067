"""The types that a table's key may have, and what SQL does with each. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.rules import Value

_WHOLE = re.compile(r"(?:0|-?[1-9][0-9]{0,18})", re.ASCII)
_DIGITS_OF_SOME = 19
"""Of numbers with so many digits, some are too large for a bigint."""
_WHOLES = re.compile(r"(?:[1-9][0-9]{0,17}\n)*", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUIDS = re.compile(rf"(?:{_UUID.pattern}\n)*")
_ANY = re.compile(r"[^\x00]*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyType:
    """How keys of one type are compared, spread and written.

    Attributes:
        sql: the type's name.
        json: an expression of the key as a JSON string.
        spread: an expression of a whole number that spreads neighbouring keys.
        written: what the text of a key looks like; a document's id that looks otherwise has no row.
        many: the same of usual keys, many at once with a line feed after each: much quicker than one by one.
    """

    sql: str
    json: str
    spread: str
    written: re.Pattern[str]
    many: re.Pattern[str]

    def value(self, text: str) -> Value:
        """Return a key as checkpoints keep it."""
        return int(text) if self.written is _WHOLE else text

    def told_apart(self, ids: Sequence[str]) -> tuple[Sequence[str], list[str]]:
        """Return the ids that may be keys, and those that cannot be."""
        if self.many.fullmatch("\n".join([*ids, ""])):
            return ids, []
        possible = [one for one in ids if self._is_key(one)]
        return possible, [] if len(possible) == len(ids) else [one for one in ids if not self._is_key(one)]

    def _is_key(self, text: str) -> bool:
        if self.written.fullmatch(text) is None:
            return False
        return self.written is not _WHOLE or len(text) < _DIGITS_OF_SOME or -(2**63) <= int(text) < 2**63


_TEXT = KeyType(sql="text", json="to_json(id::text)::text", spread="hashtext(id::text)", written=_ANY, many=_ANY)
_NUMBER = KeyType(sql="bigint", json="'\"' || id || '\"'", spread="id", written=_WHOLE, many=_WHOLES)

KEY_TYPES = {
    "bigint": _NUMBER,
    "integer": _NUMBER,
    "smallint": _NUMBER,
    "uuid": KeyType(sql="uuid", json="'\"' || id || '\"'", spread="uuid_hash(id)", written=_UUID, many=_UUIDS),
    "text": _TEXT,
    "character varying": _TEXT,
}
"""By the names of PostgreSQL, which are those of information_schema."""
