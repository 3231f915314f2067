"""Which versions a channel has in Vendure, which is the one before, and which may go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.vendure.deploy_rules import MODEL_TAG, Role, deployment_of, role_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shelfsight.partners.vendure.records import Asset, ModelFields

UNFINISHED_FOR = timedelta(hours=1)
"""How long a deployment may have some of its files only: longer, and whoever uploaded them is gone."""

_CHANNEL, _TRAINED = "channel-", "trained-"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedVersion:
    """A version in Vendure.

    Attributes:
        version: its tag, such as `v1.4.2`.
        trained_on: such as 2026-11-20, empty where no tag says so.
        files: one for each role, of a version that is whole.
        others: assets that are tagged as its files, and are not used.
        is_active: the channel's devices load it.
    """

    version: str
    trained_on: str
    created_at: datetime
    files: Mapping[Role, Asset]
    others: tuple[Asset, ...]
    is_active: bool

    @property
    def is_whole(self) -> bool:
        """Whether every file is there."""
        return len(self.files) == len(Role)

    @property
    def assets(self) -> tuple[Asset, ...]:
        """All of its assets."""
        return (*self.files.values(), *self.others)

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return sum(asset.size_bytes for asset in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A version that would go by its age, and stays."""

    version: DeployedVersion
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningPlan:
    """What a clean-up removes, and what it leaves although it is old."""

    gone: tuple[DeployedVersion, ...]
    kept: tuple[Kept, ...]


def grouped(assets: Sequence[Asset], fields: ModelFields) -> tuple[DeployedVersion, ...]:
    """Return the versions that a channel's tagged assets are, the newest first.

    Args:
        fields: which assets the channel's devices load.
    """
    groups: dict[tuple[str, str], list[Asset]] = {}
    for asset in assets:
        groups.setdefault((_version(asset.tags), deployment_of(asset.name)), []).append(asset)
    found = [_deployed(version, group, fields.ids) for (version, _), group in groups.items()]
    return tuple(sorted(found, key=lambda one: one.created_at, reverse=True))


def named_version(versions: Sequence[DeployedVersion], version: str) -> DeployedVersion:
    """Return the newest whole deployment of a version.

    Raises:
        NotFoundError: there is none.
    """
    for one in versions:
        if one.version == version and one.is_whole:
            return one
    there = ", ".join(dict.fromkeys(one.version for one in versions if one.is_whole)) or "none"
    raise NotFoundError(f"the channel has no version {version}: it has {there}")


def version_before(versions: Sequence[DeployedVersion]) -> DeployedVersion:
    """Return the version that was deployed before the active one.

    Raises:
        ConflictError: none is active.
        NotFoundError: there is none before.
    """
    active = next((one for one in versions if one.is_active), None)
    if active is None:
        raise ConflictError("no version is active: say which with --to")
    for one in versions:
        if one.is_whole and one.created_at < active.created_at and one.version != active.version:
            return one
    raise NotFoundError(f"there is no version before {active.version}: deploy one, or name another with --to")


def cleaning_plan(
    versions: Sequence[DeployedVersion],
    *,
    keep: int,
    older_than: timedelta | None,
    used_elsewhere: Collection[str],
    now: datetime,
) -> CleaningPlan:
    """Return which versions go: never the active one, one of another channel, or one still being uploaded.

    Args:
        keep: so many of the newest versions stay, of each the newest whole deployment.
        older_than: younger ones stay, too.
        used_elsewhere: ids of assets that other channels have.
    """
    first = {one.version: one for one in reversed(versions) if one.is_whole}
    newest = sorted(first.values(), key=lambda one: one.created_at, reverse=True)[:keep]
    gone, kept = [], []
    for one in versions:
        age = now - max(asset.created_at for asset in one.assets)
        if one in newest or (older_than is not None and age < older_than):
            continue
        if not one.is_whole and age < UNFINISHED_FOR:
            kept.append(Kept(version=one, reason="it may still be uploaded"))
        elif one.is_active:
            kept.append(Kept(version=one, reason="it is active"))
        elif any(asset.id in used_elsewhere or _is_of_others(asset.tags) for asset in one.assets):
            kept.append(Kept(version=one, reason="another channel has it, too"))
        else:
            gone.append(one)
    return CleaningPlan(gone=tuple(gone), kept=tuple(kept))


def _deployed(version: str, group: Sequence[Asset], active: Collection[str]) -> DeployedVersion:
    ordered = sorted(group, key=lambda asset: (asset.id in active, asset.created_at), reverse=True)
    files: dict[Role, Asset] = {}
    for asset in ordered:
        files.setdefault(role_of(asset.name), asset)
    used = {asset.id for asset in files.values()}
    return DeployedVersion(
        version=version,
        trained_on=next((tag.removeprefix(_TRAINED) for tag in ordered[0].tags if tag.startswith(_TRAINED)), ""),
        created_at=max(asset.created_at for asset in files.values()),
        files=files,
        others=tuple(asset for asset in ordered if asset.id not in used),
        is_active=bool(used & set(active)),
    )


def _version(tags: Collection[str]) -> str:
    """Return the tag that is a version's, empty where there is none."""
    others = (tag for tag in tags if tag != MODEL_TAG and not tag.startswith((_CHANNEL, _TRAINED)))
    return min((tag for tag in others if tag.startswith("v")), default="")


def _is_of_others(tags: Collection[str]) -> bool:
    return sum(tag.startswith(_CHANNEL) for tag in tags) > 1
