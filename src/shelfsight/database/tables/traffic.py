"""What goes out and comes in: objects, downloads, webhooks, and what devices report."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text

from shelfsight.database.tables.columns import Json, Serial, UtcTime, metadata

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
    Column("metadata", Json),  # the uploader's own
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

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel_id", Text),
    Column("url", Text),
    Column("events", Json),
    Column("secret", Text),
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("disabled_at", UtcTime),
    Column("disabled_reason", Text),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Serial, primary_key=True),
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
