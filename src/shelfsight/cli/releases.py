"""`shelfsight publish`, `rollback`, `cleanup` and `verify`: versions on their way out to devices, and back."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.cli.service import Service
    from shelfsight.registry.cleanup import Cleaned


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("publish")(publish)
    app.command("rollback")(rollback)
    app.command("cleanup")(cleanup)
    app.command("verify")(verify)


def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, or a ZIP of its files.")],
    channel: Annotated[str, typer.Option(help="Id of the channel.")],
    version: Annotated[str | None, typer.Option(help="Version, such as 1.4.2; by default the next patch.")] = None,
    release: Annotated[
        Literal["immediate", "staged"] | None, typer.Option(help="Instead of the channel's releasePolicy.")
    ] = None,
    create_channel: Annotated[
        bool, typer.Option("--create-channel", help="Add the channel if it is not there.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check a bundle and publish it as a version of a channel."""
    from shelfsight.catalog.rules import ReleasePolicy
    from shelfsight.cli.output import progress_bars
    from shelfsight.cli.service import opened_service
    from shelfsight.cli.versions import show_version
    from shelfsight.registry.publish import Order
    from shelfsight.registry.publish import publish as run

    with opened_service() as service, _folder(bundle) as folder:
        if create_channel:
            _create(service, channel)
        chosen = None if release is None else ReleasePolicy(release)
        order = Order(folder=folder, channel=channel, version=version, release=chosen, actor=service.caller.actor)
        with progress_bars() as bars:
            bars.stage("Checking and publishing")
            published = run(service.registry, order)
        show_version(published, json)


def rollback(
    channel: ChannelArgument,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]",
            help="By default the one that was stable before, and was not itself rolled back from.",
        ),
    ] = None,
    republish: Annotated[
        bool, typer.Option("--republish", help="As a new version, for clients that go by a newer trainedAt.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make an older version stable again, and end any rollout."""
    from shelfsight.cli.service import opened_service
    from shelfsight.cli.versions import show_version
    from shelfsight.registry import versions

    act = versions.republish if republish else versions.roll_back
    with opened_service() as service:
        show_version(act(service.registry, channel, version, actor=service.caller.actor), json)


def cleanup(
    channel: Annotated[str | None, typer.Argument(metavar="[CHANNEL]", help="By default every one.")] = None,
    keep: Annotated[int, typer.Option(min=2, help="The newest versions that stay.")] = 5,
    days: Annotated[int, typer.Option(min=0, help="Younger versions stay.")] = 30,
    json: JsonOption = False,
) -> None:
    """Remove old versions, what killed publishes and gone channels left; exits with 1 if some of it is broken."""
    from shelfsight.cli.output import messages, print_document
    from shelfsight.cli.service import opened_service
    from shelfsight.registry.cleanup import clean_up
    from shelfsight.registry.rules import Retention

    retention = Retention(keep=keep, days=days)
    with opened_service() as service:
        cleaned = clean_up(service.registry, channel=channel, retention=retention, actor=service.caller.actor)
        young = 0 if json or not days else _young(service, channel, keep)
    if json:
        from shelfsight.registry.routes import CleanedDocument

        print_document(CleanedDocument.of(cleaned))
    else:
        _tell(cleaned)
        if young:
            messages.print(f"Kept because younger than {days} days: {young} (--days 0 removes them)", soft_wrap=True)
    if cleaned.broken:
        raise typer.Exit(1)


def verify(
    channel: ChannelArgument,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="By default the stable one.")] = None,
    json: JsonOption = False,
) -> None:
    """Check every file of a published version and run its models; exits with 1 if it is damaged."""
    from shelfsight.cli.output import print_document, print_plain, size
    from shelfsight.cli.service import opened_service
    from shelfsight.registry import versions

    with opened_service() as service:
        found, manifest = versions.verify(service.registry, channel, version)
    size_bytes = sum(file.size for file in manifest.files)
    if json:
        from shelfsight.registry.routes import VerifiedDocument

        print_document(
            VerifiedDocument(
                version=found.version, kind=manifest.kind, files=len(manifest.files), size_bytes=size_bytes
            )
        )
        return
    files = f"{len(manifest.files)} files, {size(size_bytes)}"
    print_plain(f"{channel} {found.version}: {files}; every file is whole, and its models run")


@contextmanager
def _folder(bundle: Path) -> Iterator[Path]:
    """Yield the folder of a bundle; a ZIP is unpacked for the time being."""
    from shelfsight.errors import BundleError
    from shelfsight.registry.upload import receive
    from shelfsight.workspace import workspace

    if not bundle.exists():
        raise BundleError(f"{bundle} does not exist: name the folder of a bundle, or a ZIP of its files")
    if bundle.is_dir():
        yield bundle
        return
    with workspace("bundle") as work, bundle.open("rb") as file:
        receive([(bundle.name, file)], work)
        yield work


def _create(service: Service, channel: str) -> None:
    from shelfsight.access import audit
    from shelfsight.catalog.store import channels
    from shelfsight.registry import store

    with service.database.read() as tx:
        if channel in store.channel_ids(tx):
            return
    with service.database.write(actor=service.caller.actor) as tx:
        channels.create(tx, channel, {}, service.stamp())
        audit.record(tx, actor=service.caller.actor, action="channel_created", channel=channel)


def _young(service: Service, channel: str | None, keep: int) -> int:
    """Return how many versions of a channel, or of all, nothing but their age has kept from being removed."""
    from datetime import UTC, datetime

    from shelfsight.registry import store
    from shelfsight.registry.rules import Retention, expired

    ageless = Retention(keep=keep, days=0)
    with service.database.read() as tx:
        channels = store.channel_ids(tx) if channel is None else [channel]
        found = [
            expired(store.versions(tx, one), store.releases_of(tx, one), ageless, datetime.now(UTC))
            for one in channels
        ]
    return sum(map(len, found))


def _tell(cleaned: Cleaned) -> None:
    """Print what was removed, and what stands in the way."""
    from shelfsight.cli.output import print_plain

    groups = (
        ("version", cleaned.versions),
        ("folder", cleaned.folders),
        ("channel", cleaned.channels),
        ("blob", cleaned.blobs),
    )
    lines = [f"Removed {what} {name}" for what, names in groups for name in names]
    counts = (
        ("pictures that no product has", cleaned.images),
        ("uploaded objects that are no more", cleaned.objects),
        ("unfinished files", cleaned.leftovers),
    )
    lines += [f"Removed {count} {what}" for what, count in counts if count]
    lines += [f"Left alone {name}: a publish or clean-up is running there" for name in cleaned.busy]
    lines += [f"Broken: {reason}" for reason in cleaned.broken]
    print_plain("\n".join(lines) or "Nothing to remove")
