"""Versions: what they consist of, how they roll out and are signed, and who is at work on them."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table, Text

from shelfsight.database.tables.columns import Json, Serial, UtcTime, metadata, public

model_metadata = Table(
    "model_metadata",
    public,
    Column("version", Text),
    Column("file_path", Text),
    Column("file_size_bytes", BigInteger),
    Column("checksum_sha256", Text),
    Column("architecture", Text),
    Column("quantization", Text),
    Column("input_shape", Json),
    Column("supported_providers", Json),
    Column("rollout_percentage", Float),
    Column("status", Text),
    Column("shadow_mode", Boolean),
    Column("shadow_percentage", Float),
    Column("rollback_threshold", Float),
    Column("min_app_version", Text),
    Column("is_stable", Boolean),
    Column("created_at", UtcTime),
    Column("updated_at", UtcTime),
    Column("deprecated_at", UtcTime),
    Column("id", Serial, primary_key=True),
    Column("channel_id", Text),
    Column("product_count", Integer),
    Column("image_count", Integer),
    Column("training_duration", Float),
    Column("trained_at", UtcTime),
    Column("accuracy", Float),
)

version_blobs = Table(
    "version_blobs",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
)

releases = Table(
    "releases",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),  # that became stable, written by triggers
    Column("at", UtcTime),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),
    Column("salt", Text),  # which devices are in; triggers make a new one for every rollout
    Column("shadow_salt", Text),
    Column("stages_bp", Json),  # shares in basis points on the way from the first to everybody, without the last
    Column("platforms", Json),  # whom it is for; empty: everybody
    Column("tiers", Json),
    Column("held_at", UtcTime),
    Column("reason", Text),  # of the last move, in words
    Column("started_at", UtcTime),
    Column("started_by", Text),
    Column("stage_at", UtcTime),  # of the last change of the share
    Column("ended_at", UtcTime),
    Column("outcome", Text),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", Text, primary_key=True),  # the SHA-256 of the public key; of the secret for `url`
    Column("kind", Text),  # config: ECDSA P-256; url: a secret
    Column("public_key", LargeBinary),  # SubjectPublicKeyInfo, DER
    Column("private_key", LargeBinary),  # PKCS 8, DER; or the secret
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("replaced_at", UtcTime),  # another signs now; this one as well, until it is retired
    Column("retired_at", UtcTime),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", BigInteger),  # counted up by every new holder: the fencing token
    Column("holder", Text),
    Column("expires_at", UtcTime),
)
