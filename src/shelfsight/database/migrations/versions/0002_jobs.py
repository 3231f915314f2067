"""Workers of the job queue, and when each was last seen."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table `workers`; on PostgreSQL nobody else may read it."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("started_at", instant, nullable=False),
        sa.Column("seen_at", instant, nullable=False),
        sa.Column("stopped_at", instant),
        schema="shelfsight" if postgresql else None,
    )
    if postgresql:
        op.execute(Path(__file__).with_name("0002_postgresql.sql").read_text("utf-8"))
