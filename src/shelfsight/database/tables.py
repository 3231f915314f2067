"""The tables, as SQLAlchemy sees them; migrations make them, and triggers keep what is derived.

`model_metadata`, `trainings` and the view `ml_models` are for people and other programs: on PostgreSQL they lie in
the session's own schema (`public`). Everything else lies in the schema `shelfsight`, out of the way of a shop's own
tables (a `products` of its own, say) and of what PostgREST publishes. SQLite has no schemas; names are the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

SCHEMA = "shelfsight"

_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_Big = BigInteger().with_variant(Integer(), "sqlite")
"""A number that SQLite can count up by itself."""


class UtcTime(TypeDecorator[datetime]):
    """An instant, always with UTC as its zone; ISO 8601 text on SQLite, so that it sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what goes into the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's)
        """Return what comes out of it."""
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value if value is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """A decimal amount, exact; text on SQLite, whose numbers are floats."""

    impl = Numeric(14, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        return dialect.type_descriptor(String(20) if dialect.name == "sqlite" else Numeric(14, 4))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Return what goes into the database."""
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 (SQLAlchemy's)
        """Return what comes out of it, without zeros at the end: 1.50, 2, 0.125."""
        if value is None:
            return None
        amount = Decimal(value).normalize()
        exponent = amount.as_tuple().exponent
        return amount.quantize(Decimal("0.01")) if isinstance(exponent, int) and exponent > -2 else amount


metadata = MetaData(schema=SCHEMA)

channels = Table(
    "channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("token", Text),
    Column("created_at", UtcTime),
    Column("revision", BigInteger),  # of the last entry in `changes`
    Column("settings_revision", BigInteger),  # of the last change of what follows, for If-Match
    Column("sequence", BigInteger),  # counted up by every change of its model_metadata
    Column("visibility", Text),
    Column("release_policy", Text),
    Column("time_zone", Text),
    Column("model_base_url", Text),
    Column("model_version", Text),
    Column("model_last_trained", UtcTime),
    Column("model_training_status", Text),
    Column("model_auto_retrain_enabled", Boolean),
    Column("model_retrain_triggers", _Json),
    Column("model_retrain_debounce_seconds", Integer),
    Column("accuracy_threshold", Float),
    Column("learn_from_corrections", Boolean),
    Column("changed_since", UtcTime),  # these three: what `catalog.retrain` calls Due
    Column("quiet_since", UtcTime),
    Column("train_at", UtcTime),
)

products = Table(
    "products",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("sku", Text),
    Column("barcodes", _Json),
    Column("price", Money),
    Column("currency", Text),
    Column("created_at", UtcTime),
    Column("deleted_at", BigInteger),  # 0 = active, else Unix time of deletion
    Column("revision", BigInteger),  # of the entry in `changes` that last changed it
    Column("search_text", Text),  # name, SKU and barcodes, case-folded
)

images = Table(
    "images",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("media_type", Text),
    Column("size_bytes", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("created_at", UtcTime),
)

changes = Table(
    "changes",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("kind", Text),
    Column("product_id", Text),
    Column("image_sha256", Text),
    Column("at", UtcTime),
    Column("actor", Text),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", BigInteger),  # counted up by every new holder: the fencing token
    Column("holder", Text),
    Column("expires_at", UtcTime),
)

version_blobs = Table(
    "version_blobs",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
)

releases = Table(
    "releases",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),  # that became stable, written by triggers
    Column("at", UtcTime),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("at", UtcTime),
    Column("actor", Text),
    Column("action", Text),
    Column("channel_id", Text),
    Column("subject", Text),
    Column("address", Text),
    Column("details", _Json),
)

administrators = Table(
    "administrators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text),
    Column("created_at", UtcTime),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text),
    Column("name", Text),
    Column("secret_sha256", Text),
    Column("scopes", _Json),
    Column("channel_id", Text),
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text),
    Column("created_at", UtcTime),
    Column("status", Integer),
    Column("headers", _Json),
    Column("body", LargeBinary),
)

acting = Table("acting", metadata, Column("actor", Text))
"""Who is writing, seen inside the transaction only; SQLite's stand-in for a setting of the session."""

public = MetaData()

model_metadata = Table(
    "model_metadata",
    public,
    Column("version", Text),
    Column("file_path", Text),
    Column("file_size_bytes", BigInteger),
    Column("checksum_sha256", Text),
    Column("architecture", Text),
    Column("quantization", Text),
    Column("input_shape", _Json),
    Column("supported_providers", _Json),
    Column("rollout_percentage", Float),
    Column("status", Text),
    Column("shadow_mode", Boolean),
    Column("shadow_percentage", Float),
    Column("rollback_threshold", Float),
    Column("min_app_version", Text),
    Column("is_stable", Boolean),
    Column("created_at", UtcTime),
    Column("updated_at", UtcTime),
    Column("deprecated_at", UtcTime),
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("product_count", Integer),
    Column("image_count", Integer),
    Column("training_duration", Float),
    Column("trained_at", UtcTime),
    Column("accuracy", Float),
)

trainings = Table(
    "trainings",
    public,
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),
    Column("status", Text),
    Column("requested_by", Text),
    Column("created_at", UtcTime),
    Column("trained_at", UtcTime),
    Column("product_count", Integer),
    Column("image_count", Integer),
    Column("training_duration", Float),
    Column("accuracy", Float),
    Column("error", Text),  # why it failed, or what is missing
    Column("enqueued_at", UtcTime),  # when the job queue got it
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("cancelled_at", UtcTime),  # when somebody asked for its end
    Column("progress_at", UtcTime),
    Column("reason", Text),  # what started it: changes, night, or a person
    Column("stage", Text),
    Column("gate", Text),  # what the comparison with the active version says
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("catalogue_revision", BigInteger),  # of the channel when it began: what it has seen
    Column("forced", Boolean),  # becomes stable whatever the gate says
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),  # a new one for every start: host, process, chance
    Column("host", Text),
    Column("pid", BigInteger),
    Column("concurrency", Integer),  # how many jobs of a kind it runs at once
    Column("started_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("stopped_at", UtcTime),  # when it ended, or was declared dead; it never comes back under this id
)

training_log = Table(
    "training_log",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("training_id", BigInteger),
    Column("at", UtcTime),
    Column("line", Text),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),
    Column("salt", Text),  # which devices are in; triggers make a new one for every rollout
    Column("shadow_salt", Text),
    Column("stages_bp", _Json),  # shares in basis points on the way from the first to everybody, without the last
    Column("platforms", _Json),  # whom it is for; empty: everybody
    Column("tiers", _Json),
    Column("held_at", UtcTime),
    Column("reason", Text),  # of the last move, in words
    Column("started_at", UtcTime),
    Column("started_by", Text),
    Column("stage_at", UtcTime),  # of the last change of the share
    Column("ended_at", UtcTime),
    Column("outcome", Text),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", Text, primary_key=True),  # the SHA-256 of the public key; of the secret for `url`
    Column("kind", Text),  # config: ECDSA P-256; url: a secret
    Column("public_key", LargeBinary),  # SubjectPublicKeyInfo, DER
    Column("private_key", LargeBinary),  # PKCS 8, DER; or the secret
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("replaced_at", UtcTime),  # another signs now; this one as well, until it is retired
    Column("retired_at", UtcTime),
)

objects = Table(
    "objects",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("bucket", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("id", Text),
    Column("sha256", Text),
    Column("size_bytes", BigInteger),
    Column("media_type", Text),
    Column("cache_control", Text),
    Column("metadata", _Json),  # the uploader's own
    Column("created_at", UtcTime),
    Column("updated_at", UtcTime),
)

downloads = Table(
    "downloads",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("hour", UtcTime, primary_key=True),  # the beginning of it
    Column("file", Text, primary_key=True),
    Column("version", Text, primary_key=True),  # empty: a blob, or an uploaded object
    Column("actor", Text, primary_key=True),
    Column("count", BigInteger),
    Column("size_bytes", BigInteger),
)


class Exact(Money):
    """A decimal number of that many digits and places, exact; text on SQLite."""

    cache_ok = True

    def __init__(self, digits: int, places: int) -> None:
        """Keep numbers with `places` behind the point."""
        super().__init__()
        self.digits, self.places = digits, places

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        is_text = dialect.name == "sqlite"
        return dialect.type_descriptor(String(self.digits + 2) if is_text else Numeric(self.digits, self.places))


sales = Table(
    "sales",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),  # 1, 2, 3 … within a channel, in the order of commit
    Column("id", Text),  # the till's own; one of each in a channel
    Column("at", UtcTime),  # when, by the till's clock
    Column("received_at", UtcTime),  # by the database's
    Column("device", Text),
    Column("model_version", Text),
    Column("fingerprint", Text),  # SHA-256 of what the till said: the same sale comes twice, another one never
    Column("actor", Text),
)

sale_lines = Table(
    "sale_lines",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("sale_number", BigInteger, primary_key=True),
    Column("line", Integer, primary_key=True),  # 1, 2, 3 …
    Column("product_id", Text),
    Column("name", Text),  # this and what follows: as it was when the sale was booked
    Column("sku", Text),
    Column("quantity", Exact(9, 3)),
    Column("unit_price", Exact(14, 4)),
    Column("currency", Text),
    Column("amount", Exact(20, 4)),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel_id", Text),
    Column("url", Text),
    Column("events", _Json),
    Column("secret", Text),
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("disabled_at", UtcTime),
    Column("disabled_reason", Text),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("channel_id", Text),
    Column("webhook_id", Text),
    Column("message_id", Text),  # the same for every webhook that the event goes to, and at every attempt
    Column("event", Text),
    Column("body", Text),
    Column("state", Text),
    Column("attempts", Integer),
    Column("attempts_before", Integer),  # those of before somebody asked for it to be sent anew
    Column("next_at", UtcTime),  # when it is to be sent; while it is being sent, when to take its sender for dead
    Column("claim", Text),  # of who is sending it
    Column("created_at", UtcTime),
    Column("attempted_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("status", Integer),  # that was answered last
    Column("error", Text),  # why the last attempt did not succeed
)

events = Table(
    "events",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # the device's own
    Column("received_at", UtcTime),
    Column("at", UtcTime),  # by the device's clock
    Column("kind", Text),
    Column("version", Text),  # without the v
    Column("device", Text),
    Column("product_id", Text),
    Column("correct_product_id", Text),
    Column("confidence", Float),
    Column("known", Boolean),
    Column("latency_ms", Float),
    Column("agrees", Boolean),
    Column("reason", Text),
)

vendure_servers = Table(
    "vendure_servers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("api_url", Text),
    Column("username", Text),  # with a password, or an API key instead
    Column("password", Text),
    Column("api_key", Text),
    Column("secret", Text),  # what its plugin signs with: whsec_…
    Column("user_id", Text),  # ours there: what it changes are our own changes
    Column("created_at", UtcTime),
    Column("created_by", Text),
)

vendure_channels = Table(
    "vendure_channels",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("server_id", Text),
    Column("vendure_channel_id", Text),
    Column("token", Text),  # of the channel there
    Column("sells", Text),  # products, variants
    Column("deploys", Boolean),
    Column("records_orders", Boolean),
    Column("sales_taken", BigInteger),  # number of the last sale that is in vendure_orders; NULL = none is to be
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("scan_at", UtcTime),  # when everything is to be looked at next
    Column("retry_at", UtcTime),  # not before then, for the last sync failed
    Column("sync_attempts", Integer),  # that failed since one that did not
    Column("sync_error", Text),
    Column("synced_at", UtcTime),  # when everything was last looked at, and taken over
    Column("mirrored_status", Text),  # these three: what was last written there of how the channel is
    Column("mirrored_version", Text),
    Column("mirrored_trained", UtcTime),
    Column("mirror_error", Text),  # why that failed the last time, how often since it did not, and when it is next
    Column("mirror_attempts", Integer),
    Column("mirror_at", UtcTime),
)

vendure_products = Table(
    "vendure_products",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),  # ours
    Column("vendure_product_id", Text),
    Column("variant_id", Text),
    Column("fingerprint", Text),  # of what it was when it was taken over; NULL = it is not sold there any more
    Column("pictures", _Json),  # hashes of the images that came from there
)

vendure_assets = Table(
    "vendure_assets",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("asset_id", Text, primary_key=True),
    Column("sha256", Text),
    Column("reason", Text),  # why it was refused, else NULL
)

vendure_wanted = Table(
    "vendure_wanted",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("vendure_product_id", Text, primary_key=True),
    Column("since", UtcTime),
)

vendure_messages = Table(
    "vendure_messages",
    metadata,
    Column("server_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # the header webhook-id
    Column("received_at", UtcTime),
)

vendure_orders = Table(
    "vendure_orders",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("sale_id", Text, primary_key=True),
    Column("state", Text),
    Column("order_id", Text),  # there, from the moment that its draft is made
    Column("order_code", Text),
    Column("note", Text),  # what somebody ought to know of one that is placed
    Column("error", Text),
    Column("attempts", Integer),
    Column("next_at", UtcTime),  # of the next attempt, while it is pending
)
