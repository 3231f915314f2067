"""What devices report, as they sent it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table `events`; on PostgreSQL nobody else may write it."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "shelfsight" if postgresql else None
    instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
    channel = f"{schema}.channels.id" if schema else "channels.id"
    op.create_table(
        "events",
        sa.Column("channel_id", sa.Text, sa.ForeignKey(channel), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("device", sa.Text),
        sa.Column("product_id", sa.Text),
        sa.Column("correct_product_id", sa.Text),
        sa.Column("confidence", sa.Float(53)),
        sa.Column("known", sa.Boolean),
        sa.Column("latency_ms", sa.Float(53)),
        sa.Column("agrees", sa.Boolean),
        sa.Column("reason", sa.Text),
        schema=schema,
    )
    op.create_index("events_by_age", "events", ["received_at"], schema=schema)
    op.create_index("events_by_version", "events", ["channel_id", "version", "received_at"], schema=schema)
    if postgresql:
        op.execute("REVOKE ALL ON shelfsight.events FROM PUBLIC, anon, authenticated, service_role")
        op.execute("GRANT SELECT ON shelfsight.events TO service_role")
