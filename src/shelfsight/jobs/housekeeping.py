"""What is done each week, and each night, so that nothing grows for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from shelfsight.catalog.store import images
from shelfsight.database import clock
from shelfsight.delivery.store import purge_downloads
from shelfsight.errors import StorageError
from shelfsight.registry import store
from shelfsight.registry.cleanup import clean_up
from shelfsight.training.compaction import compact

if TYPE_CHECKING:
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
        _log.warning("version_is_broken", reason=problem)
    with registry.database.write() as tx:
        purge_downloads(tx, clock.now(tx) - _DOWNLOADS_KEPT)
    compact_embeddings(registry)


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
