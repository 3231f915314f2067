"""Products in Typesense, so that few are looked for among many without reading them all.

What is there follows the catalogue's changes. A second collection holds, for each channel, the revision up to which
it does; it is written after the products of that revision, so that whoever reads it first and then searches knows
which changes the search may have missed. The database stays what is true: see `search.py`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import orjson

from shelfsight.catalog.rules import BATCH_MOST, ProductState, search_text
from shelfsight.catalog.store import changes, channels, products
from shelfsight.catalog.text import folded
from shelfsight.errors import ConflictError, NotFoundError, PartnerError, ShelfsightError
from shelfsight.partners.typesense import Action, Field, Typesense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shelfsight.catalog.rules import Channel, Product
    from shelfsight.database.engine import Database
    from shelfsight.partners.typesense import Limits, Patience
    from shelfsight.settings import TypesenseSettings

CANDIDATES_MOST = 250
"""Hits on one page of Typesense; reading further pages of what changes meanwhile would skip some."""

_FIELDS = (
    Field(name="channel", type="string", optional=False),
    Field(name="product", type="string", optional=False, index=False),
    Field(name="text", type="string", optional=False, infix=True),
    Field(name="created_at", type="int64", optional=False),
    Field(name="deleted_at", type="int64", optional=False),
)
_REVISION_FIELDS = (
    Field(name="revision", type="int64", optional=False),
    Field(name="channel_created_at", type="int64", optional=False),
)
_WORD = re.compile("[a-z0-9]+")
_INCOMPLETE = -1
_EXACTLY: Mapping[str, str | int | bool] = {
    "query_by": "text",
    "infix": "always",
    "num_typos": 0,
    "drop_tokens_threshold": 0,
    "typo_tokens_threshold": 0,
    "split_join_tokens": "off",
    "exhaustive_search": True,
    "include_fields": "product",
    "highlight_fields": "none",
    "per_page": CANDIDATES_MOST,
}
"""A word is found wherever it stands, within other words too, and no other word instead of it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far Typesense knows a channel; one that was deleted and made again is another one, by when it was made."""

    revision: int
    channel_created_at: int

    def is_part_of(self, channel: Channel) -> bool:
        """Return whether all was there then, and every change since is in the channel's history."""
        is_same = self.channel_created_at == _microseconds(channel)
        return is_same and _INCOMPLETE < self.revision <= channel.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Products that may have a word, and every one that had it when that was `reached`."""

    ids: frozenset[str]
    reached: Reached


class ProductIndex:
    """The products of all channels in one collection of Typesense."""

    def __init__(
        self, settings: TypesenseSettings, *, patience: Patience | None = None, limits: Limits | None = None
    ) -> None:
        """Use what the settings name; nothing is asked yet.

        Args:
            patience: how long to go on asking a server that does not answer.
            limits: how long to wait for one answer.

        Raises:
            UsageError: they name no server.
        """
        self.name = settings.collection
        self._revisions = f"{settings.collection}_revisions"
        self._typesense = Typesense(settings.url, settings.api_key, patience=patience, limits=limits)

    def close(self) -> None:
        """Close the connections."""
        self._typesense.close()

    def candidates(self, channel_id: str, text: str) -> Candidates | None:
        """Return what may have `text` in it, None if there are too many, or no word to look for.

        Raises:
            NotFoundError: the channel's products are not there yet.
            UnavailableError, PartnerError: Typesense does not answer, or refuses.
        """
        word = longest_word(text)
        if word is None:
            return None
        reached = self._reached(channel_id)
        filters = f"{_in_channel(channel_id)} && deleted_at:<1"
        found = self._typesense.search(self.name, {**_EXACTLY, "q": word, "filter_by": filters})
        if found["found"] > len(found["hits"]) or found.get("search_cutoff"):
            return None
        return Candidates(ids=frozenset(hit["document"]["product"] for hit in found["hits"]), reached=reached)

    def follow(
        self,
        database: Database,
        *,
        is_ours: Callable[[], None] = lambda: None,
        told: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Bring every channel up to its latest change.

        Args:
            is_ours: raises where somebody else has taken this over; what was half done is then done again.
            told: called with the number of products that were written, now and then.

        Raises:
            UnavailableError, PartnerError: Typesense does not answer, or refuses; the rest is for the next time.
            DatabaseError: the database does not answer.
        """
        self._prepare()
        noted = self._noted()  # before the channels: one that is made in between is not taken for gone
        for channel in _channels(database):
            reached = noted.pop(channel.id, None)
            if reached is not None and reached.channel_created_at != _microseconds(channel):
                self._remove(channel.id)  # the products of another one, which had its id before
            if reached is None or not reached.is_part_of(channel):
                reached = None
                self._note(channel.id, Reached(_INCOMPLETE, _microseconds(channel)), is_ours)
            for page, revision in _pages(database, channel, reached):
                self._write(channel.id, page)
                self._note(channel.id, Reached(revision, _microseconds(channel)), is_ours)
                told(len(page))
        for channel_id, reached in noted.items():
            self._remove(channel_id)
            self._note(channel_id, replace(reached, revision=_INCOMPLETE), is_ours)
            self._typesense.delete_document(self._revisions, channel_id)

    def drop(self) -> None:
        """Remove what is in Typesense.

        Raises:
            UnavailableError, PartnerError: Typesense does not answer, or refuses.
        """
        for name in (self._revisions, self.name):  # the revisions first: without them nobody asks for the products
            with suppress(NotFoundError):
                self._typesense.drop_collection(name)

    def _prepare(self) -> None:
        for name, fields in ((self.name, _FIELDS), (self._revisions, _REVISION_FIELDS)):
            try:
                self._typesense.ensure_fields(name, fields)
            except NotFoundError:
                with suppress(ConflictError):  # another was faster
                    self._typesense.create_collection(name, fields)

    def _reached(self, channel_id: str) -> Reached:
        noted = self._typesense.retrieve(self._revisions, channel_id)
        if noted["revision"] == _INCOMPLETE:
            raise NotFoundError(f"the products of {channel_id} are not all in Typesense")
        return Reached(noted["revision"], noted["channel_created_at"])

    def _noted(self) -> dict[str, Reached]:
        """Return how far each channel is there, by its id."""
        fields = ("id", *(each.name for each in _REVISION_FIELDS))
        return {
            one["id"]: Reached(one["revision"], one["channel_created_at"])
            for some in self._typesense.export_documents(self._revisions, fields)
            for one in some
        }

    def _remove(self, channel_id: str) -> None:
        """Remove a channel's products, one by one: a filter takes `T-1` and `t1` for the same."""
        exported = self._typesense.export_documents(self.name, ("id", "channel"), filter_by=_in_channel(channel_id))
        for document in [one for some in exported for one in some]:
            if document["channel"] == channel_id:
                with suppress(NotFoundError):  # it went in an attempt before
                    self._typesense.delete_document(self.name, document["id"])

    def _write(self, channel_id: str, page: Sequence[Product]) -> None:
        self._import(self.name, [_document(channel_id, product) for product in page])

    def _note(self, channel_id: str, reached: Reached, is_ours: Callable[[], None]) -> None:
        """Write how far a channel's products are there."""
        try:
            is_ours()
        except ShelfsightError:
            # What was just written may be older than what the other one wrote: let everything be written again.
            self._import(self._revisions, [{"id": channel_id, **asdict(replace(reached, revision=_INCOMPLETE))}])
            raise
        self._import(self._revisions, [{"id": channel_id, **asdict(reached)}])

    def _import(self, collection: str, documents: Sequence[dict[str, str | int]]) -> None:
        lines = [orjson.dumps(document) for document in documents]
        refused = self._typesense.import_documents(collection, lines, Action.UPSERT).refused
        for position, refusal in refused.items():
            raise PartnerError(f"Typesense refuses {documents[position]['id']!r} in {collection}: {refusal.error}")


def longest_word(text: str) -> str | None:
    """Return the longest run of Latin letters and digits in a search, without case and accents; None = there is none.

    Typesense looks for one word inside others, not for several, drops signs, and divides other scripts its own way.
    """
    return max(_WORD.findall(folded(text)), key=len, default=None)


def _in_channel(channel_id: str) -> str:
    return f"channel:=`{channel_id}`"


def _document(channel_id: str, product: Product) -> dict[str, str | int]:
    return {
        "id": f"{channel_id}:{product.id}",  # no channel's id has a colon
        "channel": channel_id,
        "product": product.id,
        "text": search_text(product),
        "created_at": int(product.created_at.timestamp()),
        "deleted_at": product.deleted_at,
    }


def _microseconds(channel: Channel) -> int:
    return round(channel.created_at.timestamp() * 1_000_000)


def _channels(database: Database) -> Iterator[Channel]:
    after = None
    while True:
        with database.read() as tx:
            page = channels.page(tx, after=after, limit=BATCH_MOST)
        yield from page
        if len(page) < BATCH_MOST:
            return
        after = page[-1].id


def _pages(database: Database, channel: Channel, reached: Reached | None) -> Iterator[tuple[list[Product], int]]:
    """Yield products that are to be written, and which revision of the channel is there when they are."""
    if reached is None:
        yield from _all(database, channel)
        return
    revision = reached.revision
    while revision < channel.revision:
        with database.read() as tx:
            entries = changes.changes_since(tx, channel.id, revision, BATCH_MOST)
            found = products.find(
                tx, channel.id, {each.product_id for each in entries if each.product_id is not None}
            )
        if not entries:
            return  # it was deleted meanwhile
        revision = entries[-1].revision
        yield list(found.values()), revision


def _all(database: Database, channel: Channel) -> Iterator[tuple[list[Product], int]]:
    after = None
    while True:
        with database.read() as tx:
            page = products.page(tx, channel.id, state=ProductState.ALL, after=after, limit=BATCH_MOST)
        is_last = len(page) < BATCH_MOST
        yield page, channel.revision if is_last else _INCOMPLETE
        if is_last:
            return
        after = page[-1].id
