"""Routes of versions: publish, list, compare, verify, release, roll back, deprecate, clean up."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import Field

from shelfsight.api.documents import ApiDocument, Page
from shelfsight.api.guards import AdministratorCaller, ReaderCaller, WriterCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.services import Services, ServicesOf
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.registry import cleanup, layout, store, versions
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.registry.rules import Comparison, Retention, Status, Version
from shelfsight.registry.upload import receive
from shelfsight.workspace import workspace

router = APIRouter(prefix="/api/v1", tags=["versions"])

Wanted = Annotated[str, Field(max_length=64, examples=["1.4.2"])]


class VersionDocument(ApiDocument):
    """A published version of a channel."""

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
    training_duration: float = Field(description="Seconds")
    accuracy: float | None = Field(description="Held-out share of right answers")
    architecture: str
    quantization: str
    files_url: str = Field(description="Folder of its files on this server")

    @classmethod
    def of(cls, version: Version) -> Self:
        """Return the document of a version."""
        own = {name: getattr(version, name) for name in cls.model_fields if name != "files_url"}
        folder = layout.version_folder(version.channel, version.version)
        return cls(**own, files_url=f"{layout.SERVED_AT}/{folder}/")


class ComparisonDocument(ApiDocument):
    """What differs from the earlier version to the later one."""

    earlier: VersionDocument
    later: VersionDocument
    products_added: tuple[str, ...]
    products_removed: tuple[str, ...]
    accuracy_gain: float | None
    image_gain: int
    new_download_bytes: int = Field(description="What a device with the earlier version loads for the later one")

    @classmethod
    def of(cls, found: Comparison) -> Self:
        """Return the document of a comparison."""
        pair = {"earlier": VersionDocument.of(found.earlier), "later": VersionDocument.of(found.later)}
        return cls(**pair, **{name: getattr(found, name) for name in cls.model_fields if name not in pair})


class RollbackDocument(ApiDocument):
    """Which version to make stable again."""

    version: Wanted | None = Field(
        default=None, description="By default the one that was stable before, and was not rolled back from"
    )
    republish: bool = Field(
        default=False, description="Publish its files as a new version, for clients that go by a newer trainedAt"
    )


class VerifiedDocument(ApiDocument):
    """A version whose files are whole, and whose models run."""

    version: str
    kind: str
    files: int
    size_bytes: int


class CleanUpDocument(ApiDocument):
    """What may go; never what a rollout or `latest` uses."""

    keep: Annotated[int, Field(ge=2, le=1000, description="The newest versions that stay")] = Retention().keep
    days: Annotated[int, Field(ge=0, le=36500, description="Younger versions stay")] = Retention().days


class CleanedDocument(ApiDocument):
    """What was removed, what was left alone because a publish is running there, and what could not be cleaned up."""

    versions: list[str]
    folders: list[str]
    channels: list[str]
    blobs: list[str]
    images: int
    objects: int
    leftovers: int
    forgotten: int = Field(description="Refused requests, sessions and setup links of three months ago")
    busy: list[str]
    broken: list[str]

    @classmethod
    def of(cls, cleaned: cleanup.Cleaned) -> Self:
        """Return the document of a clean-up."""
        return cls(**{name: getattr(cleaned, name) for name in cls.model_fields})


@router.get("/channels/{channel_id}/versions")
def list_versions(
    channel_id: str,
    services: ServicesOf,
    _caller: ReaderCaller,
    request: Request,
    response: Response,
    *,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[VersionDocument]:
    """List the versions of a channel, the last published first."""
    with services.database.read() as tx:
        store.release_policy(tx, channel_id)
        found, following = store.page(tx, channel_id, before=decode_cursor(cursor, int), limit=limit)
    return page_of(request, response, [VersionDocument.of(one) for one in found], following)


@router.post("/channels/{channel_id}/versions", status_code=201)
def publish_version(
    channel_id: str,
    services: ServicesOf,
    caller: WriterCaller,
    files: Annotated[list[UploadFile], File(description="The files of a bundle, or one ZIP of them", max_length=100)],
    version: Annotated[Wanted | None, Form(description="By default the next patch")] = None,
    release: Annotated[ReleasePolicy | None, Form(description="Instead of the channel's releasePolicy")] = None,
) -> VersionDocument:
    """Publish a bundle: ours, Teachable Machine's three files, or an ORT file with its JSON."""
    with workspace("upload") as folder:
        receive(((file.filename or "", file.file) for file in files), folder)
        order = Order(folder=folder, channel=channel_id, version=version, release=release, actor=caller.actor)
        return VersionDocument.of(publish(_registry(services), order))


@router.get("/channels/{channel_id}/versions/compare")
def compare_versions(
    channel_id: str,
    services: ServicesOf,
    _caller: ReaderCaller,
    earlier: Annotated[Wanted, Query()],
    later: Annotated[Wanted, Query()],
) -> ComparisonDocument:
    """Say what differs from one version to another."""
    return ComparisonDocument.of(versions.compare(_registry(services), channel_id, earlier, later))


@router.get("/channels/{channel_id}/versions/{version}")
def get_version(channel_id: str, version: str, services: ServicesOf, _caller: ReaderCaller) -> VersionDocument:
    """Return one version."""
    with services.database.read() as tx:
        return VersionDocument.of(store.version(tx, channel_id, version))


@router.post("/channels/{channel_id}/versions/{version}/verify")
def verify_version(channel_id: str, version: str, services: ServicesOf, _caller: ReaderCaller) -> VerifiedDocument:
    """Check every file of a version and run its models."""
    _, manifest = versions.verify(_registry(services), channel_id, version)
    size = sum(file.size for file in manifest.files)
    return VerifiedDocument(version=version, kind=manifest.kind, files=len(manifest.files), size_bytes=size)


@router.post("/channels/{channel_id}/versions/{version}/release")
def release_version(channel_id: str, version: str, services: ServicesOf, caller: WriterCaller) -> VersionDocument:
    """Make a version stable for every device, and end any rollout."""
    return VersionDocument.of(versions.release(_registry(services), channel_id, version, actor=caller.actor))


@router.post("/channels/{channel_id}/versions/{version}/deprecate")
def deprecate_version(channel_id: str, version: str, services: ServicesOf, caller: WriterCaller) -> VersionDocument:
    """Mark a version as not to be used any more."""
    return VersionDocument.of(versions.deprecate(_registry(services), channel_id, version, actor=caller.actor))


@router.post("/channels/{channel_id}/rollback")
def roll_back(
    channel_id: str, services: ServicesOf, caller: WriterCaller, wanted: RollbackDocument
) -> VersionDocument:
    """Make an older version stable again and end any rollout."""
    act = versions.republish if wanted.republish else versions.roll_back
    return VersionDocument.of(act(_registry(services), channel_id, wanted.version, actor=caller.actor))


@router.post("/channels/{channel_id}/cleanup")
def clean_up_channel(
    channel_id: str, services: ServicesOf, caller: WriterCaller, wanted: CleanUpDocument
) -> CleanedDocument:
    """Remove the old versions of a channel and what killed publishes left."""
    retention = Retention(keep=wanted.keep, days=wanted.days)
    done = cleanup.clean_up(_registry(services), channel=channel_id, retention=retention, actor=caller.actor)
    return CleanedDocument.of(done)


@router.post("/cleanup")
def clean_up_everything(
    services: ServicesOf, caller: AdministratorCaller, wanted: CleanUpDocument
) -> CleanedDocument:
    """Clean up every channel, and remove the files of channels that are gone and blobs that nobody uses."""
    retention = Retention(keep=wanted.keep, days=wanted.days)
    return CleanedDocument.of(cleanup.clean_up(_registry(services), retention=retention, actor=caller.actor))


def _registry(services: Services) -> Registry:
    return Registry(database=services.database, storage=services.storage)
