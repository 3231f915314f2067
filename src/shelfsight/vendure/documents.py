"""What the plugin of a Vendure server sends, and is answered; and connections as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from shelfsight.api.documents import ApiDocument
from shelfsight.jobs.documents import TrainingDocument
from shelfsight.vendure.message_rules import Happening
from shelfsight.vendure.order_rules import OrderState
from shelfsight.vendure.order_store import OrderRow
from shelfsight.vendure.rules import ConnectedChannel, Sells
from shelfsight.vendure.sync import SyncResult
from shelfsight.vendure.take_over import Refusal

EVENTS_MOST = 500
PRODUCTS_MOST = 1000

Id = Annotated[str, Field(min_length=1, max_length=120)]


class EventDocument(ApiDocument):
    """Something that happened in Vendure."""

    kind: Annotated[str, Field(max_length=40)] = Field(description="product, variant, productChannel, asset, …")
    action: Annotated[str, Field(max_length=40)] = Field(description="created, updated, deleted, assigned, removed")
    product_ids: Annotated[list[Id], Field(max_length=PRODUCTS_MOST)]
    channel_ids: Annotated[list[Id], Field(max_length=PRODUCTS_MOST)] | None = Field(
        description="Channels that it concerns; null: any that has the products"
    )
    user_id: Id | None = Field(default=None, description="Who did it; our own changes are nothing new")
    at: AwareDatetime

    def happening(self) -> Happening:
        """Return what it says."""
        return Happening(
            kind=self.kind,
            products=tuple(self.product_ids),
            channels=None if self.channel_ids is None else tuple(self.channel_ids),
            user=self.user_id,
        )


class EventsDocument(ApiDocument):
    """What happened in a while."""

    events: Annotated[list[EventDocument], Field(max_length=EVENTS_MOST)]


class AcceptedDocument(ApiDocument):
    """How many events were taken."""

    accepted: int = Field(description="0: they had come before")


class TheirChannelDocument(ApiDocument):
    """A channel of Vendure."""

    channel_id: Id


class TrainingWishDocument(TheirChannelDocument):
    """Who wants a channel of Vendure to be trained."""

    requested_by: Annotated[str, Field(max_length=500)] = Field(description="Name of Vendure's administrator")


class TrainingStatusDocument(ApiDocument):
    """How a channel's latest training is going."""

    training: TrainingDocument | None
    model_version: str | None = Field(description="The stable version, such as v1.4.2")


class PingDocument(ApiDocument):
    """Nothing: only the signature counts."""


class PongDocument(ApiDocument):
    """The server that the signature was checked for."""

    server: str


class ConnectionDocument(ApiDocument):
    """A channel that is connected with one of Vendure's."""

    channel_id: str
    server: str
    api_url: str
    vendure_channel_id: str
    sells: Sells
    deploys: bool
    records_orders: bool
    created_at: datetime
    created_by: str
    products: int = Field(description="Of the channel that are for sale in Vendure")
    synced_at: datetime | None = Field(description="When everything was last looked at")
    sync_error: str | None = Field(description="Why the last sync failed; null: it did not")
    retry_at: datetime | None = Field(description="When it is tried again")
    mirror_error: str | None = Field(description="Why fields or model could not be written there; null: they were")
    orders_pending: int = Field(description="Sales that wait to become orders")
    orders_refused: int = Field(description="Sales that become none, unless somebody has them tried again")

    @classmethod
    def of(
        cls, one: ConnectedChannel, *, products: int, mirror_error: str | None, orders: Mapping[OrderState, int]
    ) -> "ConnectionDocument":
        """Return the document of a connection."""
        return cls(
            channel_id=one.channel,
            server=one.server.id,
            api_url=one.server.api_url,
            vendure_channel_id=one.vendure_channel,
            sells=one.sells,
            deploys=one.deploys,
            records_orders=one.records_orders,
            created_at=one.created_at,
            created_by=one.created_by,
            products=products,
            synced_at=one.state.synced_at,
            sync_error=one.state.error,
            retry_at=one.state.retry_at,
            mirror_error=mirror_error,
            orders_pending=orders.get(OrderState.PENDING, 0),
            orders_refused=orders.get(OrderState.REFUSED, 0),
        )


class RefusalDocument(ApiDocument):
    """What was not taken over from Vendure."""

    product_id: str
    asset_id: str | None = Field(description="Of the picture; null: it is the product")
    reason: str

    @classmethod
    def of(cls, one: Refusal) -> "RefusalDocument":
        """Return the document of a refusal."""
        return cls(product_id=one.product_id, asset_id=one.asset, reason=one.reason)


class SyncDocument(ApiDocument):
    """What a sync of a channel did."""

    channel_id: str
    seen: int
    added: int
    changed: int
    restored: int
    deleted: int
    pictures: int
    refused: list[RefusalDocument]
    put_off: list[RefusalDocument]

    @classmethod
    def of(cls, channel: str, result: SyncResult) -> "SyncDocument":
        """Return the document of a sync."""
        names = ("seen", "added", "changed", "restored", "deleted", "pictures")
        return cls(
            channel_id=channel,
            **{name: getattr(result, name) for name in names},
            refused=[RefusalDocument.of(one) for one in result.refused],
            put_off=[RefusalDocument.of(one) for one in result.put_off],
        )


class OrderDocument(ApiDocument):
    """A sale on its way to Vendure."""

    sale_id: str
    state: OrderState
    order_code: str | None = Field(description="In Vendure, once it is placed")
    note: str | None = Field(description="What somebody ought to know of one that is placed")
    error: str | None = Field(description="Why the last attempt failed, or why it was refused")
    attempts: int
    next_at: datetime | None = Field(description="When it is tried again, while it is pending")

    @classmethod
    def of(cls, one: OrderRow) -> "OrderDocument":
        """Return the document of a sale."""
        return cls(
            sale_id=one.sale_id,
            state=one.state,
            order_code=one.order_code,
            note=one.note,
            error=one.error,
            attempts=one.attempts,
            next_at=one.next_at,
        )
