"""Documents on their way to the search, and what it says of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from shelfsight.backfill.rules import Refused
from shelfsight.backfill.work import Done
from shelfsight.errors import UnavailableError
from shelfsight.partners.typesense import Action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.inventory_fields.store.products import Products
    from shelfsight.partners.typesense import ImportResult, Refusal, Typesense

COLLECTION = "products_search"
_ABSENT = 404
_LATER = {408, 425, 429, 500, 502, 503, 504}
_LOOKS_MOST = 3


def send(typesense: Typesense, text: bytes, *, phase: int) -> Done:
    """Return what became of the documents of rows, one a line.

    Documents that are not in the search stay out of it: a product may be missing there on purpose, or was deleted
    while its document was on its way.

    Raises:
        UnavailableError: it is not known of all; doing it again does no harm.
    """
    result = _import(typesense, text)
    refusals = {position: one for position, one in result.refused.items() if one.code != _ABSENT}
    lines = text.split(b"\n") if refusals else []
    refused = [_refused(orjson.loads(lines[position])["id"], phase, one) for position, one in refusals.items()]
    return Done(
        counts={
            "updated_typesense": result.count - len(result.refused),
            "not_in_typesense": len(result.refused) - len(refused),
        },
        refused=refused,
        waits=result.waits,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of documents that were settled, by their ids.

    Attributes:
        from_rows: these say now what their rows say.
        defaulted: these have no row, and say 0 and 0.
        refused: these were not taken.
    """

    from_rows: Sequence[str]
    defaulted: Sequence[str]
    refused: Sequence[Refused]
    waits: int


def settle(typesense: Typesense, products: Products, ids: Sequence[str], *, phase: int) -> Settled:
    """Let documents say what their rows say now, and 0 and 0 where there is no row.

    The rows are looked at just before, and again afterwards: a product may have been created, or changed, meanwhile.
    Documents that are not in the search stay out of it.

    Raises:
        UnavailableError: it is not known of all; doing it again does no harm.
    """
    said: dict[str, bytes] = {}
    refusals: dict[str, Refusal] = {}
    rows: dict[str, bytes] = {}
    waits = 0
    for _ in range(_LOOKS_MOST):
        rows = products.lines_of(ids)
        wanted = {one: rows.get(one) or _default(one) for one in ids}
        changed = {one: line for one, line in wanted.items() if said.get(one) != line}
        if not changed:
            break
        result = _import(typesense, b"\n".join(changed.values()))
        for position, key in enumerate(changed):
            refusals.pop(key, None)  # it may have been refused for what its row said before
            if position in result.refused:
                refusals[key] = result.refused[position]
        said |= changed
        waits += result.waits
    taken = [one for one in ids if one not in refusals]
    return Settled(
        from_rows=[one for one in taken if one in rows],
        defaulted=[one for one in taken if one not in rows],
        refused=[_refused(one, phase, refusal) for one, refusal in refusals.items() if refusal.code != _ABSENT],
        waits=waits,
    )


def _import(typesense: Typesense, text: bytes) -> ImportResult:
    result = typesense.import_documents(COLLECTION, text, Action.UPDATE)
    later = [refusal for refusal in result.refused.values() if refusal.code in _LATER]
    if later:
        raise UnavailableError(f"Typesense did not take {len(later)} documents ({later[0].code}: {later[0].error})")
    return result


def _refused(key: str, phase: int, refusal: Refusal) -> Refused:
    return Refused(key=key, phase=phase, reason=f"Typesense answers {refusal.code}: {refusal.error}")


def _default(document_id: str) -> bytes:
    return orjson.dumps({"id": document_id, "created_at": 0, "deleted_at": 0})
