"""Who may what, who did what, and what was asked before."""

from sqlalchemy import Column, Integer, LargeBinary, Table, Text

from shelfsight.database.tables.columns import Json, Serial, UtcTime, metadata

administrators = Table(
    "administrators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text),
    Column("created_at", UtcTime),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text),
    Column("name", Text),
    Column("secret_sha256", Text),
    Column("scopes", Json),
    Column("channel_id", Text),
    Column("created_at", UtcTime),
    Column("created_by", Text),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", UtcTime),
    Column("actor", Text),
    Column("action", Text),
    Column("channel_id", Text),
    Column("subject", Text),
    Column("address", Text),
    Column("details", Json),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text),
    Column("created_at", UtcTime),
    Column("status", Integer),
    Column("headers", Json),
    Column("body", LargeBinary),
)

acting = Table("acting", metadata, Column("actor", Text))
"""Who is writing, seen inside the transaction only; SQLite's stand-in for a setting of the session."""
