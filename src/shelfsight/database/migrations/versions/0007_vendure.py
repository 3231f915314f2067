"""Vendure servers, the channels that are connected to theirs, and what was taken over from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Iterable

revision = "0007"
down_revision = "0006"

_TABLES = (
    "vendure_servers",
    "vendure_channels",
    "vendure_products",
    "vendure_assets",
    "vendure_wanted",
    "vendure_messages",
    "vendure_orders",
)


def upgrade() -> None:
    """Make seven tables; on PostgreSQL they are ours alone, for they hold passwords."""
    make = _Tables(postgresql=op.get_bind().dialect.name == "postgresql")
    make.connections()
    make.catalogue()
    make.traffic()
    if make.postgresql:
        ours = ", ".join(f"shelfsight.{name}" for name in _TABLES)
        op.execute(f"REVOKE ALL ON {ours} FROM PUBLIC, anon, authenticated, service_role")


class _Tables:
    """The tables, in the words of one of the two databases."""

    def __init__(self, *, postgresql: bool) -> None:
        self.postgresql = postgresql
        self._schema = "shelfsight" if postgresql else None
        self._prefix = "shelfsight." if postgresql else ""
        self._instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
        self._json = JSONB if postgresql else sa.JSON

    def connections(self) -> None:
        self._create(
            "vendure_servers",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("api_url", sa.Text, nullable=False, unique=True),
            sa.Column("username", sa.Text),
            sa.Column("password", sa.Text),
            sa.Column("api_key", sa.Text),
            sa.Column("secret", sa.Text, nullable=False),
            sa.Column("user_id", sa.Text, nullable=False),
            sa.Column("created_at", self._instant, nullable=False),
            sa.Column("created_by", sa.Text, nullable=False),
            sa.CheckConstraint("(username IS NULL) = (password IS NULL)", name="password_of_a_user"),
            sa.CheckConstraint("(username IS NULL) <> (api_key IS NULL)", name="one_way_in"),
        )
        self._create(
            "vendure_channels",
            self._channel(),
            sa.Column("server_id", sa.Text, sa.ForeignKey(f"{self._prefix}vendure_servers.id"), nullable=False),
            sa.Column("vendure_channel_id", sa.Text, nullable=False),
            sa.Column("token", sa.Text, nullable=False),
            sa.Column("sells", sa.Text, nullable=False),
            sa.Column("deploys", sa.Boolean, nullable=False),
            sa.Column("records_orders", sa.Boolean, nullable=False),
            sa.Column("sales_taken", sa.BigInteger),
            sa.Column("created_at", self._instant, nullable=False),
            sa.Column("created_by", sa.Text, nullable=False),
            sa.Column("scan_at", self._instant, nullable=False),
            sa.Column("retry_at", self._instant),
            sa.Column("sync_attempts", sa.Integer, nullable=False, server_default="0"),
            sa.Column("sync_error", sa.Text),
            sa.Column("synced_at", self._instant),
            sa.Column("mirrored_status", sa.Text),
            sa.Column("mirrored_version", sa.Text),
            sa.Column("mirrored_trained", self._instant),
            sa.Column("mirror_error", sa.Text),
            sa.Column("mirror_attempts", sa.Integer, nullable=False, server_default="0"),
            sa.Column("mirror_at", self._instant),
            sa.UniqueConstraint("server_id", "vendure_channel_id", name="one_connection_per_channel"),
            sa.CheckConstraint("sells IN ('products', 'variants')", name="sells_is_known"),
        )

    def catalogue(self) -> None:
        self._create(
            "vendure_products",
            self._channel(),
            sa.Column("product_id", sa.Text, primary_key=True),
            sa.Column("vendure_product_id", sa.Text, nullable=False),
            sa.Column("variant_id", sa.Text),
            sa.Column("fingerprint", sa.Text),
            sa.Column("pictures", self._json, nullable=False),
        )
        self._index("vendure_products_by_theirs", "vendure_products", ["channel_id", "vendure_product_id"])
        self._create(
            "vendure_assets",
            self._channel(),
            sa.Column("asset_id", sa.Text, primary_key=True),
            sa.Column("sha256", sa.Text),
            sa.Column("reason", sa.Text),
            sa.CheckConstraint("(sha256 IS NULL) <> (reason IS NULL)", name="taken_or_refused"),
        )
        self._create(
            "vendure_wanted",
            self._channel(),
            sa.Column("vendure_product_id", sa.Text, primary_key=True),
            sa.Column("since", self._instant, nullable=False),
        )

    def traffic(self) -> None:
        server = sa.ForeignKey(f"{self._prefix}vendure_servers.id")
        self._create(
            "vendure_messages",
            sa.Column("server_id", sa.Text, server, primary_key=True),
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("received_at", self._instant, nullable=False),
        )
        self._index("vendure_messages_by_age", "vendure_messages", ["received_at"])
        self._create(
            "vendure_orders",
            self._channel(),
            sa.Column("sale_id", sa.Text, primary_key=True),
            sa.Column("state", sa.Text, nullable=False, server_default="pending"),
            sa.Column("order_id", sa.Text),
            sa.Column("order_code", sa.Text),
            sa.Column("note", sa.Text),
            sa.Column("error", sa.Text),
            sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
            sa.Column("next_at", self._instant),
            sa.CheckConstraint("state IN ('pending', 'placed', 'refused')", name="state_is_known"),
            sa.CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name="pending_has_a_time"),
        )
        self._index("vendure_orders_due", "vendure_orders", ["next_at"], "state = 'pending'")

    def _channel(self) -> sa.Column[Any]:
        return sa.Column("channel_id", sa.Text, sa.ForeignKey(f"{self._prefix}channels.id"), primary_key=True)

    def _create(self, name: str, *parts: Any) -> None:
        op.create_table(name, *parts, schema=self._schema)

    def _index(self, name: str, table: str, columns: Iterable[str], where: str | None = None) -> None:
        condition = None if where is None else sa.text(where)
        op.create_index(
            name, table, list(columns), schema=self._schema, postgresql_where=condition, sqlite_where=condition
        )
