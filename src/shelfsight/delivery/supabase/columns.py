"""The columns of `model_metadata` that clients read. Pure."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a column holds, as PostgreSQL calls it in its complaints."""

    TEXT = "text"
    INTEGER = "bigint"
    NUMBER = "double precision"
    FLAG = "boolean"
    TIME = "timestamp with time zone"
    JSON = "jsonb"


COLUMNS = {
    "version": Kind.TEXT,
    "file_path": Kind.TEXT,
    "file_size_bytes": Kind.INTEGER,
    "checksum_sha256": Kind.TEXT,
    "architecture": Kind.TEXT,
    "quantization": Kind.TEXT,
    "input_shape": Kind.JSON,
    "supported_providers": Kind.JSON,
    "rollout_percentage": Kind.NUMBER,
    "status": Kind.TEXT,
    "shadow_mode": Kind.FLAG,
    "shadow_percentage": Kind.NUMBER,
    "rollback_threshold": Kind.NUMBER,
    "min_app_version": Kind.TEXT,
    "is_stable": Kind.FLAG,
    "created_at": Kind.TIME,
    "updated_at": Kind.TIME,
    "deprecated_at": Kind.TIME,
    "id": Kind.INTEGER,
    "channel_id": Kind.TEXT,
    "product_count": Kind.INTEGER,
    "image_count": Kind.INTEGER,
    "training_duration": Kind.NUMBER,
    "trained_at": Kind.TIME,
    "accuracy": Kind.NUMBER,
}
"""The columns that are read, in the order in which `*` gives them."""
