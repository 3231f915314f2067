"""Writes what Vendure has into the catalogue, a few products at a time: each with all its pictures, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypedDict, TypeVar, cast

from shelfsight.catalog.rules import BATCH_MOST, ChangeKind, Stamp, check_product_id
from shelfsight.catalog.store import images, products
from shelfsight.database import clock
from shelfsight.errors import UnavailableError, UsageError
from shelfsight.vendure import product_store
from shelfsight.vendure.gallery import Gallery
from shelfsight.vendure.pictures import SILENT_MOST
from shelfsight.vendure.product_store import TakenProduct
from shelfsight.vendure.rules import ACTOR, check_deletions, is_replaced, mark_of, offers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from shelfsight.catalog.images import Stores
    from shelfsight.catalog.rules import Image
    from shelfsight.leases.lease import Lease
    from shelfsight.vendure.gallery import Shown
    from shelfsight.vendure.pictures import Pictures
    from shelfsight.vendure.rules import Conditions, Details, Offer, Sells

Each = TypeVar("Each")

_DELETED_AT_ONCE = 100
_TAKEN_BY_HAND = "a product of that id is here, and did not come from Vendure: it is left as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was not taken over, and why: a product, or a picture of it, by the asset's id in Vendure."""

    product_id: str
    asset: str | None = None
    reason: str


class Counts(TypedDict):
    """How many products of ours became different, and how many pictures were fetched."""

    added: int
    changed: int
    restored: int
    deleted: int
    pictures: int


class Problems(TypedDict):
    """What was not taken over: for ever, and for now."""

    refused: tuple[Refusal, ...]
    put_off: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sold:
    """A product of Vendure that is for sale, with all there is to know of it."""

    vendure_id: str
    mark: str
    offers: tuple[Offer, ...]


class TakeOver:
    """Takes products of one channel over, while its lease is held."""

    def __init__(self, stores: Stores, channel: str, lease: Lease, pictures: Pictures) -> None:
        """Write into the catalogue of `stores`."""
        self._stores = stores
        self._channel = channel
        self._lease = lease
        self._gallery = Gallery(stores, channel, pictures)
        self._refused: list[Refusal] = []
        self._put_off: list[Refusal] = []
        self.counts = Counts(added=0, changed=0, restored=0, deleted=0, pictures=0)

    @property
    def problems(self) -> Problems:
        """What was not taken over."""
        return Problems(refused=tuple(self._refused), put_off=tuple(self._put_off))

    def forget_refusals(self) -> None:
        """Let pictures that were refused be tried again."""
        with self._stores.database.write(actor=ACTOR) as tx:
            self._lease.check(tx)
            product_store.forget_refused(tx, self._channel)

    def gone(self, stays: Mapping[str, Collection[str]], sells: Sells) -> list[TakenProduct]:
        """Return what is no longer for sale in Vendure, of products there that are named by id.

        Args:
            stays: the ids of our products that each still makes. Those of the other kind go when these are written.
        """
        with self._stores.database.read() as tx:
            return [
                one
                for batch in batches(stays, _DELETED_AT_ONCE)
                for one in product_store.of_theirs(tx, self._channel, batch)
                if one.fingerprint is not None
                and one.product_id not in stays[one.vendure_id]
                and not (stays[one.vendure_id] and is_replaced(one.variant_id, sells))
            ]

    def withdraw(self, gone: Collection[TakenProduct], *, allow_all: bool) -> None:
        """Delete what is no longer for sale in Vendure: nothing else is deleted because of what it answers.

        Raises:
            ConflictError: that is more than half, and not allowed.
        """
        if not allow_all:
            with self._stores.database.read() as tx:
                active = product_store.count(tx, self._channel)
            check_deletions(len(gone), active, self._channel)
        for batch in batches(gone, _DELETED_AT_ONCE):
            with self._stores.database.write(actor=ACTOR) as tx:
                self._lease.check(tx)
                self._delete(tx, batch, Stamp(actor=ACTOR, at=clock.now(tx)))

    def products(self, read: Iterable[Mapping[str, Details]], conditions: Conditions) -> Iterator[int]:
        """Let products be as Vendure has them, with all of their pictures; yield how many were looked at, each time.

        What comes next is read and fetched meanwhile.

        Raises:
            BusyError: another process syncs the channel now.
            UnavailableError: pictures, database or storage do not answer.
        """
        for count, sold, shown in ahead(self._shown(details, conditions) for details in ahead(read)):
            whole = [one for one in sold if not self._is_put_off(one, shown)]
            with self._stores.database.write(actor=ACTOR) as tx:
                self._lease.check(tx)
                self._write(tx, whole, shown, conditions.sells)
                product_store.put_assets(tx, self._channel, shown.fetched)
            self.counts["pictures"] += len(shown.fetched)
            if len(self._put_off) >= SILENT_MOST:
                raise UnavailableError(self._put_off[-1].reason)
            yield count

    def _shown(self, details: Mapping[str, Details], conditions: Conditions) -> tuple[int, list[_Sold], Shown]:
        """Return what of these products is for sale, and its pictures."""
        sold = [
            _Sold(vendure_id=one, mark=mark, offers=self._sound(offers(theirs, conditions)))
            for one, theirs in details.items()
            if (mark := mark_of(theirs.glance, conditions)) is not None
        ]
        urls = {
            asset: details[one.vendure_id].pictures[asset]
            for one in sold
            for offer in one.offers
            for asset in offer.assets
        }
        return len(details), sold, self._gallery.show(urls)

    def _sound(self, made: Iterable[Offer]) -> tuple[Offer, ...]:
        """Return those products whose ids can be ours."""
        sound = []
        for offer in made:
            try:
                check_product_id(offer.product_id)
            except UsageError as exc:
                self._refused.append(Refusal(product_id=offer.product_id[:200], reason=str(exc)))
            else:
                sound.append(offer)
        return tuple(sound)

    def _is_put_off(self, sold: _Sold, shown: Shown) -> bool:
        """Return whether a picture of it cannot be fetched now; it stays as it is until then."""
        for offer in sold.offers:
            for asset in offer.assets:
                if asset in shown.silent:
                    reason = shown.silent[asset]
                    self._put_off.append(Refusal(product_id=offer.product_id, asset=asset, reason=reason))
                    return True
        return False

    def _write(self, tx: Connection, sold: Collection[_Sold], shown: Shown, sells: Sells) -> None:
        stamp = Stamp(actor=ACTOR, at=clock.now(tx))
        made = {offer.product_id: (one, offer) for one in sold for offer in one.offers}
        for product_id in sorted(product_store.others(tx, self._channel, made)):
            del made[product_id]
            self._refused.append(Refusal(product_id=product_id, reason=_TAKEN_BY_HAND))
        self._put(tx, [offer for _, offer in made.values()], stamp)
        theirs = product_store.of_theirs(tx, self._channel, [one.vendure_id for one in sold])
        before = {one.product_id: one.pictures for one in theirs}
        replaced = [one for one in theirs if one.fingerprint is not None and is_replaced(one.variant_id, sells)]
        self._delete(tx, replaced, stamp)
        pictures = self._put_pictures(tx, [offer for _, offer in made.values()], shown, before, stamp)
        rows = [
            TakenProduct(
                product_id=product_id,
                vendure_id=one.vendure_id,
                variant_id=offer.variant_id,
                fingerprint=one.mark,
                pictures=pictures[product_id],
            )
            for product_id, (one, offer) in made.items()
        ]
        product_store.put(tx, self._channel, rows)

    def _put(self, tx: Connection, made: Iterable[Offer], stamp: Stamp) -> None:
        for batch in batches(made, BATCH_MOST):  # a product may have many variants
            put = products.put(tx, self._channel, {offer.product_id: offer.details for offer in batch}, stamp)
            for _, kind in put.values():
                match kind:
                    case ChangeKind.PRODUCT_ADDED:
                        self.counts["added"] += 1
                    case ChangeKind.PRODUCT_RESTORED:
                        self.counts["restored"] += 1
                    case ChangeKind.PRODUCT_CHANGED:
                        self.counts["changed"] += 1

    def _put_pictures(
        self,
        tx: Connection,
        made: Collection[Offer],
        shown: Shown,
        before: Mapping[str, tuple[str, ...]],
        stamp: Stamp,
    ) -> dict[str, tuple[str, ...]]:
        """Let products have the pictures that Vendure shows, beside those that somebody added here.

        Args:
            before: hashes of those that came from there before, by product.

        Returns: hashes of those that come from there now, by product.
        """
        here = product_store.hashes_of(tx, self._channel, [offer.product_id for offer in made])
        new: list[Image] = []
        ours = {}
        for offer in made:
            wanted = self._usable(offer, shown)
            has, had = here.get(offer.product_id, set()), set(before.get(offer.product_id, ()))
            for sha256 in sorted((had - wanted.keys()) & has):
                images.remove(tx, self._channel, offer.product_id, sha256, stamp)
            new += [image for sha256, image in wanted.items() if sha256 not in has]
            ours[offer.product_id] = tuple(sha256 for sha256 in wanted if sha256 in had or sha256 not in has)
        images.add_each(tx, self._channel, [replace(image, created_at=stamp.at) for image in new], stamp)
        return ours

    def _usable(self, offer: Offer, shown: Shown) -> dict[str, Image]:
        """Return the pictures of a product that are not refused, by hash."""
        self._refused += [
            Refusal(product_id=offer.product_id, asset=asset, reason=shown.refused[asset])
            for asset in offer.assets
            if asset in shown.refused
        ]
        usable = [shown.images[asset] for asset in offer.assets if asset in shown.images]
        return {image.sha256: replace(image, product_id=offer.product_id) for image in usable}

    def _delete(self, tx: Connection, gone: Collection[TakenProduct], stamp: Stamp) -> None:
        for one in gone:
            products.delete(tx, self._channel, one.product_id, stamp=stamp)
        product_store.withdraw(tx, self._channel, [one.product_id for one in gone])
        self.counts["deleted"] += len(gone)


def ahead(items: Iterable[Each]) -> Iterator[Each]:
    """Yield the items, each of which is made while the one before is used."""
    made, end = iter(items), object()
    with ThreadPoolExecutor(1, "shelfsight-vendure") as pool:
        coming = pool.submit(next, made, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, made, end)
            yield cast("Each", item)


def batches(items: Iterable[Each], size: int) -> Iterator[list[Each]]:
    """Yield the items, so many at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
