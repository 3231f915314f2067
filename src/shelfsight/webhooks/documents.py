"""Webhooks and their deliveries as JSON."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from shelfsight.api.documents import ApiDocument
from shelfsight.catalog.reach import URL_LENGTH_MOST
from shelfsight.webhooks.rules import Delivery, DeliveryState, Event, Webhook


class NewWebhookDocument(ApiDocument):
    """A webhook to be added."""

    url: Annotated[str, Field(min_length=1, max_length=URL_LENGTH_MOST)] = Field(
        description="https:// or http://, on the public internet; redirects are not followed"
    )
    events: Annotated[list[Event], Field(min_length=1, max_length=100)]


class WebhookDocument(ApiDocument):
    """Where events of a channel are sent."""

    id: str
    url: str
    events: list[str]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None = Field(description="Since when its server wants no more (410); null: it is sent to")
    disabled_reason: str | None

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookDocument":
        """Return the document of a webhook."""
        return cls(**_own(webhook))


class AddedWebhookDocument(WebhookDocument):
    """A webhook that was added just now."""

    secret: str = Field(description="What its receiver checks signatures with, shown this once: whsec_…")

    @classmethod
    def with_secret(cls, webhook: Webhook, secret: str) -> "AddedWebhookDocument":
        """Return the document of a webhook and its secret."""
        return cls(**_own(webhook), secret=secret)


class DeliveryDocument(ApiDocument):
    """An event on its way to a webhook."""

    id: int
    message_id: str = Field(description="The header webhook-id: the same at every attempt")
    event: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None = Field(description="Of the next attempt; null: there is none")
    attempted_at: datetime | None
    ended_at: datetime | None
    status: int | None = Field(description="What was answered last; null: nothing")
    error: str | None = Field(description="Why the last attempt did not succeed")

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryDocument":
        """Return the document of a delivery."""
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


def _own(webhook: Webhook) -> dict[str, object]:
    own = {name: getattr(webhook, name) for name in WebhookDocument.model_fields}
    return own | {"events": list(webhook.events)}
