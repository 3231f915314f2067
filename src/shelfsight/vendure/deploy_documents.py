"""What is told of versions in Vendure, as JSON."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 (pydantic reads the annotation)
from typing import TYPE_CHECKING

from shelfsight.api.documents import ApiDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.partners.vendure.records import Asset
    from shelfsight.vendure.deploy import DeployReport
    from shelfsight.vendure.deploy_rules import Role
    from shelfsight.vendure.versions import CleanedUp, Verified
    from shelfsight.vendure.versions_rules import DeployedVersion


class VendureFileDocument(ApiDocument):
    """A file of a version; `url` is where a page reads it."""

    role: str
    asset_id: str
    name: str
    url: str
    size_bytes: int


class VendureVersionDocument(ApiDocument):
    """A version in Vendure; one that is not `whole` is left over from an upload that broke off."""

    version: str
    active: bool
    whole: bool
    trained_on: str
    deployed_at: datetime
    size_bytes: int
    files: list[VendureFileDocument]

    @classmethod
    def of(cls, version: DeployedVersion) -> VendureVersionDocument:
        """Return the document of a version."""
        return cls(
            version=version.version,
            active=version.is_active,
            whole=version.is_whole,
            trained_on=version.trained_on,
            deployed_at=version.created_at,
            size_bytes=version.size_bytes,
            files=_files(version.files),
        )


class DeployReportDocument(ApiDocument):
    """What a deployment did: `deployed`, `activated`, `unchanged`, or `planned` of a dry run."""

    channel_id: str
    channel_code: str
    version: str
    outcome: str
    replaces: str | None
    trained_at: datetime
    tags: list[str]
    files: list[VendureFileDocument]

    @classmethod
    def of(cls, report: DeployReport) -> DeployReportDocument:
        """Return the document of a report."""
        return cls(
            channel_id=report.channel.id,
            channel_code=report.channel.code,
            version=report.version,
            outcome=report.outcome,
            replaces=report.replaces,
            trained_at=report.trained_at,
            tags=list(report.tags),
            files=_files(report.files),
        )


class VendureVerifiedDocument(ApiDocument):
    """What was found of the active version."""

    version: str | None
    ok: bool
    problems: list[str]

    @classmethod
    def of(cls, verified: Verified) -> VendureVerifiedDocument:
        """Return the document of a verification."""
        version = verified.version.version if verified.version else None
        return cls(version=version, ok=not verified.problems, problems=list(verified.problems))


class VendureKeptDocument(ApiDocument):
    """A version that would go by its age, and stays."""

    version: str
    reason: str


class VendureCleanedDocument(ApiDocument):
    """What a clean-up removed, or would remove; what it left in other channels; and what it kept, and why."""

    removed: list[VendureVersionDocument]
    left: list[str]
    kept: list[VendureKeptDocument]

    @classmethod
    def of(cls, cleaned: CleanedUp) -> VendureCleanedDocument:
        """Return the document of a clean-up."""
        return cls(
            removed=[VendureVersionDocument.of(version) for version in cleaned.plan.gone],
            left=[version.version for version in cleaned.left],
            kept=[VendureKeptDocument(version=one.version.version, reason=one.reason) for one in cleaned.plan.kept],
        )


def _files(files: Mapping[Role, Asset]) -> list[VendureFileDocument]:
    return [
        VendureFileDocument(
            role=role, asset_id=asset.id, name=asset.name, url=asset.source, size_bytes=asset.size_bytes
        )
        for role, asset in sorted(files.items())
    ]
