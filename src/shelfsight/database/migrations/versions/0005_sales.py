"""Sales, booked once, and webhooks with what is to be sent to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Iterable

revision = "0005"
down_revision = "0004"

_TO_READ = "shelfsight.sales, shelfsight.sale_lines"
_OURS_ALONE = "shelfsight.webhooks, shelfsight.webhook_deliveries"  # secrets, and what goes where


def upgrade() -> None:
    """Make four tables; on PostgreSQL `service_role` may read the sales, and nobody else may do anything."""
    make = _Tables(postgresql=op.get_bind().dialect.name == "postgresql")
    make.sales()
    make.webhooks()
    if make.postgresql:
        roles = "FROM PUBLIC, anon, authenticated, service_role"
        op.execute(f"REVOKE ALL ON {_TO_READ}, {_OURS_ALONE} {roles}")
        op.execute(f"REVOKE ALL ON SEQUENCE shelfsight.webhook_deliveries_id_seq {roles}")
        op.execute(f"GRANT SELECT ON {_TO_READ} TO service_role")


class _Tables:
    """The tables, in the words of one of the two databases."""

    def __init__(self, *, postgresql: bool) -> None:
        self.postgresql = postgresql
        self._schema = "shelfsight" if postgresql else None
        self._prefix = "shelfsight." if postgresql else ""
        self._instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
        self._number = sa.BigInteger if postgresql else sa.Integer

    def sales(self) -> None:
        self._create(
            "sales",
            sa.Column("channel_id", sa.Text, sa.ForeignKey(f"{self._prefix}channels.id"), primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("id", sa.Text, nullable=False),
            sa.Column("at", self._instant, nullable=False),
            sa.Column("received_at", self._instant, nullable=False),
            sa.Column("device", sa.Text),
            sa.Column("model_version", sa.Text),
            sa.Column("fingerprint", sa.Text, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.UniqueConstraint("channel_id", "id", name="one_sale_per_id"),
        )
        self._index("sales_by_time", "sales", ["channel_id", "received_at", "number"])
        self._index(
            "sales_by_device", "sales", ["channel_id", "device", "received_at", "number"], "device IS NOT NULL"
        )
        self._create(
            "sale_lines",
            sa.Column("channel_id", sa.Text, primary_key=True),
            sa.Column("sale_number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("product_id", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("sku", sa.Text),
            sa.Column("quantity", self._exact(9, 3), nullable=False),
            sa.Column("unit_price", self._exact(14, 4)),
            sa.Column("currency", sa.Text),
            sa.Column("amount", self._exact(20, 4)),
            sa.ForeignKeyConstraint(
                ["channel_id", "sale_number"],
                [f"{self._prefix}sales.channel_id", f"{self._prefix}sales.number"],
                name="line_of_a_sale",
            ),
            sa.CheckConstraint("(unit_price IS NULL) = (amount IS NULL)", name="amount_of_a_price"),
            sa.CheckConstraint("(unit_price IS NULL) = (currency IS NULL)", name="price_in_a_currency"),
        )

    def webhooks(self) -> None:
        self._create(
            "webhooks",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("channel_id", sa.Text, sa.ForeignKey(f"{self._prefix}channels.id"), nullable=False),
            sa.Column("url", sa.Text, nullable=False),
            sa.Column("events", JSONB if self.postgresql else sa.JSON, nullable=False),
            sa.Column("secret", sa.Text, nullable=False),
            sa.Column("created_at", self._instant, nullable=False),
            sa.Column("created_by", sa.Text, nullable=False),
            sa.Column("disabled_at", self._instant),
            sa.Column("disabled_reason", sa.Text),
        )
        self._index("webhooks_by_channel", "webhooks", ["channel_id", "id"])
        self._create(
            "webhook_deliveries",
            sa.Column("id", self._number, *([sa.Identity()] if self.postgresql else []), primary_key=True),
            sa.Column("channel_id", sa.Text, nullable=False),
            sa.Column("webhook_id", sa.Text, sa.ForeignKey(f"{self._prefix}webhooks.id"), nullable=False),
            sa.Column("message_id", sa.Text, nullable=False),
            sa.Column("event", sa.Text, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False, server_default="pending"),
            sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
            sa.Column("attempts_before", sa.Integer, nullable=False, server_default="0"),
            sa.Column("next_at", self._instant),
            sa.Column("claim", sa.Text),
            sa.Column("created_at", self._instant, nullable=False),
            sa.Column("attempted_at", self._instant),
            sa.Column("ended_at", self._instant),
            sa.Column("status", sa.Integer),
            sa.Column("error", sa.Text),
            sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state_is_known"),
            sa.CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name="pending_has_a_time"),
        )
        self._index("webhook_deliveries_due", "webhook_deliveries", ["next_at"], "state = 'pending'")
        self._index("webhook_deliveries_by_webhook", "webhook_deliveries", ["webhook_id", "id"])
        self._index("webhook_deliveries_by_end", "webhook_deliveries", ["ended_at"], "ended_at IS NOT NULL")

    def _create(self, name: str, *parts: Any) -> None:
        op.create_table(name, *parts, schema=self._schema)

    def _index(self, name: str, table: str, columns: Iterable[str], where: str | None = None) -> None:
        condition = None if where is None else sa.text(where)
        op.create_index(
            name, table, list(columns), schema=self._schema, postgresql_where=condition, sqlite_where=condition
        )

    def _exact(self, digits: int, places: int) -> Any:
        return sa.Numeric(digits, places) if self.postgresql else sa.String(digits + 2)
