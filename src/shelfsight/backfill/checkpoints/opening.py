"""The store of checkpoints that an address names, and whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.backfill.checkpoints.sql import SqlCheckpoints

if TYPE_CHECKING:
    from shelfsight.backfill.checkpoints import Checkpoints
    from shelfsight.settings import CheckpointSettings


def missing_file(settings: CheckpointSettings) -> str | None:
    """Return the file that the address names, if it names one that nobody has made yet."""
    scheme, _, path = settings.url.partition(":///")
    file = path.partition("?")[0]
    return file if scheme.startswith("sqlite") and file and not Path(file).exists() else None


def open_checkpoints(settings: CheckpointSettings) -> Checkpoints:
    """Return the store; it is connected to when it is first used.

    Raises:
        UsageError: its address is none.
    """
    if not settings.url.startswith(("mongodb://", "mongodb+srv://")):
        return SqlCheckpoints(settings.url)
    from shelfsight.backfill.checkpoints.mongodb import MongoCheckpoints  # noqa: PLC0415 (only where it is used)
    from shelfsight.partners.mongo import Mongo  # noqa: PLC0415

    mongo = Mongo(settings.url)
    database = settings.database or mongo.default_database("shelfsight")
    return MongoCheckpoints(mongo, database=database, collection=settings.collection)
