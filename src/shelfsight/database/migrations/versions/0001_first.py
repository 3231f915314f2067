"""Channels, catalogue, versions, trainings, access: the first schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0001"
down_revision = None

TRIGGERS = '["product-added", "product-deleted", "image-changed", "schedule", "accuracy"]'


def upgrade() -> None:
    """Make every table; on PostgreSQL also roles, row-level security and notifications."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    make = _Tables(postgresql=postgresql)
    make.channels()
    make.catalogue()
    make.publishing()
    make.access()
    make.model_metadata()
    make.trainings()
    _run(f"0001_{'postgresql' if postgresql else 'sqlite'}.sql")


class _Tables:
    """The tables, in the words of one of the two databases."""

    def __init__(self, *, postgresql: bool) -> None:
        self._postgresql = postgresql
        self._schema = "shelfsight" if postgresql else None
        self._channel = "shelfsight.channels.id" if postgresql else "channels.id"
        self._now = "now()" if postgresql else "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))"
        self._false, self._true = ("false", "true") if postgresql else ("0", "1")

    def channels(self) -> None:
        self._create(
            "channels",
            sa.Column("id", sa.Text, primary_key=True),
            self._text("name", ""),
            sa.Column("token", sa.Text, nullable=False, unique=True),
            self._time("created_at", now=True),
            self._number("revision"),
            self._number("settings_revision"),
            self._number("sequence"),
            self._text("visibility", "public", among=("public", "private")),
            self._text("release_policy", "immediate", among=("immediate", "staged")),
            self._text("time_zone", "UTC"),
            self._text("model_base_url", None),
            self._text("model_version", None),
            self._time("model_last_trained"),
            self._text("model_training_status", "idle", among=("idle", "queued", "training", "ready", "failed")),
            self._flag("model_auto_retrain_enabled", default=True),
            self._json("model_retrain_triggers", TRIGGERS),
            self._number("model_retrain_debounce_seconds", 60),
            self._share("accuracy_threshold", None),
            self._flag("learn_from_corrections", default=False),
        )

    def catalogue(self) -> None:
        self._create(
            "products",
            self._of_channel(primary_key=True),
            sa.Column("id", sa.Text, primary_key=True),
            self._text("name", ""),
            self._text("sku", None),
            self._json("barcodes", "[]"),
            sa.Column("price", sa.Numeric(14, 4) if self._postgresql else sa.String(20)),
            self._text("currency", None),
            self._time("created_at", now=True),
            self._number("deleted_at"),
            self._number("revision"),
            self._text("search_text", ""),
            sa.CheckConstraint("deleted_at >= 0", name="deleted_at_is_a_time"),
        )
        # On SQLite a search reads the index alone; PostgreSQL's entries must stay below 2.7 KB.
        searched = () if self._postgresql else ("search_text",)
        self._index("products_by_state", "products", "channel_id", "deleted_at", "id", *searched)
        self._create(
            "images",
            sa.Column("channel_id", sa.Text, primary_key=True),
            sa.Column("product_id", sa.Text, primary_key=True),
            sa.Column("sha256", sa.Text, primary_key=True),
            self._text("media_type", "application/octet-stream"),
            self._number("size_bytes"),
            sa.Column("width", sa.Integer),
            sa.Column("height", sa.Integer),
            self._time("created_at", now=True),
            sa.ForeignKeyConstraint(
                ["channel_id", "product_id"],
                [f"{self._channel.removesuffix('channels.id')}products.{name}" for name in ("channel_id", "id")],
                name="image_of_a_product",
            ),
        )
        self._index("images_by_content", "images", "channel_id", "sha256")
        self._create(
            "changes",
            self._of_channel(primary_key=True),
            sa.Column("revision", sa.BigInteger, primary_key=True),
            self._text("kind", ""),
            self._text("product_id", None),
            self._text("image_sha256", None),
            self._time("at", now=True),
            self._text("actor", ""),
        )

    def publishing(self) -> None:
        self._create(
            "leases",
            sa.Column("name", sa.Text, primary_key=True),
            self._number("token"),
            self._text("holder", ""),
            self._time("expires_at", now=True),
        )
        self._create(
            "version_blobs",
            self._of_channel(primary_key=True),
            sa.Column("version", sa.Text, primary_key=True),
            sa.Column("sha256", sa.Text, primary_key=True),
        )
        self._index("version_blobs_by_blob", "version_blobs", "sha256")
        self._create(
            "releases",
            self._identity(),
            self._of_channel(),
            self._text("version", ""),
            self._time("at", now=True),
        )
        self._index("releases_by_channel", "releases", "channel_id", "id")

    def access(self) -> None:
        self._create(
            "audit",
            self._identity(),
            self._time("at", now=True),
            self._text("actor", ""),
            self._text("action", ""),
            self._text("channel_id", None),
            self._text("subject", None),
            self._text("address", None),
            self._json("details", "{}"),
        )
        self._index("audit_by_channel", "audit", "channel_id", "id")
        self._create(
            "administrators",
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("password_hash", sa.Text, nullable=False),
            self._time("created_at", now=True),
        )
        self._create(
            "tokens",
            sa.Column("id", sa.Text, primary_key=True),
            self._text("kind", "api", among=("api", "session", "setup")),
            self._text("name", ""),
            sa.Column("secret_sha256", sa.Text, nullable=False),
            self._json("scopes", "[]"),
            self._text("channel_id", None),
            self._time("created_at", now=True),
            self._text("created_by", ""),
            self._time("expires_at"),
            self._time("revoked_at"),
            self._time("last_used_at"),
        )
        self._create(
            "idempotency_keys",
            sa.Column("actor", sa.Text, primary_key=True),
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("fingerprint", sa.Text, nullable=False),
            self._time("created_at", now=True),
            sa.Column("status", sa.Integer),
            self._json("headers", "{}"),
            sa.Column("body", sa.LargeBinary),
        )
        self._index("idempotency_keys_by_age", "idempotency_keys", "created_at")
        if not self._postgresql:
            self._create("acting", sa.Column("actor", sa.Text, nullable=False))

    def model_metadata(self) -> None:
        number, word = "(0|[1-9][0-9]*)", "[0-9A-Za-z-]+"
        pattern = rf"version ~ '^v{number}\.{number}\.{number}(-{word}(\.{word})*)?$'"
        op.create_table(
            "model_metadata",
            sa.Column("version", sa.Text, nullable=False),
            sa.Column("file_path", sa.Text, nullable=False),
            self._number("file_size_bytes"),
            self._text("checksum_sha256", ""),
            self._text("architecture", "mobilenet_v2"),
            self._text("quantization", "INT8"),
            self._json("input_shape", "[1, 224, 224, 3]"),
            self._json("supported_providers", '["xnnpack", "nnapi", "coreml"]'),
            self._percentage("rollout_percentage"),
            self._text("status", "testing", among=("testing", "active", "deprecated")),
            self._flag("shadow_mode", default=False),
            self._percentage("shadow_percentage"),
            self._share("rollback_threshold", 0.05),
            self._text("min_app_version", None),
            self._flag("is_stable", default=False),
            self._time("created_at", now=True),
            self._time("updated_at", now=True),
            self._time("deprecated_at"),
            self._identity(),
            sa.Column("channel_id", sa.Text, sa.ForeignKey(self._channel), nullable=False, server_default="default"),
            self._number("product_count"),
            self._number("image_count"),
            sa.Column("training_duration", sa.Float(53), nullable=False, server_default="0"),
            self._time("trained_at", now=True),
            self._share("accuracy", None),
            sa.CheckConstraint("NOT is_stable OR status = 'active'", name="stable_version_is_active"),
            sa.CheckConstraint(
                pattern if self._postgresql else "version GLOB 'v[0-9]*.[0-9]*.[0-9]*'", name="version_reads_v1_2_3"
            ),
            sa.UniqueConstraint("channel_id", "version", name="one_row_per_version"),
        )
        op.create_index(
            "one_stable_version", "model_metadata", ["channel_id"], unique=True, **self._where("is_stable")
        )
        op.create_index("model_metadata_by_age", "model_metadata", ["channel_id", "created_at"])

    def trainings(self) -> None:
        op.create_table(
            "trainings",
            self._identity(),
            self._of_channel(),
            self._text("version", None),
            self._text("status", "queued", among=("queued", "training", "ready", "idle", "failed", "cancelled")),
            self._text("requested_by", ""),
            self._time("created_at", now=True),
            self._time("trained_at"),
            sa.Column("product_count", sa.Integer),
            sa.Column("image_count", sa.Integer),
            sa.Column("training_duration", sa.Float(53)),
            self._share("accuracy", None),
            self._text("error", None),
        )
        op.create_index("trainings_by_channel", "trainings", ["channel_id", "id"])

    def _create(self, name: str, *parts: Any) -> None:
        op.create_table(name, *parts, schema=self._schema)

    def _index(self, name: str, table: str, *columns: str) -> None:
        op.create_index(name, table, list(columns), schema=self._schema)

    def _where(self, condition: str) -> dict[str, Any]:
        return {"postgresql_where" if self._postgresql else "sqlite_where": sa.text(condition)}

    def _of_channel(self, *, primary_key: bool = False) -> sa.Column[str]:
        return sa.Column("channel_id", sa.Text, sa.ForeignKey(self._channel), primary_key=primary_key, nullable=False)

    def _identity(self) -> sa.Column[int]:
        if self._postgresql:
            return sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)
        return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)

    def _text(self, name: str, default: str | None, *, among: tuple[str, ...] = ()) -> sa.Column[str]:
        words = ", ".join(f"'{word}'" for word in among)
        check = [sa.CheckConstraint(f"{name} IN ({words})", name=f"{name}_is_known")] if among else []
        return sa.Column(name, sa.Text, *check, nullable=default is None, server_default=default)

    def _number(self, name: str, default: int = 0) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger, nullable=False, server_default=str(default))

    def _percentage(self, name: str) -> sa.Column[float]:
        check = sa.CheckConstraint(f"{name} BETWEEN 0 AND 100", name=f"{name}_is_a_percentage")
        return sa.Column(name, sa.Float(53), check, nullable=False, server_default="0")

    def _share(self, name: str, default: float | None) -> sa.Column[float]:
        check = sa.CheckConstraint(f"{name} BETWEEN 0 AND 1", name=f"{name}_is_a_share")
        value = None if default is None else str(default)
        return sa.Column(name, sa.Float(53), check, nullable=default is None, server_default=value)

    def _flag(self, name: str, *, default: bool) -> sa.Column[bool]:
        return sa.Column(
            name, sa.Boolean, nullable=False, server_default=sa.text(self._true if default else self._false)
        )

    def _json(self, name: str, default: str) -> sa.Column[Any]:
        return sa.Column(name, JSONB if self._postgresql else sa.JSON, nullable=False, server_default=default)

    def _time(self, name: str, *, now: bool = False) -> sa.Column[Any]:
        kind = sa.DateTime(timezone=True) if self._postgresql else sa.String(32)
        return sa.Column(name, kind, nullable=not now, server_default=sa.text(self._now) if now else None)


def _run(file: str) -> None:
    """Execute the statements of a file beside this one."""
    sql = Path(__file__).with_name(file).read_text("utf-8")
    bind = op.get_bind().execution_options(no_parameters=True)
    for statement in [sql] if bind.dialect.name == "postgresql" else _statements(sql):
        bind.exec_driver_sql(statement)


def _statements(sql: str) -> Iterator[str]:
    """Yield SQLite's statements one by one; triggers hold semicolons of their own."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
