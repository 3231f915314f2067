"""What a channel, a product and a change are, and what may be said of them. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict

from shelfsight.catalog.text import UNWRITABLE, folded
from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

CHANNEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""Ids of channels, which are names of folders and parts of URLs."""

DEFAULT_CHANNEL = "default"
"""The channel of who names none; it is always there."""

RESERVED_CHANNELS = frozenset({"blobs"})
"""Names that lie beside the channels' folders."""

BATCH_MOST = 1000
"""Most products in one batch."""

NAME_MOST = 500
PRODUCT_ID_MOST = 128
BARCODES_MOST = 50
CODE_MOST = 128
_URL_MOST = 2000
_PRICE_BELOW = Decimal(10) ** 10
_PRICE_PLACES = 4
_DEBOUNCE_MOST_S = 86_400
"""Control characters, line separators, and halves of characters: in no text of a catalogue."""


class Visibility(StrEnum):
    """Who may download a channel's models."""

    PUBLIC = "public"
    PRIVATE = "private"


class ReleasePolicy(StrEnum):
    """What becomes of a finished training: stable at once, or a rollout's candidate."""

    IMMEDIATE = "immediate"
    STAGED = "staged"


class TrainingStatus(StrEnum):
    """What a channel's training is doing."""

    IDLE = "idle"
    QUEUED = "queued"
    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"


class RetrainTrigger(StrEnum):
    """What starts a training by itself."""

    PRODUCT_ADDED = "product-added"
    PRODUCT_DELETED = "product-deleted"
    IMAGE_CHANGED = "image-changed"
    SCHEDULE = "schedule"
    ACCURACY = "accuracy"


class ChangeKind(StrEnum):
    """What happened to a channel."""

    SETTINGS_CHANGED = "settings-changed"
    PRODUCT_ADDED = "product-added"
    PRODUCT_CHANGED = "product-changed"
    PRODUCT_DELETED = "product-deleted"
    PRODUCT_RESTORED = "product-restored"
    IMAGE_ADDED = "image-added"
    IMAGE_REMOVED = "image-removed"


class ProductState(StrEnum):
    """Which products a list holds."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who changes something, and when (UTC)."""

    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """How a channel trains and publishes.

    Attributes:
        model_base_url: where devices download models from: a path on this server, or a URL of another; None = no
            model yet.
        model_version: the stable version, such as `v1.4.2`; kept by the database.
        model_last_trained: when a training last ended well (UTC).
        accuracy_threshold: accuracy on devices, 0..1, below which `accuracy` triggers one; nothing reads it yet.
        learn_from_corrections: whether corrected pictures become training images; nothing reads it yet.
    """

    model_base_url: str | None = None
    model_version: str | None = None
    model_last_trained: datetime | None = None
    model_training_status: TrainingStatus = TrainingStatus.IDLE
    model_auto_retrain_enabled: bool = True
    model_retrain_triggers: frozenset[RetrainTrigger] = frozenset(RetrainTrigger)
    model_retrain_debounce_seconds: int = 60
    time_zone: str = "UTC"
    visibility: Visibility = Visibility.PUBLIC
    release_policy: ReleasePolicy = ReleasePolicy.IMMEDIATE
    accuracy_threshold: float | None = None
    learn_from_corrections: bool = False


class ChannelValues(TypedDict, total=False):
    """What people change of a channel; its other settings follow from trainings and releases."""

    name: str
    model_base_url: str | None
    model_auto_retrain_enabled: bool
    model_retrain_triggers: frozenset[RetrainTrigger]
    model_retrain_debounce_seconds: int
    time_zone: str
    visibility: Visibility
    release_policy: ReleasePolicy
    accuracy_threshold: float | None
    learn_from_corrections: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A shop; as it is, so that one wrong row that somebody wrote in SQL hides no others.

    Attributes:
        token: names the channel on the wire of devices.
        revision: of the last entry in its changes.
        settings_revision: of the last change of name, token or settings.
        sequence: counted up by every change of what devices are given.
    """

    id: str
    name: str
    token: str = field(repr=False)
    created_at: datetime
    revision: int = 0
    settings_revision: int = 0
    sequence: int = 0
    settings: ChannelSettings = ChannelSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    name: str
    sku: str | None = None
    barcodes: tuple[str, ...] = ()
    price: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductDetails(_Described):
    """What a shop says of a product, and may change.

    Attributes:
        name: empty = shown by its id.
        barcodes: each once, in the shop's order.
        price: at least 0, at most 4 places, with a `currency` only.
        currency: ISO 4217, such as `EUR`.
    """

    def __post_init__(self) -> None:
        """Refuse what cannot be shown, searched or sold."""
        _check_text("name", self.name, NAME_MOST)
        if self.sku is not None:
            _check_code("sku", self.sku)
        for barcode in self.barcodes:
            _check_code("a barcode", barcode)
        if len(self.barcodes) > BARCODES_MOST:
            raise UsageError(f"{len(self.barcodes)} barcodes: a product has at most {BARCODES_MOST}")
        if len(set(self.barcodes)) < len(self.barcodes):
            raise UsageError(f"barcodes are {', '.join(self.barcodes)}: name each once")
        if self.currency is not None and not re.fullmatch("[A-Z]{3}", self.currency):
            raise UsageError(f"currency is {self.currency!r}: it must be a code of ISO 4217, such as EUR")
        if self.price is not None:
            _check_price(self.price, self.currency)


class ProductValues(TypedDict, total=False):
    """What a change of a product may name; a product's id never changes."""

    name: str
    sku: str | None
    barcodes: tuple[str, ...]
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(_Described):
    """What a channel sells; as it is, so that one wrong row that somebody wrote in SQL hides no others.

    Attributes:
        id: immutable; the only thing a model knows.
        deleted_at: 0 = active, else the Unix time of its deletion.
        revision: of the change that last touched it.
    """

    id: str
    created_at: datetime
    deleted_at: int = 0
    revision: int = 0

    def values(self) -> dict[str, Any]:
        """Return what `ProductDetails` has, by name."""
        return _values(self)

    def with_details(self, details: ProductDetails) -> Product:
        """Return the product as `details` say, otherwise the same."""
        return replace(self, **_values(details))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A photo of a product, identified by the SHA-256 of its bytes; its size is that of the upright picture."""

    product_id: str
    sha256: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of a channel's history; revisions are 1, 2, 3 … in the order of commit."""

    revision: int
    kind: ChangeKind
    product_id: str | None
    image_sha256: str | None
    at: datetime
    actor: str


def check_channel_id(channel_id: str) -> None:
    """Refuse what cannot name a channel.

    Raises:
        UsageError: it is no name of a folder, or that of a folder of ours.
    """
    if not re.fullmatch(CHANNEL_PATTERN, channel_id):
        raise UsageError(
            f"{channel_id!r} cannot be the id of a channel: "
            "use 1 to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit"
        )
    if channel_id.lower() in RESERVED_CHANNELS:
        raise UsageError(f"{channel_id!r} is a folder of ours: name the channel something else")


def check_product_id(product_id: str) -> None:
    """Refuse what cannot be a product's id: it stands in URLs, in labels of models and in names of folders.

    Raises:
        UsageError: it is empty, too long, invisible, or looks like a path.
    """
    shown = repr(product_id[: PRODUCT_ID_MOST + 1])
    if not 1 <= len(product_id) <= PRODUCT_ID_MOST:
        raise UsageError(f"{shown} cannot be the id of a product: it must have 1 to {PRODUCT_ID_MOST} characters")
    if not product_id.isprintable() or product_id != product_id.strip():
        raise UsageError(f"{shown} cannot be the id of a product: no control characters, no space at its ends")
    if product_id in {".", ".."} or "/" in product_id or "\\" in product_id:
        raise UsageError(f"{shown} cannot be the id of a product: it reads like a path")
    if not unicodedata.is_normalized("NFC", product_id):
        raise UsageError(f"{shown} cannot be the id of a product: its accents must be composed (Unicode NFC)")


def search_text(product: Product) -> str:
    """Return the line a search looks through; its parts are apart by what no search can contain."""
    return "\n".join(folded(part) for part in (product.name, product.sku, *product.barcodes) if part)


def changed(product: Product, values: ProductValues) -> Product:
    """Return the product with some of its details changed.

    Raises:
        UsageError: a value cannot be.
    """
    return product.with_details(ProductDetails(**{**product.values(), **values}))


def put_kind(before: Product | None, details: ProductDetails) -> ChangeKind | None:
    """Return what happens to a product that shall be as `details` say, None if it is so already."""
    if before is None:
        return ChangeKind.PRODUCT_ADDED
    if before.deleted_at:
        return ChangeKind.PRODUCT_RESTORED
    return None if before.values() == _values(details) else ChangeKind.PRODUCT_CHANGED


def with_values(channel: Channel, values: ChannelValues) -> Channel:
    """Return the channel with its name and settings changed; whether a time zone exists is for the shell to find out.

    Raises:
        UsageError: the id or a value cannot be.
    """
    settings = {name: value for name, value in values.items() if name != "name"}
    changed = replace(channel.settings, **settings)  # type: ignore[arg-type]  # of a TypedDict's items
    _check_settings(changed)
    after = replace(channel, name=values.get("name", channel.name), settings=changed)
    check_channel_id(after.id)
    _check_text("the name of a channel", after.name, NAME_MOST)
    return after


def _check_settings(settings: ChannelSettings) -> None:
    seconds, threshold, url = (
        settings.model_retrain_debounce_seconds,
        settings.accuracy_threshold,
        settings.model_base_url,
    )
    if not 1 <= seconds <= _DEBOUNCE_MOST_S:
        raise UsageError(f"modelRetrainDebounceSeconds is {seconds}: it must be 1 to {_DEBOUNCE_MOST_S}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"accuracyThreshold is {threshold}: it must be 0 to 1, or null")
    if url is not None:
        _check_text("modelBaseUrl", url, _URL_MOST)
        if not re.match(r"(https?:/)?/[^/\s]", url):
            raise UsageError(f"modelBaseUrl is {url!r}: it must begin with https://, http://, or a single /")


def check_batch(product_ids: Sequence[str]) -> None:
    """Refuse a batch that cannot be written as one.

    Raises:
        UsageError: it is too large, names a product twice, or by what cannot be an id.
    """
    if len(product_ids) > BATCH_MOST:
        raise UsageError(f"{len(product_ids)} products in one batch: send at most {BATCH_MOST}")
    for product_id, times in Counter(product_ids).items():
        check_product_id(product_id)
        if times > 1:
            raise UsageError(f"product {product_id!r} is in the batch twice: send each once")


def _values(described: _Described) -> dict[str, Any]:
    return {each.name: getattr(described, each.name) for each in fields(_Described)}


def _check_text(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise UsageError(f"{what} has {len(text)} characters: at most {most} are kept")
    if UNWRITABLE.search(text):
        raise UsageError(f"{what} has a control character or half a character: leave it out")
    if text and not text.strip():
        raise UsageError(f"{what} holds nothing but spaces")


def _check_code(what: str, code: str) -> None:
    if not code:
        raise UsageError(f"{what} is empty: leave it out")
    _check_text(what, code, CODE_MOST)


def _check_price(price: Decimal, currency: str | None) -> None:
    if currency is None:
        raise UsageError(f"price is {price} of what? Name a currency, such as EUR")
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int) or price.is_signed() or price >= _PRICE_BELOW:  # no int: infinite, or no number
        raise UsageError(f"price is {price}: it must be at least 0 and below {_PRICE_BELOW}")
    if exponent < -_PRICE_PLACES:
        raise UsageError(f"price is {price}: it has at most {_PRICE_PLACES} places")
