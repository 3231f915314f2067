"""What is known of Vendure servers, of their channels and products, and of orders there."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from shelfsight.database.tables.columns import Json, UtcTime, metadata

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
    Column("pictures", Json),  # hashes of the images that came from there
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
