"""The versions of a channel in Vendure: list them, go back to one, check the active one, remove old ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shelfsight.errors import BundleError, VendureAccessError, VendureError
from shelfsight.partners.vendure import assets
from shelfsight.partners.vendure.channels import model_fields, seen_channels
from shelfsight.vendure.deploy_channel import activate, failing, fields_of, trained_at_of
from shelfsight.vendure.deploy_check import check_deployed
from shelfsight.vendure.deploy_rules import channel_tags, version_name
from shelfsight.vendure.versions_rules import cleaning_plan, grouped, named_version, version_before

if TYPE_CHECKING:
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import ModelFields, VendureChannel
    from shelfsight.vendure.versions_rules import CleaningPlan, DeployedVersion

ROLLBACK, CLEANUP = "Rollback failed", "Cleanup failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of the version that a channel's devices load.

    Attributes:
        problems: one sentence each; empty: all is well.
    """

    version: DeployedVersion | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedUp:
    """What a clean-up did, or would do.

    Attributes:
        left: versions that left the channel and are still in others, where we may delete nothing.
    """

    plan: CleaningPlan
    left: tuple[DeployedVersion, ...]


def list_versions(client: VendureClient, channel: VendureChannel) -> tuple[DeployedVersion, ...]:
    """Return a channel's versions, the newest first.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    return _versions(client, channel, model_fields(client, channel))


def roll_back(client: VendureClient, channel: VendureChannel, to: str | None = None) -> DeployedVersion:
    """Let a channel's devices load an older version, and return it; it is checked before.

    Args:
        to: which one, None = the one deployed before the active one.

    Raises:
        NotFoundError: there is none.
        ConflictError: none is active, and none was named.
        BundleError: its model does not load.
        VendureError: Vendure refuses, or a file is damaged.
        UnavailableError: it does not answer.
    """
    there = list_versions(client, channel)
    found = version_before(there) if to is None else named_version(there, version_name(to))
    with failing(ROLLBACK):
        files = check_deployed(client, found.files)
    trained_at = trained_at_of(files.metadata, found.files) or found.created_at
    activate(client, channel, fields_of(found.version, found.files, trained_at))
    return found


def verify(client: VendureClient, channel: VendureChannel) -> Verified:
    """Check the version that a channel's devices load: its fields, its files, and that the model loads from them.

    Raises:
        VendureError: Vendure refuses to show them.
        UnavailableError: it does not answer.
    """
    fields = model_fields(client, channel)
    there = _versions(client, channel, fields)
    if not fields.ids:
        return Verified(version=None, problems=("no version is active: deploy one",))
    active = next((one for one in there if one.is_active and one.is_whole), None)
    if active is None or fields.ids != {asset.id for asset in active.files.values()}:
        problem = "the channel's fields name assets that are not there, or of several versions: deploy or roll back"
        return Verified(version=active, problems=(problem,))
    try:
        files = check_deployed(client, active.files)
    except (VendureError, BundleError) as exc:
        return Verified(version=active, problems=(str(exc),))
    trained_at = trained_at_of(files.metadata, active.files) or active.created_at
    return Verified(version=active, problems=_wrong_fields(fields, active, trained_at))


def clean_up(
    client: VendureClient,
    channel: VendureChannel,
    *,
    keep: int,
    older_than: timedelta | None = None,
    dry_run: bool = False,
) -> CleanedUp:
    """Remove a channel's old versions, and what broken-off uploads left; return what was removed.

    Never removed: the active version, and what another channel that we see has, too.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    plan = cleaning_plan(
        list_versions(client, channel),
        keep=keep,
        older_than=older_than,
        used_elsewhere=_used_elsewhere(client, channel),
        now=datetime.now(UTC),
    )
    left: list[DeployedVersion] = []
    with failing(CLEANUP):
        for version in () if dry_run else plan.gone:
            ids = [asset.id for asset in version.assets]
            if model_fields(client, channel).ids.intersection(ids):
                raise VendureError(f"{version.version} became active meanwhile: run it again")
            if not assets.delete(client, ids, channel=channel.token):
                left.append(version)
    return CleanedUp(plan=plan, left=tuple(left))


def _versions(client: VendureClient, channel: VendureChannel, fields: ModelFields) -> tuple[DeployedVersion, ...]:
    return grouped(assets.tagged(client, channel_tags(channel.id), channel=channel.token), fields)


def _wrong_fields(fields: ModelFields, version: DeployedVersion, trained_at: datetime) -> tuple[str, ...]:
    wanted = fields_of(version.version, version.files, trained_at)
    pairs = (
        ("modelVersion", fields.version, wanted.version),
        ("modelBaseUrl", fields.base_url, wanted.base_url),
        ("modelLastTrained", fields.last_trained, wanted.last_trained),
        ("mlModelJsonId", fields.model_id, wanted.model_id),
        ("mlModelBinId", fields.weights_id, wanted.weights_id),
        ("mlMetadataId", fields.metadata_id, wanted.metadata_id),
    )
    return tuple(
        f"{name} is {found}, wanted {want}: deploy or roll back" for name, found, want in pairs if found != want
    )


def _used_elsewhere(client: VendureClient, channel: VendureChannel) -> frozenset[str]:
    """Return the ids of this channel's model assets that other channels have, or load.

    All assets are in the default channel, too, so there it counts only whether they are loaded. What is in channels
    that we do not see, Vendure does not let us delete everywhere.
    """
    found: set[str] = set()
    for other in () if client.has_key else seen_channels(client):
        if other.id == channel.id:
            continue
        try:
            found |= model_fields(client, other).ids
            if not other.is_default:
                tagged = assets.tagged(client, channel_tags(channel.id), channel=other.token)
                found.update(asset.id for asset in tagged)
        except VendureAccessError:
            continue  # we may not read there, and so not delete there
    return frozenset(found)
