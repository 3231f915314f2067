"""All documents of the search beside all rows, as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shelfsight.backfill.inventory_fields.sending import COLLECTION
from shelfsight.backfill.inventory_fields.store.documents import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shelfsight.backfill.inventory_fields.store.documents import Compared, Documents
    from shelfsight.backfill.stop import Stop
    from shelfsight.partners.typesense import Typesense


class Comparison:
    """Exports what the search has, and compares it in PostgreSQL."""

    def __init__(self, documents: Documents, typesense: Typesense, stop: Stop) -> None:
        """Compare when somebody asks, until somebody asks for the end."""
        self._documents = documents
        self._typesense = typesense
        self._stop = stop
        self._kind: bool | None = None
        self._compared: Compared | None = None

    def of_ids(self) -> Compared:
        """Return what a comparison of ids says, made now unless the last one was of that kind; raises as `_made`."""
        return self._made(ids_only=True)

    def whole(self) -> Compared:
        """Return what a comparison of the fields says, made now unless it is there; raises as `_made`."""
        return self._made(ids_only=False)

    def forget(self) -> None:
        """Let the next one be made anew."""
        self._compared = None

    def ids(self, *, after: str | None, limit: int, but: Sequence[str] = ()) -> list[str]:
        """Return ids of documents to be mended, in their order, behind one of them, without some.

        Raises:
            DatabaseError: it went with its connection: compare again.
        """
        return self._documents.ids(after=after, limit=limit, but=but)

    def open(self, *, but: Sequence[str], again: bool = False) -> tuple[int, int]:
        """Return how many are to be mended, of those with a row and of those without; raises as `ids`.

        Args:
            again: those alone that the comparison before this one had found, too.
        """
        return self._documents.open(but=but, again=again)

    def _made(self, *, ids_only: bool) -> Compared:
        """Return a comparison of that kind.

        Raises:
            UnavailableError: search or database do not answer.
            EndAskedError: somebody asks for the end.
        """
        if self._compared is None or self._kind is not ids_only or not self._documents.is_there:
            self._compared = self._documents.compare(self._exported(ids_only=ids_only), ids_only=ids_only)
            self._kind = ids_only
        return self._compared

    def _exported(self, *, ids_only: bool) -> Iterator[list[dict[str, Any]]]:
        for part in self._typesense.export_documents(COLLECTION, FIELDS[:1] if ids_only else FIELDS):
            self._stop.check()
            yield part
