"""Trainings, and the workers that do them."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text

from shelfsight.database.tables.columns import Serial, UtcTime, metadata, public

trainings = Table(
    "trainings",
    public,
    Column("id", Serial, primary_key=True),
    Column("channel_id", Text),
    Column("version", Text),
    Column("status", Text),
    Column("requested_by", Text),
    Column("created_at", UtcTime),
    Column("trained_at", UtcTime),
    Column("product_count", Integer),
    Column("image_count", Integer),
    Column("training_duration", Float),
    Column("accuracy", Float),
    Column("error", Text),  # why it failed, or what is missing
    Column("enqueued_at", UtcTime),  # when the job queue got it
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("cancelled_at", UtcTime),  # when somebody asked for its end
    Column("progress_at", UtcTime),
    Column("reason", Text),  # what started it: changes, night, or a person
    Column("stage", Text),
    Column("gate", Text),  # what the comparison with the active version says
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("catalogue_revision", BigInteger),  # of the channel when it began: what it has seen
    Column("forced", Boolean),  # becomes stable whatever the gate says
)

training_log = Table(
    "training_log",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("channel_id", Text),
    Column("training_id", BigInteger),
    Column("at", UtcTime),
    Column("line", Text),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),  # a new one for every start: host, process, chance
    Column("host", Text),
    Column("pid", BigInteger),
    Column("concurrency", Integer),  # how many jobs of a kind it runs at once
    Column("started_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("stopped_at", UtcTime),  # when it ended, or was declared dead; it never comes back under this id
)
