"""Let `latest` follow the database, whoever changes it: a publish that was killed, or a person who types SQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from shelfsight.beside import repeating
from shelfsight.errors import ShelfsightError
from shelfsight.registry import latest, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.registry.publish import Registry

LOOKS_EVERY_S = 2.0
_AT_ONCE = 16
_log = structlog.get_logger()


class Follower:
    """Looks which channels' versions have changed, lets their `latest` follow, and tells the log which is live."""

    def __init__(self, registry: Registry) -> None:
        """Follow the versions of `registry`; the first look is at every channel that has any."""
        self._registry = registry
        self._seen: dict[str, int] = {}
        self._live: dict[str, str | None] = {}
        self._has_looked = False
        self._trouble: dict[str, str] = {}

    def look(self) -> None:
        """Look once. A channel whose `latest` cannot follow is logged, and looked at again.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._registry.database.read() as tx:
            sequences = store.sequences(tx)
        changed = [channel for channel, sequence in sequences.items() if self._seen.get(channel) != sequence]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            followed = pool.map(self._follow, changed)
            self._seen |= {
                channel: sequences[channel] for channel, done in zip(changed, followed, strict=True) if done
            }
        self._has_looked = True

    def _follow(self, channel: str) -> bool:
        try:
            live = latest.point(self._registry.database, self._registry.storage, channel)
        except ShelfsightError as exc:
            if self._trouble.get(channel) != str(exc):
                _log.warning("latest_not_updated", channel=channel, reason=str(exc))
            self._trouble[channel] = str(exc)
            return False
        self._trouble.pop(channel, None)
        before = self._live.get(channel)
        if self._has_looked and before != live:  # not of every channel when a server starts
            _log.info("version_live", channel=channel, version=live, before=before)
        self._live[channel] = live
        return True


@contextmanager
def following(registry: Registry, *, every_s: float = LOOKS_EVERY_S) -> Iterator[None]:
    """Follow in a thread while the block runs."""
    look = Follower(registry).look
    with repeating(look, every_s=every_s, failing="versions_not_followed", name="follow-versions"):
        yield
