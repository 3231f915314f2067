"""What decides about versions: which number is next, which is stable, which may be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from semver import Version as Semver

from shelfsight.errors import BundleError, ConflictError, NotFoundError, UsageError
from shelfsight.leases.rules import Exclusive

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

FIRST = "1.0.0"
_LOWEST = Semver(0, 0, 0, "0")
LEAST_KEPT = 2
"""The current version and the one before it are never cleaned up."""

ROLLOUT_STARTED = "rollout_started"
"""What the audit calls the start of a rollout."""


class Status(StrEnum):
    """What a version is to its channel."""

    TESTING = "testing"
    ACTIVE = "active"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A published version of a channel.

    Attributes:
        version: semver without the `v` that the table and the config put before it.
        rollout_percentage, shadow_percentage: 0 to 100, share of the devices.
        created_at, deprecated_at, trained_at: UTC.
        training_duration: seconds.
        accuracy: held-out share of right answers, None where nothing was held out.
        checksum_sha256, file_size_bytes: of the ORT file; of `model.json` where there is none.
    """

    channel: str
    version: str
    status: Status
    is_stable: bool
    rollout_percentage: float
    shadow_mode: bool
    shadow_percentage: float
    rollback_threshold: float
    min_app_version: str | None
    created_at: datetime
    updated_at: datetime
    deprecated_at: datetime | None
    trained_at: datetime
    product_count: int
    image_count: int
    training_duration: float
    accuracy: float | None
    file_path: str
    file_size_bytes: int
    checksum_sha256: str
    architecture: str
    quantization: str

    @property
    def is_in_use(self) -> bool:
        """Whether devices may be told to load it: it is stable, active, or part of a rollout."""
        rolling = self.rollout_percentage > 0 or self.shadow_mode or self.shadow_percentage > 0
        return self.is_stable or self.status is Status.ACTIVE or (self.status is Status.TESTING and rolling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of the devices have a version that is not stable, in percent: as theirs, or in shadow beside it."""

    rollout_percentage: float = 0
    shadow_percentage: float = 0


def next_version(taken: Iterable[str]) -> str:
    """Return the version after the highest of `taken`: its patch counted up; 1.0.0 where there is none.

    Pre-releases count as the release that they precede: after 2.0.0-rc.1 comes 2.0.0.
    """
    highest = max(map(_order, taken), default=_LOWEST)
    if highest == _LOWEST:
        return FIRST
    return str(highest.finalize_version() if highest.prerelease else highest.bump_patch())


def check_new(version: str, existing: Collection[str], channel: str) -> str:
    """Return `version` if the channel does not have it yet.

    Raises:
        ConflictError: it has: a version's files never change.
    """
    if version in existing:
        raise ConflictError(f"version {version} of {channel} exists and never changes: publish under a higher one")
    return version


def newest_first(versions: Iterable[Version]) -> list[Version]:
    """Return the versions, the highest first."""
    return sorted(versions, key=lambda one: _order(one.version), reverse=True)


def _order(version: str) -> Semver:
    """Return what a version is compared by; what is none, written in SQL or the name of a folder, is the lowest."""
    try:
        return Semver.parse(version)
    except ValueError:
        return _LOWEST


def stable_version(versions: Iterable[Version]) -> Version | None:
    """Return the stable version among those of a channel."""
    return next((one for one in versions if one.is_stable), None)


def stable_before(releases: Iterable[str], there: Collection[str]) -> str | None:
    """Return the version that was stable before the present one, and was not rolled back from; None without one.

    Args:
        releases: every version that became stable, in that order, again after a roll-back; the last is stable now.
        there: versions that still exist.
    """
    stack: list[str] = []
    for version in releases:
        if version in stack:
            del stack[stack.index(version) :]
        stack.append(version)
    return next((version for version in reversed(stack[:-1]) if version in there), None)


def roll_back_target(
    versions: Sequence[Version], releases: Sequence[str], wanted: str | None, channel: str
) -> Version:
    """Return the version to make stable again: the wanted one, or the one that was stable before.

    Versions in testing have never been stable: they are released, not rolled back to.

    Args:
        releases: as `stable_before` takes them.

    Raises:
        NotFoundError: there is none.
        ConflictError: the wanted one is stable already, or in testing.
    """
    if wanted is not None:
        return _wanted(versions, wanted, channel)
    if stable_version(versions) is None:
        raise NotFoundError(f"{channel} has no stable version to roll back from: name the one you want")
    there = {one.version: one for one in versions if one.status is not Status.TESTING}
    before = stable_before(releases, there)
    if before is not None:
        return there[before]
    refused = ", ".join(dict.fromkeys(one for one in releases if one in there and one != releases[-1]))
    but = f", but those that were rolled back from ({refused})" if refused else ""
    raise NotFoundError(f"no version of {channel} was stable before the present one{but}: name the one you want")


def _wanted(versions: Sequence[Version], wanted: str, channel: str) -> Version:
    found = next((one for one in versions if one.version == wanted), None)
    if found is None:
        known = ", ".join(one.version for one in newest_first(versions)[:5]) or "none"
        raise NotFoundError(f"{channel} has no version {wanted}; it has {known}")
    if found.is_stable:
        raise ConflictError(f"version {wanted} of {channel} is the stable one already")
    if found.status is Status.TESTING:
        raise ConflictError(f"version {wanted} of {channel} is in testing and never was stable: release it instead")
    return found


def check_deprecable(version: Version) -> None:
    """Return if a version may be deprecated.

    Raises:
        ConflictError: it is the stable one.
    """
    if version.is_stable:
        raise ConflictError(
            f"version {version.version} of {version.channel} is the stable one: roll back or release another first"
        )


def check_recorded(version: Version, hashes: Collection[str]) -> None:
    """Return if the files of a version are those that its row in `model_metadata` names.

    Raises:
        BundleError: they are not: somebody changed the row or the files.
    """
    if version.checksum_sha256 and version.checksum_sha256 not in hashes:
        raise BundleError(
            f"no file of {version.channel} {version.version} has the checksum that model_metadata names: "
            "correct the row, or publish again"
        )


def no_stable_version(channel: str) -> NotFoundError:
    """Return the error of a channel that has no model yet, or none any more."""
    return NotFoundError(f"{channel} has no stable version: publish one, or release one that is in testing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many of a channel's versions are kept, and for how long the others are."""

    keep: int = 5
    days: int = 30

    def __post_init__(self) -> None:
        """Refuse what would delete a version that may be needed."""
        if self.keep < LEAST_KEPT:
            raise UsageError(f"--keep {self.keep} is too few: the current version and the one before it always stay")
        if self.days < 0:
            raise UsageError(f"{self.days} days make no sense: use 0 or more")


def expired(
    versions: Sequence[Version], releases: Sequence[str], retention: Retention, now: datetime
) -> list[Version]:
    """Return the versions to delete, the lowest first.

    None of the newest, the young and the used, and not the one that a roll-back would name.
    """
    cutoff = now - timedelta(days=retention.days)
    order = newest_first(versions)
    kept = {one.version for one in order[: retention.keep]}
    before = stable_before(releases, {one.version for one in versions})
    return [
        one
        for one in reversed(order)
        if one.version not in {*kept, before} and not one.is_in_use and one.created_at < cutoff
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs from one version to another; counts and accuracy as later minus earlier."""

    earlier: Version
    later: Version
    products_added: tuple[str, ...]
    products_removed: tuple[str, ...]
    accuracy_gain: float | None
    image_gain: int
    new_download_bytes: int
    """Bytes that a device with the earlier one has to load for the later one."""


def compare(
    earlier: Version, later: Version, labels: Mapping[str, Collection[str]], parts: Mapping[str, Mapping[str, int]]
) -> Comparison:
    """Return what differs between two versions.

    Args:
        labels: product ids by version.
        parts: size in bytes of everything that a browser downloads, by hash, by version.
    """
    before, after = set(labels[earlier.version]), set(labels[later.version])
    known = parts[earlier.version]
    accuracies = (earlier.accuracy, later.accuracy)
    return Comparison(
        earlier=earlier,
        later=later,
        products_added=tuple(sorted(after - before)),
        products_removed=tuple(sorted(before - after)),
        accuracy_gain=None if None in accuracies else (later.accuracy or 0) - (earlier.accuracy or 0),
        image_gain=later.image_count - earlier.image_count,
        new_download_bytes=sum(size for sha256, size in parts[later.version].items() if sha256 not in known),
    )


SWEEP = Exclusive("sweep-blobs", "a clean-up of shared files")
"""The removing of blobs that nobody uses."""


def publish_lease(channel: str) -> Exclusive:
    """Return what only one at a time may do to a channel's versions."""
    return Exclusive(f"publish:{channel}", f"a publish or clean-up of {channel}")
