"""Channels, products, images and changes as JSON."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, cast

from pydantic import Field

from shelfsight.api.documents import ApiDocument
from shelfsight.catalog.fetch import URLS_MOST
from shelfsight.catalog.images import Outcome
from shelfsight.catalog.reach import URL_LENGTH_MOST
from shelfsight.catalog.rules import (
    BARCODES_MOST,
    BATCH_MOST,
    NAME_MOST,
    PRODUCT_ID_MOST,
    Change,
    ChangeKind,
    Channel,
    ChannelValues,
    Image,
    Product,
    ProductDetails,
    ProductValues,
    ReleasePolicy,
    RetrainTrigger,
    TrainingStatus,
    Visibility,
)
from shelfsight.catalog.text import price_text

Name = Annotated[str, Field(min_length=1, max_length=NAME_MOST)]
Sku = Annotated[str, Field(min_length=1, max_length=128)]
Barcodes = Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=BARCODES_MOST)]
Price = Annotated[Decimal, Field(ge=0, description="At most 4 places; exact as text, such as 1.50")]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217")]
ProductId = Annotated[str, Field(min_length=1, max_length=PRODUCT_ID_MOST)]
_STAYS: Any = Field(default_factory=lambda: None)
"""Of what need not be named; a factory, for a default would stand in the description of the API and not be true."""


class ChannelDocument(ApiDocument):
    """A channel and its settings."""

    id: str
    name: str
    token: str | None = Field(description="The public key of its devices; null for who may only read")
    created_at: datetime
    revision: int = Field(description="Of the last of its changes")
    settings_revision: int
    sequence: int = Field(description="Counts up with every change of what devices are given")
    model_base_url: str | None
    model_version: str | None
    model_last_trained: datetime | None
    model_training_status: TrainingStatus
    model_auto_retrain_enabled: bool
    model_retrain_triggers: list[RetrainTrigger]
    model_retrain_debounce_seconds: int
    time_zone: str
    visibility: Visibility
    release_policy: ReleasePolicy
    accuracy_threshold: float | None = Field(description="Kept, and without effect yet")
    learn_from_corrections: bool = Field(description="Kept, and without effect yet")

    @classmethod
    def of(cls, channel: Channel, *, with_token: bool) -> "ChannelDocument":
        """Return the document of a channel."""
        settings = channel.settings
        return cls(
            id=channel.id,
            name=channel.name,
            token=channel.token if with_token else None,
            created_at=channel.created_at,
            revision=channel.revision,
            settings_revision=channel.settings_revision,
            sequence=channel.sequence,
            model_base_url=settings.model_base_url,
            model_version=settings.model_version,
            model_last_trained=settings.model_last_trained,
            model_training_status=settings.model_training_status,
            model_auto_retrain_enabled=settings.model_auto_retrain_enabled,
            model_retrain_triggers=[one for one in RetrainTrigger if one in settings.model_retrain_triggers],
            model_retrain_debounce_seconds=settings.model_retrain_debounce_seconds,
            time_zone=settings.time_zone,
            visibility=settings.visibility,
            release_policy=settings.release_policy,
            accuracy_threshold=settings.accuracy_threshold,
            learn_from_corrections=settings.learn_from_corrections,
        )


class ChannelChangeDocument(ApiDocument):
    """What to change of a channel; what is not named stays."""

    name: Name = _STAYS
    model_base_url: Annotated[str, Field(max_length=2000)] | None = _STAYS
    model_auto_retrain_enabled: bool = _STAYS
    model_retrain_triggers: list[RetrainTrigger] = _STAYS
    model_retrain_debounce_seconds: Annotated[int, Field(ge=1, le=86_400)] = _STAYS
    time_zone: Annotated[str, Field(max_length=100)] = _STAYS
    visibility: Visibility = _STAYS
    release_policy: ReleasePolicy = _STAYS
    accuracy_threshold: Annotated[float, Field(ge=0, le=1)] | None = _STAYS
    learn_from_corrections: bool = _STAYS

    def values(self) -> ChannelValues:
        """Return what was named."""
        named = _named(self, ChannelValues.__annotations__)
        if "model_retrain_triggers" in named:
            named["model_retrain_triggers"] = frozenset(self.model_retrain_triggers)
        return cast("ChannelValues", named)


class NewChannelDocument(ChannelChangeDocument):
    """A channel to be made."""

    id: Annotated[str, Field(min_length=1, max_length=64)]


class DetailsDocument(ApiDocument):
    """What a shop says of a product."""

    name: Name
    sku: Sku | None = None
    barcodes: Barcodes = Field(default_factory=list)
    price: Price | None = None
    currency: Currency | None = None

    def details(self) -> ProductDetails:
        """Return it as the catalogue has it."""
        return ProductDetails(
            name=self.name,
            sku=self.sku,
            barcodes=tuple(self.barcodes),
            price=self.price,
            currency=self.currency,
        )


class NewProductDocument(DetailsDocument):
    """A product to be added; without an id it is given one."""

    id: ProductId | None = None


class BatchProductDocument(DetailsDocument):
    """A product of a batch."""

    id: ProductId


class BatchDocument(ApiDocument):
    """Products that shall be as they are here."""

    products: Annotated[list[BatchProductDocument], Field(max_length=BATCH_MOST)]


class ProductChangeDocument(ApiDocument):
    """What to change of a product; what is not named stays."""

    name: Name = _STAYS
    sku: Sku | None = _STAYS
    barcodes: Barcodes = _STAYS
    price: Price | None = _STAYS
    currency: Currency | None = _STAYS

    def values(self) -> ProductValues:
        """Return what was named."""
        named = _named(self, ProductValues.__annotations__)
        if "barcodes" in named:
            named["barcodes"] = tuple(self.barcodes)
        return cast("ProductValues", named)


class ProductDocument(ApiDocument):
    """A product."""

    id: str
    name: str
    sku: str | None
    barcodes: list[str]
    price: Annotated[str, Field(description="Decimal, such as 1.50")] | None
    currency: str | None
    created_at: datetime
    deleted_at: int = Field(description="0 = active, else the Unix time of its deletion")
    revision: int

    @classmethod
    def of(cls, product: Product) -> "ProductDocument":
        """Return the document of a product."""
        return cls(
            id=product.id,
            name=product.name,
            sku=product.sku,
            barcodes=list(product.barcodes),
            price=None if product.price is None else price_text(product.price),
            currency=product.currency,
            created_at=product.created_at,
            deleted_at=product.deleted_at,
            revision=product.revision,
        )


class BatchResultDocument(ApiDocument):
    """What became of a product of a batch."""

    id: str
    revision: int
    change: ChangeKind | None = Field(description="null: it was so already")


class BatchResultsDocument(ApiDocument):
    """What became of a batch, in its order."""

    results: list[BatchResultDocument]


class ImageDocument(ApiDocument):
    """An image of a product."""

    sha256: str
    media_type: str
    size_bytes: int
    width: int = Field(description="Of the picture as it is shown, upright")
    height: int
    created_at: datetime

    @classmethod
    def of(cls, image: Image) -> "ImageDocument":
        """Return the document of an image."""
        return cls(
            sha256=image.sha256,
            media_type=image.media_type,
            size_bytes=image.size_bytes,
            width=image.width,
            height=image.height,
            created_at=image.created_at,
        )


class UrlsDocument(ApiDocument):
    """Where pictures are on the web."""

    urls: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=URL_LENGTH_MOST)]],
        Field(min_length=1, max_length=URLS_MOST),
    ]


class AddedDocument(ApiDocument):
    """What became of a picture."""

    name: str = Field(description="Of the file, or its URL, as it was sent")
    outcome: Outcome
    sha256: str | None
    reason: str | None = Field(description="Why it was refused")
    also_under: list[str] = Field(description="Other active products with the very same picture")


class AddedImagesDocument(ApiDocument):
    """What became of the pictures, in their order."""

    results: list[AddedDocument]


class ChangeDocument(ApiDocument):
    """One change of a channel or its catalogue."""

    revision: int
    kind: ChangeKind
    product_id: str | None
    image_sha256: str | None
    at: datetime
    actor: str

    @classmethod
    def of(cls, change: Change) -> "ChangeDocument":
        """Return the document of a change."""
        return cls(
            revision=change.revision,
            kind=change.kind,
            product_id=change.product_id,
            image_sha256=change.image_sha256,
            at=change.at,
            actor=change.actor,
        )


class ChangesDocument(ApiDocument):
    """What changed, oldest first; ask on with the revision of the last item until `revision` is reached."""

    items: list[ChangeDocument]
    revision: int = Field(description="Of the last of the channel's changes")


def _named(document: ApiDocument, among: Any) -> dict[str, Any]:
    return {name: getattr(document, name) for name in sorted(document.model_fields_set) if name in among}
