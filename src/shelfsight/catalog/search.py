"""Products that have a text in them: found by the database, or by Typesense and then looked up in the database.

Both give the same answers. Typesense only says where to look; the database says what is there, and a product that
changed since Typesense was told of its channel is looked at in any case. Where Typesense cannot help, the database
finds by itself: what is frequent at once, what is rare by reading the channel's index.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from shelfsight.catalog.index import ProductIndex
from shelfsight.catalog.rules import BATCH_MOST, ProductState
from shelfsight.catalog.store import changes, channels, products
from shelfsight.errors import NotFoundError, ShelfsightError
from shelfsight.partners.typesense import Limits, Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from shelfsight.catalog.index import Candidates
    from shelfsight.catalog.rules import Channel, Product
    from shelfsight.database.engine import Database
    from shelfsight.settings import TypesenseSettings

AGAIN_AFTER_S = 30.0
"""So long Typesense is left alone when it failed, so that not every search waits for it."""

_AT_ONCE = Patience(seconds=0)
_SOON = Limits(connect_s=1.0, answer_s=2.0)
_log = structlog.get_logger()


class ProductSearch:
    """Finds products of a channel; for any number of threads."""

    def __init__(
        self,
        database: Database,
        typesense: TypesenseSettings | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find in `database`, with the help of Typesense where it is given.

        Raises:
            UsageError: the settings name no server.
        """
        self._database = database
        self._index = None if typesense is None else ProductIndex(typesense, patience=_AT_ONCE, limits=_SOON)
        self._now = now
        self._left_alone_until = -1.0

    def close(self) -> None:
        """Close the connections to Typesense."""
        if self._index is not None:
            self._index.close()

    def page(
        self, channel_id: str, *, state: ProductState, text: str, after: str | None = None, limit: int
    ) -> list[Product]:
        """Return what `products.page` does.

        Raises:
            NotFoundError: there is no such channel.
            DatabaseError: the database does not answer.
        """
        candidates = self._candidates(channel_id, text) if state is ProductState.ACTIVE else None
        with self._database.read() as tx:
            channel = channels.get(tx, channel_id)
            among = None if candidates is None else _to_look_at(tx, channel, candidates)
            if among is None:
                return products.page(tx, channel_id, state=state, text=text, after=after, limit=limit)
            return products.page_among(tx, channel_id, among, text=text, after=after, limit=limit)

    def _candidates(self, channel_id: str, text: str) -> Candidates | None:
        if self._index is None or self._now() < self._left_alone_until:
            return None
        try:
            return self._index.candidates(channel_id, text)
        except NotFoundError:
            return None  # until a worker has told Typesense of the channel
        except ShelfsightError as exc:
            self._left_alone_until = self._now() + AGAIN_AFTER_S
            _log.warning("products_searched_without_typesense", reason=str(exc), again_after_s=AGAIN_AFTER_S)
            return None


def _to_look_at(tx: Connection, channel: Channel, candidates: Candidates) -> frozenset[str] | None:
    """Return the candidates and what has changed since; None if that is too much, or they are of another database."""
    if not candidates.reached.is_part_of(channel):
        return None
    later = changes.changes_since(tx, channel.id, candidates.reached.revision, BATCH_MOST)
    if len(later) == BATCH_MOST:
        return None
    return candidates.ids | {change.product_id for change in later if change.product_id is not None}
