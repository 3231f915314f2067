"""Writes the configs of public channels as files, and keeps them as the database has them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shelfsight.access.keys import config_keys
from shelfsight.delivery.config import rules as configs
from shelfsight.delivery.config import store
from shelfsight.delivery.config.rules import Asked
from shelfsight.delivery.export import rules
from shelfsight.delivery.export.files import write
from shelfsight.errors import BundleError, StorageError
from shelfsight.registry.store import channel_ids
from shelfsight.rollout.rules import Platform, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.delivery.config.prepare import Prepared, Preparer
    from shelfsight.delivery.config.store import ChannelRow

_FORMS = tuple((platform, tier) for platform in Platform for tier in Tier)


@dataclass(slots=True, kw_only=True)
class Exported:
    """What one look at the database led to: how many files, and which channels are as they were because of what."""

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    reload: bool = False
    problems: dict[str, str] = field(default_factory=dict)


class StaticExport:
    """The configs of public channels in a folder."""

    def __init__(
        self,
        *,
        database: Database,
        preparer: Preparer,
        folder: Path,
        server: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write to `folder` what `preparer` makes of `database`.

        Args:
            server: host and port that nginx asks what files cannot say; None where there is no server.
        """
        self._database = database
        self._preparer = preparer
        self._folder = folder
        self._server = server
        self._clock = clock
        self._done: dict[str, object] = {}

    async def refresh(self, told: Callable[[int, int], None] = lambda _done, _total: None) -> Exported:
        """Write what has changed since the last time; the first time, look at everything.

        A channel whose files cannot be read keeps what it has, and is tried again the next time.

        Args:
            told: called with how many channels are done, and of how many.

        Raises:
            DatabaseError: the database does not answer; everything is as it was.
            OutputError: the folder cannot be written; every file is the older or the newer one.
        """
        with self._database.read() as tx:
            public = {row.id: row for row in store.channel_rows(tx, channel_ids(tx)).values() if not row.private}
        now, keys = self._clock(), tuple(key.id for key in config_keys(self._database))
        state = {
            channel: (row, configs.validity(channel, now).sign_again_at, keys) for channel, row in public.items()
        }
        changed = [channel for channel in sorted(public) if self._done.get(channel) != state[channel]]
        exported = Exported()
        exported.reload = self._write_nginx(public)
        for number, channel in enumerate(changed):
            told(number, len(changed))
            if await self._export(channel, now, exported):
                self._done[channel] = state[channel]
        told(len(changed), len(changed))
        self._remove_all_but(public, exported)
        return exported

    async def _export(self, channel: str, now: datetime, exported: Exported) -> bool:
        """Write the configs of a channel, and return whether they are what the database says."""
        try:
            prepared = await self._preparer.prepare(channel, now=now, again=True)
        except (StorageError, BundleError) as exc:
            exported.problems[channel] = str(exc)
            return False
        if prepared is None:  # deleted since
            return False
        if not prepared.whole:
            exported.problems[channel] = "files of a version that it names are missing or do not match: see the log"
        wanted = dict(_files(channel, prepared))
        if not wanted and not prepared.whole:  # better what devices have than nothing
            return False
        later = self._later(channel, prepared.channel.sequence)
        if later is not None:
            exported.problems[channel] = (
                f"its file has sequence {later}, the database {prepared.channel.sequence}, which devices refuse: "
                "if the database was restored, count `channels.sequence` up beyond"
            )
            return False
        for name, body in wanted.items():
            if write(self._folder / name, body):
                exported.written += 1
            else:
                exported.unchanged += 1
        self._remove(channel, wanted, exported)
        return prepared.whole

    def _later(self, channel: str, sequence: int) -> int | None:
        """Return the sequence in the file that is there, if it is later; devices that saw it refuse an earlier."""
        try:
            found = json.loads((self._folder / rules.config_file(channel, Platform.UNIVERSAL, Tier.ANY)).read_bytes())
            there = int(found["sequence"])
        except (OSError, ValueError, KeyError, TypeError):  # none, or not whole: it is written anew
            return None
        return there if there > sequence else None

    def _write_nginx(self, public: Mapping[str, ChannelRow]) -> bool:
        """Write nginx's part, and return whether nginx has to read it anew."""
        folder = str(self._folder.absolute())
        texts = {
            rules.NGINX_KEYS: rules.keys_map({row.token.decode(): row.id for row in public.values()}),
            rules.NGINX_MAPS: rules.maps(folder, len(public), self._server),
            rules.NGINX_LOCATIONS: rules.locations(folder, self._server),
        }
        written = [write(self._folder / name, text.encode()) for name, text in texts.items()]
        return any(written)

    def _remove_all_but(self, public: Collection[str], exported: Exported) -> None:
        """Remove the configs of channels that are gone, or private by now."""
        top = self._folder / rules.config_folder("")
        there = sorted(place.name for place in top.iterdir()) if top.is_dir() else []
        for channel in there:
            if channel not in public:
                self._done.pop(channel, None)
                self._remove(channel, (), exported)

    def _remove(self, channel: str, wanted: Collection[str], exported: Exported) -> None:
        place = self._folder / rules.config_folder(channel)
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            if rules.is_config_file(file.name) and f"{rules.config_folder(channel)}/{file.name}" not in wanted:
                file.unlink(missing_ok=True)
                exported.removed += 1


def _files(channel: str, prepared: Prepared) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a channel: a config for each platform and tier that has a model."""
    for platform, tier in _FORMS:
        audience = prepared.audience(Asked(platform, tier, None, (), b""))
        if audience is not None:
            yield rules.config_file(channel, platform, tier), prepared.config(audience).body
