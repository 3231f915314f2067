"""What is done each week, and each night, so that nothing grows for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shelfsight.catalog.store import images
from shelfsight.database.batches import in_batches
from shelfsight.delivery.store import purge_downloads
from shelfsight.errors import StorageError
from shelfsight.registry import store
from shelfsight.registry.cleanup import clean_up
from shelfsight.training.compaction import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.database.batches import DeleteSome
    from shelfsight.database.engine import Database
    from shelfsight.jobs.job import Job
    from shelfsight.registry.publish import Registry

_LEFT_ALONE = timedelta(days=1)
"""Embeddings younger than this may be those of a training that runs."""

_DOWNLOADS_KEPT = timedelta(days=90)
_log = structlog.get_logger()


def tidy(registry: Registry) -> None:
    """Remove old versions, what is left of killed publishes and gone channels, and embeddings of pictures gone."""
    cleaned = clean_up(registry)
    _log.info("cleaned_up", versions=len(cleaned.versions), blobs=len(cleaned.blobs), busy=cleaned.busy)
    for problem in cleaned.broken:
        _log.warning("not_cleaned_up", reason=problem)
    before = datetime.now(UTC) - _DOWNLOADS_KEPT
    sum(in_batches(registry.database, lambda tx, limit: purge_downloads(tx, before, limit)))
    compact_embeddings(registry)


def forget(database: Database, job: Job, old: Mapping[str, DeleteSome]) -> None:
    """Delete what is old, each kind of it in a step of a job, so little at a time that nobody waits for it.

    Raises:
        JobFailedError: the database does not answer, or refuses.
    """

    def delete(delete_some: DeleteSome) -> int:
        rows = 0
        for count in in_batches(database, delete_some):
            rows += count
            if job.should_stop():
                break
        return rows

    for name, delete_some in old.items():
        rows = job.step(f"forget-{name}", partial(delete, delete_some))
        _log.info("forgotten", what=name, rows=rows)


def compact_embeddings(registry: Registry) -> None:
    """Tidy up the embeddings of every channel; one whose storage refuses is left for the next time."""
    with registry.database.read() as tx:
        channels = sorted(store.channel_ids(tx))
    for channel in channels:
        with registry.database.read() as tx:
            keep = images.hashes(tx, channel)
        try:
            compact(registry.storage, channel, keep, before=datetime.now(UTC) - _LEFT_ALONE)
        except StorageError as exc:
            _log.warning("embeddings_not_tidied", channel=channel, reason=str(exc))
