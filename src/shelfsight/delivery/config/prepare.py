"""Configs of a channel: read from database and storage once, each composed and signed when it is first asked for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from shelfsight.access import signatures
from shelfsight.access.keys import config_keys
from shelfsight.access.signatures import canonical
from shelfsight.delivery.config import rules, store
from shelfsight.delivery.config.rules import VersionFiles
from shelfsight.delivery.memory import Memory
from shelfsight.delivery.rules import MANIFEST
from shelfsight.delivery.versions import Versions
from shelfsight.registry import latest
from shelfsight.rollout.buckets import is_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from shelfsight.access.keys import ConfigKey
    from shelfsight.database.engine import Database
    from shelfsight.delivery.config.rules import Asked, Audience, Choice, Validity
    from shelfsight.delivery.config.store import ChannelRow, Snapshot
    from shelfsight.delivery.store import VersionRow
    from shelfsight.registry.rules import Version
    from shelfsight.rollout.rules import Assignment, Platform, Tier
    from shelfsight.storage import Storage

_MOST_MANIFESTS = 50_000
_MOST_WARNINGS = 10_000
_NOT_SERVED = "stable_version_not_served"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A config, byte for byte as every server sends it, and its entity tag."""

    body: bytes
    etag: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """All that a channel's configs are made of, as of one moment; each is made when the first device asks for it.

    Attributes:
        files: of the versions that are named and whole.
        whole: whether all of them are.
        keys: the current one first.
    """

    channel: ChannelRow
    told: Assignment
    files: Mapping[str, VersionFiles]
    whole: bool
    keys: tuple[ConfigKey, ...]
    validity: Validity
    assets_url: str
    _choices: dict[tuple[Platform, Tier], Choice | None] = field(default_factory=dict)

    def audience(self, asked: Asked) -> Audience | None:
        """Return whose config a request gets, None where there is no model for it."""
        choice = self._choice(asked.platform, asked.tier)
        return None if choice is None else rules.audience_of(choice, asked, is_in)

    def config(self, audience: Audience) -> Config:
        """Return the config of an audience, signed.

        Raises:
            LookupError: there is none, as `audience` has said.
        """
        choice = self._choice(audience.platform, audience.tier)
        if choice is None:
            raise LookupError(audience)
        issue = rules.Issue(
            channel=self.channel.id,
            sequence=self.channel.sequence,
            expires_at=self.validity.expires_at,
            keys=signatures.published(self.keys),
            assets_url=self.assets_url,
        )
        document = rules.compose(choice, self.files, audience, issue)
        etag = rules.etag_of(canonical(document))
        signed = signatures.sign(document | {"etag": etag}, self.keys)
        return Config(body=canonical(signed), etag=etag.encode())

    def says_the_same(self, other: Prepared) -> bool:
        """Return whether every config of `other` would be the same bytes."""
        return (self.channel, self.told, self.files, self.keys, self.validity) == (
            other.channel, other.told, other.files, other.keys, other.validity
        )  # fmt: skip

    def _choice(self, platform: Platform, tier: Tier) -> Choice | None:
        if (platform, tier) not in self._choices:
            self._choices[platform, tier] = rules.choose(self.told, self.files, platform, tier)
        return self._choices[platform, tier]


class Preparer:
    """Reads what the configs of a channel say.

    A stable version whose files are missing, or are not what its row says, is not told to anybody: the version that
    `latest` still names takes its place, if that is whole. A version's files never change, so a manifest that is
    another one than before is not signed: somebody wrote to the storage past us.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        assets_url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read from `database` and `storage`, whose files are served at `assets_url`."""
        self._database = database
        self._storage = storage
        self._assets_url = assets_url
        self._versions = Versions(storage, clock=clock)
        self._manifests: Memory[tuple[str, VersionRow], str] = Memory(_MOST_MANIFESTS)
        self._said: Memory[tuple[str, str], object] = Memory(_MOST_WARNINGS)

    async def prepare(self, channel: str, *, now: datetime, again: bool = False) -> Prepared | None:
        """Return what the configs of a channel say, None where there is no such channel.

        Args:
            again: whether to look at files that have been looked at before.

        Raises:
            DatabaseError: the database does not answer.
            StorageError: storage does not answer.
        """
        found, keys = await asyncio.to_thread(self._read, channel)
        if found is None:
            return None
        told = found.standing.assignment
        offers = [offer for offer in (told.candidate, told.shadow) if offer is not None]
        named = [one for one in (told.stable, *(offer.version for offer in offers)) if one is not None]
        files = {one.version: await self._files(found, one, again=again) for one in named}
        usable = {version: these for version, these in files.items() if these is not None}
        if told.stable is not None and told.stable.version not in usable:
            told = replace(told, stable=await self._fallback(found, told.stable, usable, again=again))
        else:
            self._said.forget((_NOT_SERVED, channel))
        return Prepared(
            channel=found.channel,
            told=told,
            files=usable,
            whole=None not in files.values(),
            keys=keys,
            validity=rules.validity(channel, now),
            assets_url=self._assets_url,
        )

    def _read(self, channel: str) -> tuple[Snapshot | None, tuple[ConfigKey, ...]]:
        with self._database.read() as connection:
            found = store.snapshot(connection, channel)
        # Afterwards, so that a config never names keys that are older than its sequence, which counts their changes.
        return found, config_keys(self._database)

    async def _files(self, found: Snapshot, version: Version, *, again: bool) -> VersionFiles | None:
        """Return the files of a version, None where they do not match."""
        channel, row = found.channel.id, found.rows.get(version.version)
        if row is None or not rules.is_version(version.version):
            return None
        if again:
            self._versions.forget(channel, version.version)
        files = await self._versions.files(channel, version.version, row)
        manifest = files.get(MANIFEST)
        if manifest is None:
            return None
        seen = self._manifests.get((channel, row))
        if seen is not None and seen != manifest.sha256:
            self._say_once("manifest_changed", channel, version=version.version, seen=seen, found=manifest.sha256)
            return None
        self._manifests.put((channel, row), manifest.sha256)
        return VersionFiles(
            names=frozenset(files), manifest_size_bytes=manifest.size_bytes, manifest_sha256=manifest.sha256
        )

    async def _fallback(
        self, found: Snapshot, stable: Version, usable: dict[str, VersionFiles], *, again: bool
    ) -> Version | None:
        """Return the version that stands in for a stable one that is not whole, with its files in `usable`."""
        channel = found.channel.id
        pointed = await asyncio.to_thread(latest.read, self._storage, channel)
        instead = next((one for one in found.standing.versions if one.version == pointed), None)
        files = None if instead is None else await self._files(found, instead, again=again)
        if instead is None or files is None:
            self._say_once(_NOT_SERVED, channel, version=stable.version, instead=None)
            return None
        self._say_once(_NOT_SERVED, channel, version=stable.version, instead=instead.version)
        usable[instead.version] = files
        return instead

    def _say_once(self, event: str, channel: str, **facts: str | None) -> None:
        """Log what is wrong with a channel, until it is something else."""
        if self._said.get((event, channel)) != facts:
            self._said.put((event, channel), facts)
            _log.warning(event, channel=channel, **facts)
