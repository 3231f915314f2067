"""Rollouts, keys that sign, uploaded objects, and who downloaded what."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make four tables, and the triggers that open and close a rollout whoever changes `model_metadata`."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "shelfsight" if postgresql else None
    instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
    number = sa.BigInteger if postgresql else sa.Integer
    json = JSONB if postgresql else sa.JSON
    now = sa.text("now()" if postgresql else "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))")
    channel = f"{schema}.channels.id" if schema else "channels.id"
    random_hex = "replace(gen_random_uuid()::text, '-', '')" if postgresql else "(lower(hex(randomblob(16))))"
    op.create_table(
        "rollouts",
        sa.Column("id", number, *([sa.Identity()] if postgresql else []), primary_key=True),
        sa.Column("channel_id", sa.Text, sa.ForeignKey(channel), nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("salt", sa.Text, nullable=False, server_default=sa.text(random_hex)),
        sa.Column("shadow_salt", sa.Text, nullable=False, server_default=sa.text(random_hex)),
        sa.Column("stages_bp", json, nullable=False, server_default="[1000, 5000]"),
        sa.Column("platforms", json, nullable=False, server_default="[]"),
        sa.Column("tiers", json, nullable=False, server_default="[]"),
        sa.Column("held_at", instant),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("started_at", instant, nullable=False, server_default=now),
        sa.Column("started_by", sa.Text, nullable=False, server_default=""),
        sa.Column("stage_at", instant, nullable=False, server_default=now),
        sa.Column("ended_at", instant),
        sa.Column("outcome", sa.Text, nullable=False, server_default=""),
        sa.CheckConstraint("outcome IN ('', 'stable', 'stopped', 'rolled_back', 'halted')", name="outcome_is_known"),
        schema=schema,
    )
    open_ones = sa.text("ended_at IS NULL")
    op.create_index(
        "one_open_rollout", "rollouts", ["channel_id", "version"], unique=True, schema=schema,
        postgresql_where=open_ones, sqlite_where=open_ones,
    )  # fmt: skip
    op.create_index("rollouts_by_channel", "rollouts", ["channel_id", "id"], schema=schema)
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("public_key", sa.LargeBinary),
        sa.Column("private_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("replaced_at", instant),
        sa.Column("retired_at", instant),
        sa.CheckConstraint("kind IN ('config', 'url')", name="kind_is_known"),
        schema=schema,
    )
    current = sa.text("replaced_at IS NULL AND retired_at IS NULL")
    op.create_index(
        "one_current_key", "signing_keys", ["kind"], unique=True, schema=schema,
        postgresql_where=current, sqlite_where=current,
    )  # fmt: skip
    op.create_table(
        "objects",
        sa.Column("channel_id", sa.Text, sa.ForeignKey(channel), primary_key=True),
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("path", sa.Text(collation="C" if postgresql else None), primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("cache_control", sa.Text, nullable=False, server_default=""),
        sa.Column("metadata", json, nullable=False, server_default="{}"),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        schema=schema,
    )
    op.create_index("objects_by_content", "objects", ["channel_id", "sha256"], schema=schema)
    op.create_table(
        "downloads",
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("hour", instant, primary_key=True),
        sa.Column("file", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True, server_default=""),
        sa.Column("actor", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        schema=schema,
    )
    op.create_index("downloads_by_age", "downloads", ["hour"], schema=schema)
    _triggers(postgresql=postgresql)


def _triggers(*, postgresql: bool) -> None:
    sql = Path(__file__).with_name("0004_postgresql.sql" if postgresql else "0004_sqlite.sql").read_text("utf-8")
    bind = op.get_bind().execution_options(no_parameters=True)
    if postgresql:
        bind.exec_driver_sql(sql)
        return
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            bind.exec_driver_sql(statement)
            statement = ""
