"""When a channel is due for a training, and how each training goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns and a log; a channel has one training that waits, and one that runs, at most."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "shelfsight" if postgresql else None
    instant = sa.DateTime(timezone=True) if postgresql else sa.String(32)
    for name in ("changed_since", "quiet_since", "train_at"):
        op.add_column("channels", sa.Column(name, instant), schema=schema)
    due = sa.text("train_at IS NOT NULL")
    op.create_index("channels_due", "channels", ["train_at"], schema=schema, postgresql_where=due, sqlite_where=due)
    for name in ("enqueued_at", "started_at", "ended_at", "cancelled_at", "progress_at"):
        op.add_column("trainings", sa.Column(name, instant))
    for name in ("reason", "stage", "gate"):
        op.add_column("trainings", sa.Column(name, sa.Text, nullable=False, server_default=""))
    for name in ("done", "total", "catalogue_revision"):
        op.add_column("trainings", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("trainings", sa.Column("forced", sa.Boolean, nullable=False, server_default=sa.false()))
    for name, status in (("one_training_waits", "queued"), ("one_training_runs", "training")):
        alone = sa.text(f"status = '{status}'")
        op.create_index(name, "trainings", ["channel_id"], unique=True, postgresql_where=alone, sqlite_where=alone)
    unfinished = sa.text("status IN ('queued', 'training')")
    op.create_index("trainings_unfinished", "trainings", ["id"], postgresql_where=unfinished, sqlite_where=unfinished)
    now = "now()" if postgresql else "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))"
    number = sa.BigInteger if postgresql else sa.Integer
    op.create_table(
        "training_log",
        sa.Column("id", number, *([sa.Identity()] if postgresql else []), primary_key=True),
        sa.Column("channel_id", sa.Text, nullable=False),
        sa.Column("training_id", sa.BigInteger, nullable=False),
        sa.Column("at", instant, nullable=False, server_default=sa.text(now)),
        sa.Column("line", sa.Text, nullable=False),
        schema=schema,
    )
    op.create_index("training_log_by_training", "training_log", ["training_id", "id"], schema=schema)
    if postgresql:
        for kept in ("TABLE shelfsight.training_log", "SEQUENCE shelfsight.training_log_id_seq"):
            op.execute(f"REVOKE ALL ON {kept} FROM PUBLIC, anon, authenticated, service_role")
