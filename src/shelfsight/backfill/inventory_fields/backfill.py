"""`inventory-fields`: what it needs, what it is about to do, its phases, and how it is verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields import planning
from shelfsight.backfill.inventory_fields.comparison import Comparison
from shelfsight.backfill.inventory_fields.phases import MendPhase, RowsPhase, WithoutRowPhase
from shelfsight.backfill.inventory_fields.sending import COLLECTION, settle
from shelfsight.backfill.inventory_fields.store.connection import Connected
from shelfsight.backfill.inventory_fields.store.documents import Documents
from shelfsight.backfill.inventory_fields.store.layout import layout, measures
from shelfsight.backfill.inventory_fields.store.products import Products
from shelfsight.backfill.inventory_fields.table import TABLE
from shelfsight.backfill.inventory_fields.windows import set_rows
from shelfsight.backfill.work import Done, Findings, Plan
from shelfsight.errors import ConflictError
from shelfsight.partners.typesense import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.inventory_fields.table import Layout
    from shelfsight.backfill.rules import Pace, Refused
    from shelfsight.backfill.stop import Stop
    from shelfsight.backfill.work import Phase
    from shelfsight.partners.typesense import Typesense
    from shelfsight.settings import PostgresSettings

NAME = "inventory-fields"
_FIELDS = (Field(name="created_at", type="int64"), Field(name="deleted_at", type="int64"))
_WHOLE_TYPES = {"int64", "int32"}


class InventoryFields:
    """`created_at` and `deleted_at` for every product, in PostgreSQL and in the search."""

    name = NAME

    def __init__(
        self,
        postgres: PostgresSettings,
        typesense: Typesense,
        stop: Stop,
        *,
        page_size: int = 250,
        accepts_missing_rows: bool = False,
    ) -> None:
        """Work on that database and that search; nothing is asked of either yet.

        Args:
            page_size: of phase 2.
            accepts_missing_rows: also where most documents have no row.
        """
        self._reading = Connected(postgres)
        self._sending = Connected(postgres)
        self._typesense = typesense
        self._stop = stop
        self._page_size = page_size
        self._accepts_missing_rows = accepts_missing_rows
        self._known: _Known | None = None
        self._mended: MendPhase | None = None

    def close(self) -> None:
        """Close the connections to PostgreSQL."""
        self._reading.close()
        self._sending.close()

    def check(self) -> None:
        """Return when table and collection are there, and as they must be."""
        self._looked()
        for field in self._typesense.collection(COLLECTION)["fields"]:
            name, type_ = field["name"], field["type"]
            if name not in {one.name for one in _FIELDS}:
                continue
            if type_ not in _WHOLE_TYPES:
                raise ConflictError(
                    f"field {name} of collection {COLLECTION} is {type_}, not int64: drop that field first"
                )
            if field.get("index") is False:
                raise ConflictError(
                    f"field {name} of collection {COLLECTION} is not indexed, so that nobody could filter by it: "
                    "drop that field first"
                )

    def prepare(self) -> None:
        """Let the collection have the fields; old documents may lack them."""
        self._typesense.ensure_fields(COLLECTION, _FIELDS)

    def phases(self) -> Sequence[Phase]:
        """Return phase 1, products with a row, and phase 2, documents without one."""
        known = self._looked()
        return (
            RowsPhase(
                known.reading, self._typesense, strides=known.layout.strides, count=lambda: known.reading.counts()[0]
            ),
            WithoutRowPhase(
                known.comparison,
                known.sending,
                self._typesense,
                size=self._page_size,
                accepts_many=self._accepts_missing_rows,
            ),
        )

    def mend(self, refused: Sequence[Refused]) -> Phase:
        """Return the phase that mends what the last survey has found."""
        known = self._looked()
        self._mended = MendPhase(known.comparison, known.reading, known.sending, self._typesense, refused=refused)
        return self._mended

    def retry(self, refused: Sequence[Refused]) -> Done:
        """Set rows and send documents once more."""
        known = self._looked()
        counts = dict.fromkeys(("updated_supabase", "updated_typesense", "default_set_count"), 0)
        again: list[Refused] = []
        for phase in sorted({one.phase for one in refused}):
            keys = [one.key for one in refused if one.phase == phase]
            updated, not_set = set_rows(known.reading, known.reading.keys(keys), phase=phase)
            settled = settle(self._typesense, known.reading, keys, phase=phase)
            counts["updated_supabase"] += updated
            counts["updated_typesense"] += len(settled.from_rows)
            counts["default_set_count"] += len(settled.defaulted)
            again += [*not_set, *settled.refused]
        return Done(counts=counts, refused=again)

    def survey(self, refused: Sequence[Refused]) -> Findings:
        """Return what is still to be done; exports the whole collection and looks at the whole table.

        After something was mended, only what was to be mended then, and still is, counts as open: a shop at work
        changes things between export and comparison, and will go on to.
        """
        known, mended = self._looked(), self._mended
        but = [one.key for one in refused]
        known.comparison.forget()
        compared = known.comparison.whole()
        rows, unset = known.reading.counts(but=but)
        with_row, without_row = found = known.comparison.open(but=but)
        counts = {"rows": rows, "documents": compared.documents, "documents without a row": compared.without_row}
        if mended is not None:
            all_unset, unset = unset, known.reading.still_unset(sorted({*mended.keys} - {*but}))
            with_row, without_row = known.comparison.open(but=but, again=True)
            counts["changed while verifying"] = sum(found) - with_row - without_row + all_unset - unset
        return Findings(
            counts=counts,
            open={
                "rows without deleted_at": unset,
                "documents that do not say what their row says": with_row,
                "documents without a row that do not say 0": without_row,
            },
        )

    def plan(self, pace: Pace) -> Plan:
        """Return what it would do at that pace."""
        known = self._looked()
        found = measures(self._reading)
        collection = self._typesense.collection(COLLECTION)
        there = {field["name"] for field in collection["fields"]}
        missing = [field.name for field in _FIELDS if field.name not in there]
        facts = [
            ("Rows", f"{found.rows:,} in {TABLE}, {found.unset:,} of them without deleted_at"),
            ("Documents", f"{collection['num_documents']:,} in {COLLECTION}"),
            ("Schema", f"{', '.join(missing)} added, optional" if missing else "has both fields"),
            ("Locks", planning.locks(pace, known.layout)),
            ("Expected time", planning.expected(found, pace)),
            ("Expected growth", planning.growth(found, known.layout)),
        ]
        return Plan(facts=facts, warnings=planning.plan_warnings(found, known.layout))

    def pressure(self) -> str | None:
        """Return who suffers under the transactions of this run."""
        return self._looked().sending.pressure(self._reading.process)

    def warnings(self) -> Sequence[str]:
        """Return what to do about rows that the shop adds later."""
        return planning.default_warnings(layout(self._reading))

    def _looked(self) -> _Known:
        """Return the table as it was when this run first looked at it."""
        if self._known is None:
            found = layout(self._reading)
            self._known = _Known(
                layout=found,
                reading=Products(self._reading, found),
                sending=Products(self._sending, found),
                comparison=Comparison(Documents(self._reading, found), self._typesense, self._stop),
            )
        return self._known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What works on a table that was looked at; `sending` is for the thread that sends."""

    layout: Layout
    reading: Products
    sending: Products
    comparison: Comparison
