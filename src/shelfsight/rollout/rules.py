"""Which version a channel's devices get: stages, shares, and whom a rollout is for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shelfsight.errors import UsageError
from shelfsight.registry.rules import Share, Status, stable_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shelfsight.registry.rules import Version

EVERYBODY_BP = 10_000
"""All devices, in basis points: hundredths of a percent."""

STAGES_BP = (1000, 5000)
"""The shares of a rollout before everybody, unless somebody chooses others."""

_MOST_STAGES = 20
_APP_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}", re.ASCII)


class Platform(StrEnum):
    """What a device runs on; `universal` is one that does not say."""

    UNIVERSAL = "universal"
    WEB = "web"
    IOS = "ios"
    ANDROID = "android"
    DESKTOP = "desktop"


class Tier(StrEnum):
    """How strong a device is; `any` is one that does not say."""

    ANY = "any"
    LOW = "low"
    MID = "mid"
    HIGH = "high"


class State(StrEnum):
    """Where a version is on its way."""

    TESTING = "testing"  # published, and no device is told to load it
    SHADOW = "shadow"  # runs beside the stable one on some devices; its answers are reported, never shown
    ROLLING = "rolling"  # some devices use it
    HELD = "held"  # either of these, and it grows no further before somebody resumes it
    STABLE = "stable"
    DEPRECATED = "deprecated"


class Outcome(StrEnum):
    """How a rollout ended; nothing while it runs."""

    NONE = ""
    STABLE = "stable"
    STOPPED = "stopped"  # by SQL, or because another version became stable
    ROLLED_BACK = "rolled_back"
    HALTED = "halted"


def basis_points(percentage: float) -> int:
    """Return a percentage as whole basis points: 12.34 % is 1234."""
    return round(percentage * 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Which share of the devices has a version; in shadow, beside the one whose answers are shown."""

    share_bp: int
    is_shadow: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.share_bp <= EVERYBODY_BP:
            raise UsageError(f"{self.share_bp / 100:g} % of the devices make no sense: use more than 0, at most 100")

    @property
    def is_everybody(self) -> bool:
        """Whether it is the last one, at which the version is stable."""
        return self.share_bp == EVERYBODY_BP and not self.is_shadow

    @property
    def share(self) -> Share:
        """What the version's row says at this stage."""
        percentage = self.share_bp / 100
        return Share(shadow_percentage=percentage) if self.is_shadow else Share(rollout_percentage=percentage)

    def is_beyond(self, other: Stage) -> bool:
        """Whether it comes after another: shadow comes first, however large."""
        return (not self.is_shadow, self.share_bp) > (not other.is_shadow, other.share_bp)

    def __str__(self) -> str:
        """Return it as people read it: `shadow 10 %`, `50 %`."""
        return f"{'shadow ' if self.is_shadow else ''}{self.share_bp / 100:g} %"


FIRST = Stage(share_bp=1000, is_shadow=True)
"""Where a rollout begins, unless somebody chooses otherwise."""

EVERYBODY = Stage(share_bp=EVERYBODY_BP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a version is to be rolled out.

    Attributes:
        stages_bp: the shares on the way to everybody, in basis points.
        platforms, tiers: whose devices get it; empty = everybody's.
        threshold: error rate, 0 to 1, above which it is taken back; None = as the version's row says.
        min_app_version: the oldest app that may load it, such as 2.1.0; empty = any, None = as the row says.
    """

    first: Stage = FIRST
    stages_bp: tuple[int, ...] = STAGES_BP
    platforms: tuple[Platform, ...] = ()
    tiers: tuple[Tier, ...] = ()
    threshold: float | None = None
    min_app_version: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _check_first(self.first)
        _check_stages(self.stages_bp)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise UsageError(f"a threshold of {self.threshold:g} makes no sense: use a share of errors, such as 0.05")
        if self.min_app_version and not _APP_VERSION.fullmatch(self.min_app_version):
            raise UsageError(f"{self.min_app_version[:40]!r} is no version of an app: use numbers, such as 2.1.0")


def _check_first(first: Stage) -> None:
    if first.share_bp == 0:
        raise UsageError("a rollout to 0 % of the devices is none: begin with more, such as 10")
    if first.is_everybody:
        raise UsageError(
            "100 % at once is no rollout: begin with less, or let everybody have it by `shelfsight versions release`"
        )


def _check_stages(stages_bp: Sequence[int]) -> None:
    if len(stages_bp) > _MOST_STAGES:
        raise UsageError(f"{len(stages_bp)} stages are too many: use {_MOST_STAGES} at most")
    if list(stages_bp) != sorted(set(stages_bp)) or not all(0 < one < EVERYBODY_BP for one in stages_bp):
        given = ", ".join(f"{one / 100:g}" for one in stages_bp)
        raise UsageError(f"stages of {given} % make no sense: each larger than the one before, between 0 and 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a version reaches devices, or did.

    Attributes:
        salt, shadow_salt: decide which devices are in; another for every rollout.
        stages_bp: the shares on the way to everybody, in basis points.
        platforms, tiers: whose devices get it; empty = everybody's.
        held_at: when somebody held it; None = nobody did.
        reason: of the last move, in words.
        stage_at: when the share last changed.
    """

    id: int
    channel: str
    version: str
    salt: str
    shadow_salt: str
    stages_bp: tuple[int, ...]
    platforms: tuple[str, ...]
    tiers: tuple[str, ...]
    held_at: datetime | None
    reason: str
    started_at: datetime
    started_by: str
    stage_at: datetime
    ended_at: datetime | None
    outcome: Outcome


def is_for(rollout: Rollout, platform: str, tier: str) -> bool:
    """Return whether devices of a platform and tier get what is rolled out."""
    return (not rollout.platforms or platform in rollout.platforms) and (not rollout.tiers or tier in rollout.tiers)


def next_stage(rollout: Rollout, stage: Stage) -> Stage:
    """Return what comes after a stage: the next larger share of the plan, at last everybody."""
    so_far = 0 if stage.is_shadow else stage.share_bp
    return next((Stage(share_bp=share) for share in rollout.stages_bp if share > so_far), EVERYBODY)


def stage_of(version: Version) -> Stage | None:
    """Return which share of the devices has a version that is not stable; None where no device has it."""
    if version.is_stable or version.status is Status.DEPRECATED:
        return None
    if version.rollout_percentage > 0:
        return Stage(share_bp=basis_points(version.rollout_percentage))
    if version.shadow_mode and version.shadow_percentage > 0:
        return Stage(share_bp=basis_points(version.shadow_percentage), is_shadow=True)
    return None


def state_of(version: Version, rollout: Rollout | None) -> State:
    """Return where a version is on its way.

    Args:
        rollout: the one of this version that runs, None without one.
    """
    if version.is_stable:
        return State.STABLE
    if version.status is Status.DEPRECATED:
        return State.DEPRECATED
    stage = stage_of(version)
    if stage is None:
        return State.TESTING
    if rollout is not None and rollout.held_at is not None:
        return State.HELD
    return State.SHADOW if stage.is_shadow else State.ROLLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A version that some devices get: those whose bucket under `salt` is below `share_bp`."""

    version: Version
    rollout: Rollout
    share_bp: int
    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which version is what to a channel's devices."""

    stable: Version | None
    candidate: Offer | None
    shadow: Offer | None


def assign(versions: Sequence[Version], rollouts: Iterable[Rollout]) -> Assignment:
    """Return which version is what. Of several that SQL rolls out at once, the one published last.

    Args:
        versions: all of a channel, in the order in which they were published.
        rollouts: those of them that run.
    """
    running = {one.version: one for one in rollouts}
    candidate = shadow = None
    for version in versions:
        rollout = running.get(version.version)
        if rollout is None or version.is_stable or version.status is Status.DEPRECATED:
            continue
        if version.rollout_percentage > 0:
            share_bp = basis_points(version.rollout_percentage)
            candidate = Offer(version=version, rollout=rollout, share_bp=share_bp, salt=rollout.salt)
        if version.shadow_mode and version.shadow_percentage > 0:
            share_bp = basis_points(version.shadow_percentage)
            shadow = Offer(version=version, rollout=rollout, share_bp=share_bp, salt=rollout.shadow_salt)
    return Assignment(stable=stable_version(versions), candidate=candidate, shadow=shadow)
