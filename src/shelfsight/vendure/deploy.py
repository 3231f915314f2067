"""Puts a model into Vendure: checks it, uploads it, reads it back, and lets the channel's devices load it.

Whatever fails, the version that was active stays active, and what was uploaded is removed again.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from shelfsight.errors import BundleError, ConflictError, ShelfsightError, VendureError
from shelfsight.partners.vendure import assets
from shelfsight.partners.vendure.answers import LOOKS_OTHERWISE
from shelfsight.partners.vendure.channels import model_fields
from shelfsight.partners.vendure.client import UploadFile
from shelfsight.training.progress import Silent
from shelfsight.vendure import deploy_rules as rules
from shelfsight.vendure.deploy_channel import (
    ACTIVATION,
    ASSIGNMENT,
    UPLOAD,
    activate,
    check_permissions,
    failing,
    fields_of,
    trained_at_of,
)
from shelfsight.vendure.deploy_check import check_deployed, check_loads, read_files
from shelfsight.vendure.deploy_rules import ModelFiles, Role, Told
from shelfsight.vendure.versions_rules import grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import Asset, ModelFields, VendureChannel
    from shelfsight.training.progress import Progress
    from shelfsight.vendure.deploy_rules import Arrangement
    from shelfsight.vendure.versions_rules import DeployedVersion

__all__ = ["DeployReport", "ModelFiles", "Outcome", "deploy"]


class Outcome(StrEnum):
    """What a deployment did."""

    DEPLOYED = "deployed"
    ACTIVATED = "activated"
    """Its files were there already; now devices load them."""
    UNCHANGED = "unchanged"
    """Its files were there already, and devices load them."""
    PLANNED = "planned"
    """Nothing: it was a dry run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployReport:
    """What a deployment did, or would do.

    Attributes:
        version: as tags and fields hold it.
        replaces: the version that devices loaded before, None = none.
        tags: of the assets.
        files: the assets; of a plan, those that are there already.
    """

    channel: VendureChannel
    version: str
    outcome: Outcome
    replaces: str | None
    trained_at: datetime
    tags: tuple[str, ...]
    files: Mapping[Role, Asset]


def deploy(
    client: VendureClient,
    files: ModelFiles,
    *,
    channel: VendureChannel,
    version: str,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> DeployReport:
    """Deploy a model as a version of a channel, and return what was done.

    The same version with the same files is only made active again; with others it is refused, so that a version is
    one model wherever it is named. One whose files are damaged in Vendure is deployed once more beside them.

    Args:
        channel: as `deploy_channel.find_channel` returns it.
        version: any word, such as 1.4.2 or a commit.

    Raises:
        UsageError: `version` is none, or files of weights are missing.
        BundleError: the model does not load, or its labels are of another.
        ConflictError: the version is deployed with other files.
        VendureError: Vendure refuses; the message says at what.
        UnavailableError: it does not answer.
    """
    told = progress or Silent()
    told.stage("Checking the model")
    name = rules.version_name(version)
    model = rules.arranged(files)
    check_loads(model, files.metadata)
    check_permissions(channel)
    with failing(ACTIVATION):
        before = model_fields(client, channel)
    with failing(UPLOAD):
        there = _deployed(client, channel, name, before)
    same = _same(client, there, model, files.metadata)
    trained_at = trained_at_of(files.metadata, same.files if same else {}) or datetime.now(UTC)
    report = DeployReport(
        channel=channel,
        version=name,
        outcome=Outcome.PLANNED,
        replaces=before.version,
        trained_at=trained_at,
        tags=rules.tags_of(channel.id, name, trained_at),
        files=same.files if same else {},
    )
    if dry_run:
        return report
    if same:
        return _reactivated(client, report, before)
    return _uploaded(_Upload(client, report, told), model, files.metadata)


def _deployed(
    client: VendureClient, channel: VendureChannel, version: str, fields: ModelFields
) -> list[DeployedVersion]:
    """Return the whole deployments of a version that are there."""
    found = assets.tagged(client, {*rules.channel_tags(channel.id), version}, channel=channel.token)
    return [one for one in grouped(found, fields) if one.version == version and one.is_whole]


def _same(
    client: VendureClient, there: Sequence[DeployedVersion], model: Arrangement, metadata: bytes
) -> DeployedVersion | None:
    """Return the deployment of this very model, if there is one; those that are damaged do not count."""
    for one in there:
        try:
            found = read_files(client, one.files)
        except (VendureError, BundleError):
            continue
        if found.metadata == metadata and rules.is_same_model(model, found.model, found.weights["weights.bin"]):
            return one
        raise ConflictError(f"{one.version} is deployed with other files: deploy these as another version")
    return None


def _reactivated(client: VendureClient, report: DeployReport, before: ModelFields) -> DeployReport:
    wanted = fields_of(report.version, report.files, report.trained_at)
    if before == wanted:
        return replace(report, outcome=Outcome.UNCHANGED)
    activate(client, report.channel, wanted)
    return replace(report, outcome=Outcome.ACTIVATED)


def _uploaded(upload: _Upload, model: Arrangement, metadata: bytes) -> DeployReport:
    """Return what was deployed; nothing of it is left when it fails, or somebody ends it."""
    try:
        return upload.run(model, metadata)
    except ShelfsightError as exc:
        try:
            is_gone = upload.undo()
        except ShelfsightError as also:
            _add(exc, f"what was uploaded is still there ({also}): look at `shelfsight vendure versions`")
        else:
            if not is_gone:
                _add(exc, "what was uploaded is still in the default channel, where we may delete nothing")
        raise
    except BaseException:
        upload.undo()
        raise


def _add(error: ShelfsightError, more: str) -> None:
    """Let the message of an error say more."""
    error.args = (f"{error}; {more}", *error.args[1:])


@dataclass(slots=True)
class _Upload:
    """An upload on its way, which can be undone.

    Attributes:
        deployment: part of the name of each file, and of no other's.
    """

    client: VendureClient
    report: DeployReport
    progress: Progress
    deployment: str = field(default_factory=lambda: secrets.token_hex(6))

    def run(self, model: Arrangement, metadata: bytes) -> DeployReport:
        """Upload a model, check it there, let devices load it, and return what was done."""
        self.progress.stage("Uploading", total=len(Role))
        with failing(UPLOAD):
            files = self._files(model, metadata)
        channel = self.report.channel
        ids = [asset.id for asset in files.values()]
        with failing(ASSIGNMENT):
            assets.assign(self.client, ids, channel_id=channel.id, channel=channel.token)
        self.progress.stage("Reading it back")
        with failing(UPLOAD):
            found = check_deployed(self.client, files)
            if found.metadata != metadata or not rules.is_same_model(
                model, found.model, found.weights["weights.bin"]
            ):
                raise VendureError("what Vendure gives is not what was uploaded: look for what changes files there")
        self.progress.stage("Activating")
        trained_at = trained_at_of(metadata, files) or self.report.trained_at
        activate(self.client, channel, fields_of(self.report.version, files, trained_at))
        return replace(self.report, outcome=Outcome.DEPLOYED, files=files, trained_at=trained_at)

    def undo(self) -> bool:
        """Remove what was uploaded, also what Vendure took without an answer, and return whether nothing is left.

        Raises:
            VendureError: Vendure refuses, or devices load it.
            UnavailableError: it does not answer.
        """
        channel = self.report.channel
        used = model_fields(self.client, channel).ids
        found = assets.named(self.client, self.deployment, channel=channel.token)
        ids = [asset.id for asset in found]
        if used.intersection(ids):
            raise VendureError("the channel's fields name it")
        return not ids or assets.delete(self.client, ids, channel=channel.token)

    def _files(self, model: Arrangement, metadata: bytes) -> dict[Role, Asset]:
        """Upload the files, `model.json` last: it says where the others are."""
        arrangement, weights = self._weights(model)
        labels = self._create(Role.METADATA, metadata)
        told = Told(
            metadata_path=rules.rooted_path(labels.source),
            metadata_sha256=hashlib.sha256(metadata).hexdigest(),
            weights_sha256=hashlib.sha256(arrangement.weights).hexdigest(),
        )
        document = arrangement.model_json(rules.rooted_path(weights.source), told)
        return {
            Role.MODEL: self._create(Role.MODEL, document),
            Role.WEIGHTS: weights,
            Role.METADATA: labels,
        }

    def _weights(self, model: Arrangement) -> tuple[Arrangement, Asset]:
        """Upload the weights, in an order in which Vendure does not take them for something else."""
        refused: VendureError | None = None
        for arrangement in rules.arrangements(model):
            try:
                return arrangement, self._create(Role.WEIGHTS, arrangement.weights)
            except VendureError as exc:
                if exc.reason != LOOKS_OTHERWISE:
                    raise
                refused = exc
        raise refused or VendureError("there are no weights")

    def _create(self, role: Role, data: bytes) -> Asset:
        name = rules.file_name(role, self.report.version, self.deployment)
        file = UploadFile(name=name, data=data, media_type=role.media_type)
        made = assets.create(self.client, file, tags=self.report.tags, channel=self.report.channel.token)
        self.progress.advance()
        return made
