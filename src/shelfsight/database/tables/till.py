"""Sales."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from shelfsight.database.tables.columns import Exact, UtcTime, metadata

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
