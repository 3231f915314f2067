"""What is taken over from Vendure, what has changed there, and when to look again. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shelfsight.catalog.rules import BARCODES_MOST, CODE_MOST, NAME_MOST, ProductDetails, RetrainTrigger
from shelfsight.catalog.text import writable
from shelfsight.errors import ConflictError, ShelfsightError
from shelfsight.leases.rules import Exclusive

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from shelfsight.catalog.rules import ChannelValues

ACTOR = "vendure"
"""Who changes a catalogue in the name of a Vendure server."""

SCAN_EVERY = timedelta(minutes=10)
"""How often everything is looked at: Vendure tells nobody of some changes."""

NAMED_MOST = 1000
"""So many products that events named are asked for by id; for more, everything is looked at."""

_PRICE_PLACES = 4
_RETRY_AFTER = (
    timedelta(seconds=10),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
)


class Sells(StrEnum):
    """What of Vendure becomes a product of ours."""

    PRODUCTS = "products"
    VARIANTS = "variants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Vendure installation, how it lets us in, and what its plugin signs with.

    Attributes:
        user_id: ours there: what it changes are our own changes. Empty = Vendure does not tell it.
    """

    id: str
    api_url: str
    secret: str = field(repr=False)
    user_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How it is going.

    Attributes:
        scan_at: when everything is to be looked at next.
        retry_at: not before then, for the last sync failed.
        attempts: that failed since one that did not.
        synced_at: when everything was last looked at, and taken over.
    """

    scan_at: datetime
    retry_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    synced_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedChannel:
    """A channel of ours that is connected to one of a Vendure server.

    Attributes:
        vendure_channel: its id there; `token` names it in requests.
        deploys: whether models are deployed there after each training.
        records_orders: whether sales become orders there.
    """

    channel: str
    server: Server
    vendure_channel: str
    token: str = field(repr=False)
    sells: Sells
    deploys: bool
    records_orders: bool
    created_at: datetime
    created_by: str
    state: SyncState


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all products of a channel there are read by; when one of them changes, every product has.

    Attributes:
        decimals: how many digits of a price are behind the point.
        has_barcodes: whether variants have a custom field for one.
    """

    sells: Sells
    language: str
    currency: str
    decimals: int
    has_barcodes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantGlance:
    """What a list says of a variant; `price` with taxes, in the smallest unit."""

    id: str
    updated_at: str
    is_enabled: bool
    sku: str
    price: int | None
    currency: str
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a list says of a product: enough to see that it has changed; variants by id."""

    id: str
    updated_at: str
    is_enabled: bool
    assets: tuple[str, ...]
    variants: tuple[VariantGlance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantWords:
    """What is to be read of a variant beside the glance."""

    name: str
    barcodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """A product of Vendure, whole.

    Attributes:
        words: of each variant, by id.
        pictures: addresses of those of its assets, and of its variants', that are images, by id.
    """

    glance: Glance
    name: str
    words: Mapping[str, VariantWords]
    pictures: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A product of ours as Vendure has it.

    Attributes:
        variant_id: of the variant that it is, None where it is a whole product.
        assets: its pictures there.
    """

    product_id: str
    variant_id: str | None
    details: ProductDetails
    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, by ids of Vendure's products.

    Attributes:
        changed: are to be read whole.
        withdrawn: are there, and not for sale.
        missing: are no longer listed.
    """

    changed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    missing: tuple[str, ...]


def mark_of(glance: Glance, conditions: Conditions) -> str | None:
    """Return a fingerprint of a product, None where it has nothing for sale."""
    variants = [one for one in glance.variants if one.is_enabled]
    if not glance.is_enabled or (conditions.sells is Sells.VARIANTS and not variants):
        return None
    seen: list[Any] = [
        [getattr(conditions, name) for name in ("sells", "language", "currency", "decimals", "has_barcodes")],
        [glance.updated_at, sorted(glance.assets)],
        [[one.id, one.updated_at, one.sku, one.price, one.currency, sorted(one.assets)] for one in variants],
    ]
    return hashlib.sha256(json.dumps(seen, separators=(",", ":")).encode()).hexdigest()[:32]


def plan(
    marks: Mapping[str, str | None], known: Iterable[tuple[str, str]], *, named: Collection[str] | None, full: bool
) -> Plan:
    """Return what is to be done.

    Args:
        marks: fingerprints of what was listed, by id, in Vendure's order.
        known: id in Vendure and fingerprint of each product of ours that is for sale there as far as we know.
        named: the products that were asked for; None = all of the channel.
        full: whether to read also what has not changed.
    """
    before: dict[str, set[str]] = defaultdict(set)
    for vendure_id, mark in known:
        if named is None or vendure_id in named:
            before[vendure_id].add(mark)
    return Plan(
        changed=tuple(one for one, mark in marks.items() if mark and (full or before.get(one) != {mark})),
        withdrawn=tuple(one for one, mark in marks.items() if mark is None and one in before),
        missing=tuple(one for one in before if one not in marks),
    )


def staying(glance: Glance | None, conditions: Conditions) -> frozenset[str]:
    """Return the ids of our products that a product of Vendure makes; of one that is not there, none."""
    if glance is None or mark_of(glance, conditions) is None:
        return frozenset()
    match conditions.sells:
        case Sells.PRODUCTS:
            return frozenset({glance.id})
        case Sells.VARIANTS:
            return frozenset(_variant_id(glance, one) for one in glance.variants if one.is_enabled)


def is_replaced(variant_id: str | None, sells: Sells) -> bool:
    """Return whether a product of ours was taken over when the channel sold the other kind.

    Args:
        variant_id: of the variant that it is, None where it is a whole product.
    """
    return (variant_id is None) == (sells is Sells.VARIANTS)


def check_deletions(deleted: int, active: int, channel: str) -> None:
    """Refuse to empty a shop because of an answer that was empty.

    Raises:
        ConflictError: more than half of what came from Vendure would be deleted.
    """
    if deleted * 2 > active:
        raise ConflictError(
            f"{deleted} of the {active} products that {channel} has from Vendure are not for sale there any more, "
            f"and nothing was deleted: if that is right, run `shelfsight vendure sync {channel} --allow-deletions`"
        )


def offers(theirs: Details, conditions: Conditions) -> tuple[Offer, ...]:
    """Return the products of ours that a product of Vendure makes; of disabled ones, none."""
    if not theirs.glance.is_enabled:
        return ()
    variants = [one for one in theirs.glance.variants if one.is_enabled]
    match conditions.sells:
        case Sells.PRODUCTS:
            return (_whole(theirs, variants, conditions.decimals),)
        case Sells.VARIANTS:
            return tuple(_single(theirs, one, conditions.decimals) for one in variants)


def chosen(fields: Mapping[str, Any]) -> ChannelValues:
    """Return the settings that the fields of a channel say; a trigger that is not known is none."""
    values: ChannelValues = {}
    if fields["modelAutoRetrainEnabled"] is not None:
        values["model_auto_retrain_enabled"] = bool(fields["modelAutoRetrainEnabled"])
    if fields["modelRetrainTriggers"] is not None:
        named = set(fields["modelRetrainTriggers"])
        values["model_retrain_triggers"] = frozenset(one for one in RetrainTrigger if one.value in named)
    return values


def reason_of(error: Exception) -> str:
    """Return what is written of an error: the sentence of one of ours, of a bug its name."""
    return str(error) if isinstance(error, ShelfsightError) else f"Shelfsight failed ({type(error).__name__})"


def sync_lease(channel: str) -> Exclusive:
    """Return the work of taking a channel's products over."""
    return Exclusive(f"vendure:{channel}", f"a sync of {channel} with Vendure")


def mirror_lease(channel: str) -> Exclusive:
    """Return the work of telling Vendure how a channel is."""
    return Exclusive(f"vendure-mirror:{channel}", f"the telling of Vendure how {channel} is")


def orders_lease(channel: str) -> Exclusive:
    """Return the work of placing a channel's orders."""
    return Exclusive(f"vendure-orders:{channel}", f"the placing of the orders of {channel} in Vendure")


def retry_after(attempts: int) -> timedelta:
    """Return how long to wait after so many syncs that failed, 1 or more."""
    return _RETRY_AFTER[min(attempts, len(_RETRY_AFTER)) - 1]


def _whole(theirs: Details, variants: list[VariantGlance], decimals: int) -> Offer:
    first = variants[0] if variants else None
    codes = [variant.sku for variant in variants[1:]]
    codes += [code for variant in variants for code in theirs.words[variant.id].barcodes]
    assets = [*theirs.glance.assets, *(asset for variant in variants for asset in variant.assets)]
    return Offer(
        product_id=theirs.glance.id,
        variant_id=None,
        details=_details(theirs.name, first, codes, decimals),
        assets=_pictures(assets, theirs),
    )


def _single(theirs: Details, variant: VariantGlance, decimals: int) -> Offer:
    words = theirs.words[variant.id]
    return Offer(
        product_id=_variant_id(theirs.glance, variant),
        variant_id=variant.id,
        details=_details(words.name or theirs.name, variant, words.barcodes, decimals),
        assets=_pictures(variant.assets, theirs) or _pictures(theirs.glance.assets, theirs),
    )


def _variant_id(glance: Glance, variant: VariantGlance) -> str:
    return f"{glance.id}-{variant.id}"


def _details(name: str, variant: VariantGlance | None, codes: Iterable[str], decimals: int) -> ProductDetails:
    """Return what the catalogue can hold of it: what is too long or unreadable there is no reason to sell nothing."""
    sku = None if variant is None else writable(variant.sku)[:CODE_MOST]
    barcodes = dict.fromkeys(filter(None, (writable(code)[:CODE_MOST] for code in codes)))
    price = None
    if variant is not None and variant.price is not None:
        price = round(Decimal(variant.price).scaleb(-decimals), _PRICE_PLACES)
    return ProductDetails(
        name=writable(name)[:NAME_MOST],
        sku=sku or None,
        barcodes=tuple(code for code in barcodes if code != sku)[:BARCODES_MOST],
        price=price,
        currency=variant.currency if variant is not None and price is not None else None,
    )


def _pictures(assets: Iterable[str], theirs: Details) -> tuple[str, ...]:
    return tuple(dict.fromkeys(asset for asset in assets if asset in theirs.pictures))
