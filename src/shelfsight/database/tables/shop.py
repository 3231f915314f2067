"""The shop: its channels, products and images, and the log of their changes."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text

from shelfsight.database.tables.columns import Json, Money, UtcTime, metadata

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
    Column("model_retrain_triggers", Json),
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
    Column("barcodes", Json),
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
