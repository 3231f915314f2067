"""`shelfsight versions`: the published recognisers of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption, VersionArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.registry.rules import Comparison, Version

_COLUMNS = ("Version", "Status", "Stable", "Rollout", "Products", "Photos", "Accuracy", "Trained", "Size")

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="versions", help="The published recognisers of a channel.")


@group.command("list")
def list_versions(channel: ChannelArgument, json: JsonOption = False) -> None:
    """List the versions of a channel, the last published first."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.registry import store

    with opened_service() as service, service.database.read() as tx:
        store.release_policy(tx, channel)
        found = store.versions(tx, channel)[::-1]
    if json:
        from shelfsight.registry.routes import VersionDocument

        print_documents(map(VersionDocument.of, found))
    else:
        print_table(_COLUMNS, map(_row, found), right=_COLUMNS[3:])


@group.command()
def compare(
    channel: ChannelArgument,
    earlier: Annotated[str, typer.Argument(metavar="A", help="The earlier version.")],
    later: Annotated[str, typer.Argument(metavar="B", help="The later version.")],
    json: JsonOption = False,
) -> None:
    """Say what differs from version A to version B."""
    from shelfsight.cli.output import print_document, print_facts
    from shelfsight.cli.service import opened_service
    from shelfsight.registry import versions

    with opened_service() as service:
        found = versions.compare(service.registry, channel, earlier, later)
    if json:
        from shelfsight.registry.routes import ComparisonDocument

        print_document(ComparisonDocument.of(found))
    else:
        print_facts(_differences(found))


@group.command()
def release(channel: ChannelArgument, version: VersionArgument, json: JsonOption = False) -> None:
    """Make a version stable for every device, and end any rollout."""
    from shelfsight.cli.service import opened_service
    from shelfsight.registry import versions

    with opened_service() as service:
        show_version(versions.release(service.registry, channel, version, actor=service.caller.actor), json)


@group.command()
def deprecate(channel: ChannelArgument, version: VersionArgument, json: JsonOption = False) -> None:
    """Mark a version as not to be used any more."""
    from shelfsight.cli.service import opened_service
    from shelfsight.registry import versions

    with opened_service() as service:
        show_version(versions.deprecate(service.registry, channel, version, actor=service.caller.actor), json)


def show_version(version: Version, json: bool) -> None:
    """Print what a version is now, and where devices find it."""
    from shelfsight.cli.output import print_document, print_facts
    from shelfsight.registry.latest import base_url

    if json:
        from shelfsight.registry.routes import VersionDocument

        print_document(VersionDocument.of(version))
        return
    facts = [("Channel", version.channel), *zip(_COLUMNS, _row(version), strict=True)]
    files = f"/assets/ml-models/{version.channel}/v{version.version}"
    latest = [("Latest", f"{base_url(version.channel)}/")] if version.is_stable else []
    print_facts([*facts, ("Files", f"{files}/"), *latest])


def _row(version: Version) -> tuple[str, ...]:
    """Return what there is to know of a version, in the order of the columns."""
    from shelfsight.cli.output import percent, size

    return (
        version.version,
        version.status,
        "●" if version.is_stable else "",
        f"{version.rollout_percentage:g} %",
        str(version.product_count),
        str(version.image_count),
        percent(version.accuracy),
        f"{version.trained_at:%Y-%m-%d}",
        size(version.file_size_bytes),
    )


def _differences(found: Comparison) -> Iterator[tuple[str, str]]:
    from shelfsight.cli.output import percent, size

    yield "Products added", ", ".join(found.products_added) or "none"
    yield "Products removed", ", ".join(found.products_removed) or "none"
    yield "Photos", f"{found.earlier.image_count} → {found.later.image_count}"
    yield "Accuracy", f"{percent(found.earlier.accuracy)} → {percent(found.later.accuracy)}"
    yield "New to download", size(found.new_download_bytes)
