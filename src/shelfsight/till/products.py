"""The product list that tills search: prepared once for each revision of the catalogue, and cheap to keep up.

A till has the whole list in its memory and on its disk, so this is the whole list; pictures are no part of it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Any

from shelfsight.catalog.store import channels
from shelfsight.catalog.text import price_text
from shelfsight.till import store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shelfsight.database.engine import Database
    from shelfsight.till.rules import ListedProduct

HELD_BYTES = 64 * 2**20
"""Of prepared lists, of all channels together."""
CHANGED_MOST = 500
"""Products in a list of changes; with more of them the whole list is sent."""
BEHIND_MOST = 5000
"""Changes of a channel that are looked through for those of products."""
_WORTH_PACKING_BYTES = 1000
_FORMAT = 2
"""Counted up with every change of what a list holds: the same revision is another list then."""
_REVISION = re.compile(r"([0-9]{1,18})-([0-9a-f]{8})", re.ASCII)


class Packing(StrEnum):
    """How a list is compressed."""

    NONE = "identity"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductList:
    """A list as it is sent; `packing` may be less than was asked for, where it does not pay."""

    revision: str
    body: bytes
    packing: Packing

    @property
    def etag(self) -> str:
        """The entity tag of these very bytes."""
        return tag_of(self.revision, self.packing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a till asks for: `since` is the revision it has, if it has one."""

    channel: str
    packing: Packing
    since: str | None = None


class ProductLists:
    """The lists of a server's channels. Safe to use from many threads."""

    def __init__(self, database: Database, *, held_bytes: int = HELD_BYTES) -> None:
        """Read from `database`, and remember so much of what was prepared."""
        self._database = database
        self._held_bytes = held_bytes
        self.size_bytes = 0
        self._lock = Lock()
        self._held: OrderedDict[tuple[str, Packing], ProductList] = OrderedDict()
        self._running: dict[tuple[str, str, Packing], Future[ProductList]] = {}

    def revision(self, channel_id: str) -> str:
        """Return the revision of a channel's list; one look at one row.

        Raises:
            NotFoundError: there is no such channel.
        """
        return self.standing(channel_id)[0]

    def standing(self, channel_id: str) -> tuple[str, int]:
        """Return what `revision` does, and the sequence of the channel's config; the same look at the same row.

        Raises:
            NotFoundError: there is no such channel.
        """
        with self._database.read() as tx:
            number, created_at, sequence = store.standing(tx, channel_id)
        return _revision(number, created_at), sequence

    def find(self, wanted: Wanted, revision: str) -> ProductList:
        """Return a channel's list, or what changed in it since, as it is at `revision` or later.

        Raises:
            NotFoundError: there is no such channel.
        """
        if wanted.since is not None:
            changed = self._changed(wanted, revision)
            if changed is not None:
                return changed
        held = self._remembered(wanted, revision)
        return held or self._once((wanted.channel, revision, wanted.packing), lambda: self._prepare(wanted))

    def _remembered(self, wanted: Wanted, revision: str) -> ProductList | None:
        key = (wanted.channel, wanted.packing)
        with self._lock:
            held = self._held.get(key)
            if held is None or held.revision != revision:
                return None
            self._held.move_to_end(key)
            return held

    def _once(self, key: tuple[str, str, Packing], prepare: Callable[[], ProductList]) -> ProductList:
        """Return what `prepare` does, which is called once for all who want the same at the same time."""
        with self._lock:
            running = self._running.get(key)
            mine: Future[ProductList] = Future()
            if running is None:
                self._running[key] = mine
        if running is not None:
            return running.result()
        try:
            mine.set_result(prepare())
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        finally:
            with self._lock:
                del self._running[key]
        return mine.result()

    def _prepare(self, wanted: Wanted) -> ProductList:
        with self._database.read() as tx:
            at, rows = store.listing(tx, wanted.channel)
            name = channels.get(tx, wanted.channel).name
        revision = _revision(*at)
        body = _json({"revision": revision, "name": name, "products": [_product(row) for row in rows]})
        made = _packed(revision, body, wanted.packing)
        self._remember((wanted.channel, wanted.packing), made)
        return made

    def _remember(self, key: tuple[str, Packing], made: ProductList) -> None:
        with self._lock:
            before = self._held.pop(key, None)
            self._held[key] = made
            self.size_bytes += len(made.body) - (len(before.body) if before else 0)
            while self.size_bytes > self._held_bytes:
                self.size_bytes -= len(self._held.popitem(last=False)[1].body)

    def _changed(self, wanted: Wanted, revision: str) -> ProductList | None:
        """Return what changed since; None where the whole list is the better answer, or the only one."""
        since = _number_in(wanted.since or "", revision)
        if since is None:
            return None
        with self._database.read() as tx:
            found = store.changed_since(tx, wanted.channel, since, most=CHANGED_MOST)
            if found is None:
                return None
            name = channels.get(tx, wanted.channel).name
        at, rows, removed = found
        now = _revision(*at)
        products = [_product(row) for row in rows]
        changes = {"since": wanted.since, "products": products, "removed": removed}
        body = _json({"revision": now, "name": name, **changes})
        return _packed(now, body, wanted.packing)


def tag_of(revision: str, packing: Packing) -> str:
    """Return the entity tag of a list."""
    return f'"{revision}"' if packing is Packing.NONE else f'"{revision}-{packing.value}"'


def packing_for(accept_encoding: str | None) -> Packing:
    """Return the best packing that an Accept-Encoding header takes."""
    taken = {}
    for item in (accept_encoding or "")[:1000].lower().split(","):
        coding, _, parameters = item.partition(";")
        name, _, weight = parameters.strip().partition("=")
        taken[coding.strip()] = not (name.strip() == "q" and re.fullmatch(r"0(\.0*)?", weight.strip()))
    for packing in (Packing.ZSTD, Packing.GZIP):
        if taken.get(packing.value):
            return packing
    return Packing.NONE


def _revision(number: int, created_at: datetime) -> str:
    """Return a revision as tills know it; a later channel of the same id begins anew."""
    origin = hashlib.sha256(f"{_FORMAT} {created_at.isoformat()}".encode()).hexdigest()[:8]
    return f"{number}-{origin}"


def _number_in(since: str, revision: str) -> int | None:
    """Return the number in the revision that a till has, None where nothing can be added to that one."""
    theirs, ours = _REVISION.fullmatch(since), _REVISION.fullmatch(revision)
    if theirs is None or ours is None or theirs[2] != ours[2]:
        return None
    behind = int(ours[1]) - int(theirs[1])
    return int(theirs[1]) if 0 <= behind <= BEHIND_MOST else None


def _product(product: ListedProduct) -> dict[str, Any]:
    """Return a product as `TillProductDocument` has it, without what it has none of."""
    said = product._asdict() | {"price": None if product.price is None else price_text(product.price)}
    return {name: value for name, value in said.items() if value or name in {"id", "name"}}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _packed(revision: str, body: bytes, packing: Packing) -> ProductList:
    if len(body) < _WORTH_PACKING_BYTES:
        packing = Packing.NONE
    match packing:
        case Packing.NONE:
            data = body
        case Packing.GZIP:
            data = gzip.compress(body, 6, mtime=0)
        case Packing.ZSTD:
            data = zstd.compress(body, 9)
    return ProductList(revision=revision, body=data, packing=packing)
