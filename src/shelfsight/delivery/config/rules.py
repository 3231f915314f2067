"""What a config says, who asks for which, and how long it is good for. Pure: values in, values out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, assert_never

from shelfsight.bundle.documents import VERSION_PATTERN
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.registry import layout
from shelfsight.rollout.rules import EVERYBODY_BP, Platform, Tier, is_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from shelfsight.registry.rules import Version
    from shelfsight.rollout.rules import Assignment, Offer

FUNCTION_PATH = "/functions/v1/assessment-model-config"
"""Where the key names the channel."""

LIFE = timedelta(days=14)
"""How long a config is good for when it is signed; it is signed again when half of that is over."""

_HALF_S = int(LIFE.total_seconds()) // 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHANNEL_PATH = re.compile(
    rf"/v1/channels/({CHANNEL_PATTERN.removeprefix('^').removesuffix('$')})/model-config", re.ASCII
)
_VERSION = re.compile(VERSION_PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)
_LONGEST_DEVICE_BYTES = 200
_LONGEST_TOKEN_BYTES = 512
_LONGEST_LIST_BYTES = 4096
_LONGEST_REMEMBERED_BYTES = 1024
_TAG_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers of a request say.

    Attributes:
        device: whose id it is, None where nobody says: then the client decides what it gets.
        tokens: what may name a channel, `apikey` first; each once.
        tags: If-None-Match as it came, empty without one.
    """

    platform: Platform
    tier: Tier
    device: str | None
    tokens: tuple[bytes, ...]
    tags: bytes


_PLATFORMS = {platform.value.encode(): platform for platform in Platform}
_TIERS = {tier.value.encode(): tier for tier in Tier}
_READ = {
    name: place
    for place, name in enumerate(
        (b"x-app-platform", b"x-device-tier", b"x-device-id", b"apikey", b"authorization", b"if-none-match")
    )
}
_TAGS = _READ[b"if-none-match"]


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> Asked:
    """Return what a request asks for; what it says that nobody knows is as if it said nothing.

    Of a header that comes twice the last counts; of If-None-Match, which is a list, all.
    """
    found = [b""] * len(_READ)
    for name, value in headers:
        place = _READ.get(name)
        if place is not None:
            found[place] = found[place] + b", " + value if place == _TAGS and found[place] else value
    return _asked(*found) if sum(map(len, found)) <= _LONGEST_REMEMBERED_BYTES else _asked.__wrapped__(*found)


@lru_cache(maxsize=4096)
def _asked(platform: bytes, tier: bytes, device: bytes, apikey: bytes, authorization: bytes, tags: bytes) -> Asked:
    return Asked(
        _PLATFORMS.get(platform.lower(), Platform.UNIVERSAL),
        _TIERS.get(tier.lower(), Tier.ANY),
        _device(device),
        _tokens(apikey, authorization),
        tags[:_LONGEST_LIST_BYTES],
    )


def _device(value: bytes) -> str | None:
    """Return the id of a device, None for what is too long to be one."""
    if not 0 < len(value) <= _LONGEST_DEVICE_BYTES:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")  # as browsers send it


def _tokens(apikey: bytes, authorization: bytes) -> tuple[bytes, ...]:
    bearer = authorization[7:] if authorization[:7].lower() == b"bearer " else b""
    given = (apikey.strip(), bearer.strip())
    return tuple(dict.fromkeys(token for token in given if 0 < len(token) <= _LONGEST_TOKEN_BYTES))


def channel_in(path: str) -> str | None:
    """Return the channel in `/v1/channels/{channel}/model-config`, None for any other path."""
    found = _CHANNEL_PATH.fullmatch(path)
    return found[1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFiles:
    """The files of a version, each there and of the right size: their names, and the manifest that says more."""

    names: frozenset[str]
    manifest_size_bytes: int
    manifest_sha256: str


def is_version(version: str) -> bool:
    """Return whether a version, which SQL may have written, can be one that was published."""
    return _VERSION.fullmatch(version) is not None


def model_file(names: Collection[str], platform: Platform, tier: Tier) -> str | None:
    """Return which of a version's files is the model for such a device, None where none is."""
    return next((name for name in _model_files(platform, tier) if name in names), None)


def _model_files(platform: Platform, tier: Tier) -> tuple[str, ...]:
    """Return the files that such a device can load, the best first."""
    match platform:
        case Platform.WEB | Platform.UNIVERSAL:
            return ("model.shards.json", "model.json")  # with shards, a retrain is a small download
        case Platform.IOS | Platform.ANDROID:
            return ("model.ort",)
        case Platform.DESKTOP:
            return ("model.int8.onnx", "model.onnx") if tier is Tier.LOW else ("model.onnx",)
    assert_never(platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Devices that get the same config.

    Attributes:
        candidate_bp, shadow_bp: the share that it names; 0 = it names no such version.
    """

    platform: Platform
    tier: Tier
    candidate_bp: int
    shadow_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a channel offers to the devices of a platform and tier; each version has a file for them."""

    stable: Version
    candidate: Offer | None
    shadow: Offer | None


def choose(told: Assignment, files: Mapping[str, VersionFiles], platform: Platform, tier: Tier) -> Choice | None:
    """Return which versions such devices are told of, None where there is no stable one for them.

    Args:
        files: by version, of those that are whole.
    """

    def has_model(version: Version) -> bool:
        found = files.get(version.version)
        return found is not None and model_file(found.names, platform, tier) is not None

    if told.stable is None or not has_model(told.stable):
        return None
    stable = told.stable

    def offered(offer: Offer | None) -> Offer | None:
        if offer is None or offer.version.version == stable.version:
            return None
        return offer if is_for(offer.rollout, platform, tier) and has_model(offer.version) else None

    return Choice(stable=stable, candidate=offered(told.candidate), shadow=offered(told.shadow))


def audience_of(choice: Choice, asked: Asked, is_in: Callable[[str, str, int], bool]) -> Audience:
    """Return whose config a request gets.

    A client that says which device it is learns only what that device is to do: all or nothing.

    Args:
        is_in: whether a device is in, by salt, its id, and share.
    """

    def share(offer: Offer | None) -> int:
        if offer is None:
            return 0
        if asked.device is None:
            return offer.share_bp
        return EVERYBODY_BP if is_in(offer.salt, asked.device, offer.share_bp) else 0

    return Audience(
        platform=asked.platform,
        tier=asked.tier,
        candidate_bp=share(choice.candidate),
        shadow_bp=share(choice.shadow),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What else a config says, whoever gets it.

    Attributes:
        keys: as `access.signatures.published` returns them.
        assets_url: where files are served, without a slash at the end.
    """

    channel: str
    sequence: int
    expires_at: datetime
    keys: list[dict[str, str]]
    assets_url: str


def compose(choice: Choice, files: Mapping[str, VersionFiles], audience: Audience, issue: Issue) -> dict[str, Any]:
    """Return the config of an audience, without its `etag` and signatures."""
    stable = choice.stable
    candidate = choice.candidate if audience.candidate_bp else None
    shadow = choice.shadow if audience.shadow_bp else None
    named = [stable, *(offer.version for offer in (candidate, shadow) if offer is not None)]
    document: dict[str, Any] = {
        "channelId": issue.channel,
        "platform": audience.platform.value,
        "deviceTier": audience.tier.value,
        "activeModelVersion": f"v{stable.version}",
        "rolloutPercentage": stable.rollout_percentage,
        "rollbackThreshold": stable.rollback_threshold,
        "updatedAt": instant(max(version.updated_at for version in named)),
        "sequence": issue.sequence,
        "expiresAt": instant(issue.expires_at),
        "files": {f"v{one.version}": _files(one.version, files[one.version], audience, issue) for one in named},
        "keys": issue.keys,
    }
    document |= _min_app_version(stable)
    if shadow is not None:
        document["shadowModelVersion"] = f"v{shadow.version.version}"
        document["shadowPercentage"] = audience.shadow_bp / 100
        document["shadowSalt"] = shadow.salt
    if candidate is not None:
        document["candidate"] = {
            "version": f"v{candidate.version.version}",
            "rolloutBasisPoints": audience.candidate_bp,
            "salt": candidate.salt,
            **_min_app_version(candidate.version),
        }
    return document


def _min_app_version(version: Version) -> dict[str, str]:
    return {"minAppVersion": version.min_app_version} if version.min_app_version else {}


def _files(version: str, files: VersionFiles, audience: Audience, issue: Issue) -> dict[str, Any]:
    return {
        "baseUrl": f"{issue.assets_url}/{layout.version_folder(issue.channel, version)}/",
        "manifest": {"size": files.manifest_size_bytes, "sha256": files.manifest_sha256},
        "model": model_file(files.names, audience.platform, audience.tier),
    }


def etag_of(canonical: bytes) -> str:
    """Return the entity tag of a config, given its canonical JSON without `etag` and signatures."""
    return f'"{hashlib.sha256(canonical).hexdigest()[:_TAG_DIGITS]}"'


def instant(at: datetime) -> str:
    """Return a moment as configs say it, to the millisecond: 2026-11-20T12:00:00.000Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """How long a config that is signed now is good for, and when its successor is signed."""

    expires_at: datetime
    sign_again_at: datetime


def validity(channel: str, now: datetime) -> Validity:
    """Return the validity of a channel's config: on every server the same, and in every channel another.

    So servers need not agree on anything, and ten thousand channels are not signed again in the same second.
    """
    phase_s = int.from_bytes(hashlib.sha256(channel.encode()).digest()[:8], "big") % _HALF_S
    half = (int((now - _EPOCH).total_seconds()) + phase_s) // _HALF_S
    again_s = (half + 1) * _HALF_S - phase_s
    return Validity(
        sign_again_at=_EPOCH + timedelta(seconds=again_s), expires_at=_EPOCH + timedelta(seconds=again_s + _HALF_S)
    )
