"""The three phases: products with a row, documents without one, and what has changed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields.sending import send, settle
from shelfsight.backfill.inventory_fields.windows import Windows, set_rows
from shelfsight.backfill.work import Done, Page
from shelfsight.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shelfsight.backfill.inventory_fields.comparison import Comparison
    from shelfsight.backfill.inventory_fields.store.products import Products
    from shelfsight.backfill.rules import Refused, Value
    from shelfsight.backfill.work import Note
    from shelfsight.partners.typesense import Typesense

ROWS, WITHOUT_ROW, MEND = 1, 2, 3


class RowsPhase:
    """Sets `deleted_at` to 0 where it is missing, and lets the documents say what their rows say."""

    title = "products"

    def __init__(self, products: Products, typesense: Typesense, *, strides: int, count: Callable[[], int]) -> None:
        """Read and set through `products`; `count` says how many rows there are."""
        self._products = products
        self._typesense = typesense
        self._strides = strides
        self._count = count
        self._windows: Windows | None = None

    def total(self) -> int:
        """Return how many rows there are."""
        return self._count()

    def done(self, values: Mapping[str, Value]) -> int:
        """Return how many are done."""
        return int(values.get("total_processed") or 0)

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:
        """Set a page of rows in the window ahead, and return the next page of documents."""
        if self._windows is None:
            self._windows = Windows(self._products, values, strides=self._strides, phase=ROWS)
        windows, lines = self._windows, None
        while lines is None:
            if windows.set_until is not None:
                lines = self._products.lines(values.get("last_id"), windows.set_until, size)
            if lines is None and not windows.close(size, note):
                note(windows.values())
                return None
        windows.step(size, note)
        refused, windows.refused = windows.refused, []
        return Page(
            rows=lines.count,
            position={"last_id": lines.last},
            counts={"batch_no": 1, "total_processed": lines.count},
            refused=refused,
            load=lines.text,
        )

    def send(self, page: Page) -> Done:
        """Let the documents of a page say what their rows say."""
        return send(self._typesense, page.load, phase=ROWS)


class WithoutRowPhase:
    """Lets documents that have no row say 0 and 0."""

    title = "documents without a row"

    def __init__(
        self, comparison: Comparison, products: Products, typesense: Typesense, *, size: int, accepts_many: bool
    ) -> None:
        """Find them by `comparison`, and look again through `products`, from another thread.

        Args:
            size: so many at a time.
            accepts_many: even if most documents have no row.
        """
        self._comparison = comparison
        self._products = products
        self._typesense = typesense
        self._size = size
        self._accepts_many = accepts_many

    def total(self) -> int:
        """Return how many there are.

        Raises:
            ConflictError: so many that this is rather the wrong database.
        """
        compared = self._comparison.of_ids()
        if compared.without_row * 2 > compared.documents and not self._accepts_many:
            raise ConflictError(
                f"{compared.without_row:,} of {compared.documents:,} documents have no row: does this database "
                "belong to this search? Nothing was done to them; --accept-missing-rows goes on"
            )
        return compared.without_row

    def done(self, values: Mapping[str, Value]) -> int:
        """Return how many are done."""
        return int(values.get("default_set_count") or 0)

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:  # noqa: ARG002
        """Return the next page of their ids; its size is one of its own."""
        self._comparison.of_ids()
        after = values.get("last_document")
        ids = self._comparison.ids(after=None if after is None else str(after), limit=self._size)
        if not ids:
            return None
        return Page(rows=len(ids), position={"last_document": ids[-1]}, counts={"last_page": 1}, load=ids)

    def send(self, page: Page) -> Done:
        """Let them say 0 and 0, but for those that have a row now: these say what it says."""
        settled = settle(self._typesense, self._products, page.load, phase=WITHOUT_ROW)
        counts = {"default_set_count": len(settled.defaulted), "updated_typesense": len(settled.from_rows)}
        return Done(counts=counts, refused=settled.refused, waits=settled.waits)


class MendPhase:
    """Mends what came to differ while the other phases ran, such as a product that was deleted or added then.

    Attributes:
        keys: of rows that it has set, or tried to.
    """

    title = "changed meanwhile"

    def __init__(
        self,
        comparison: Comparison,
        reading: Products,
        sending: Products,
        typesense: Typesense,
        *,
        refused: Sequence[Refused],
    ) -> None:
        """Find by `comparison` and through `reading`; look again through `sending`, from another thread.

        Args:
            refused: what was refused before, and is left alone.
        """
        self._comparison = comparison
        self._reading = reading
        self._sending = sending
        self._typesense = typesense
        self._but = [one.key for one in refused]
        self._after: str | None = None
        self._left: int | None = None  # of the rows that were unset at the beginning: the shop may go on adding some
        self.keys: list[str] = []

    def total(self) -> int:
        """Return how many documents differ."""
        self._comparison.whole()
        return sum(self._comparison.open(but=self._but))

    def done(self, values: Mapping[str, Value]) -> int:  # noqa: ARG002
        """Return 0: what was mended does not differ any more."""
        return 0

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:  # noqa: ARG002
        """Set rows without `deleted_at`; when there are none, return the next page of documents that differ."""
        if self._left is None:
            self._left = self._reading.counts(but=self._but)[1]
        keys = self._reading.unset_keys(limit=min(size, self._left), but=self._but)
        if keys:
            self._left -= len(keys)
            self.keys += keys
            updated, refused = set_rows(self._reading, keys, phase=MEND)
            self._but += [one.key for one in refused]
            return Page(rows=0, position={}, counts={"updated_supabase": updated}, refused=refused, load=())
        self._comparison.whole()
        ids = self._comparison.ids(after=self._after, limit=size, but=self._but)
        if not ids:
            return None
        self._after = ids[-1]
        return Page(rows=len(ids), position={}, load=ids)

    def send(self, page: Page) -> Done:
        """Let documents say what their rows say, and 0 and 0 without one."""
        settled = settle(self._typesense, self._sending, page.load, phase=MEND)
        mended = len(settled.from_rows) + len(settled.defaulted)
        return Done(counts={"mended": mended}, refused=settled.refused, waits=settled.waits)
