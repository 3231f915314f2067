"""`shelfsight versions`: the published recognisers of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption, VersionArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shelfsight.cli.service import Service
    from shelfsight.delivery.store import DownloadCount
    from shelfsight.registry.rules import Comparison, Version

_COLUMNS = ("Version", "Status", "Stable", "Rollout", "Products", "Photos", "Accuracy", "Trained", "Size")
_DOWNLOADS = ("Version", "Downloads", "Size", "Last hour")
_ANY_VERSION = "blobs and others"
_PAGE = 1000

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


@group.command()
def sign(
    channel: ChannelArgument,
    version: VersionArgument,
    expires: Annotated[str, typer.Option(help="How long, such as 90s, 15m, 1h or 7d.")] = "1h",
    file: Annotated[str | None, typer.Option(help="One file only, such as model.ort; by default every one.")] = None,
    base_url: Annotated[str, typer.Option(help="Of the server, such as https://shop.example.")] = "",
    json: JsonOption = False,
) -> None:
    """Print URLs by which anybody may load a version of a private channel for a while."""
    from datetime import UTC, datetime

    from shelfsight.access.url_tokens import expiry
    from shelfsight.cli.output import print_document, print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.delivery.routes import SignedUrlsDocument
    from shelfsight.delivery.signing import Terms, sign_files, sign_version

    with opened_service() as service:
        expires_at = expiry(_seconds(expires), now=datetime.now(UTC))
        terms = Terms(by=service.caller, expires_at=expires_at, server=_server(base_url))
        if file is None:
            signed = SignedUrlsDocument.of_version(sign_version(service.registry, channel, version, terms), terms)
        else:
            paths = [f"{channel}/v{version}/{file}"]
            signed = SignedUrlsDocument.of(sign_files(service.registry, channel, paths, terms), terms)
    if json:
        print_document(signed)
    else:
        print_plain("\n".join(one.url for one in signed.items))


@group.command()
def downloads(
    channel: ChannelArgument,
    days: Annotated[int, typer.Option(min=1, max=90, help="How far back.")] = 7,
    json: JsonOption = False,
) -> None:
    """Say how often files of each version were downloaded; by how many devices, nobody knows."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = list(_downloads(service, channel, days))
    if json:
        from shelfsight.delivery.routes import DownloadDocument

        print_documents(map(DownloadDocument.of, found))
    else:
        print_table(_DOWNLOADS, _by_version(found), right=_DOWNLOADS[1:3])


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


def _downloads(service: Service, channel: str, days: int) -> Iterator[DownloadCount]:
    """Yield what was downloaded of a channel, hour by hour, the newest hour first."""
    from datetime import UTC, datetime, timedelta

    from shelfsight.delivery import store
    from shelfsight.registry.store import release_policy

    now = datetime.now(UTC)
    after = None
    while True:
        with service.database.read() as tx:
            release_policy(tx, channel)
            page = store.page_of_downloads(
                tx, channel, since=now - timedelta(days=days), until=now, after=after, limit=_PAGE
            )
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1]
        after = (last.hour, last.file, last.version, last.actor)


def _by_version(found: Iterable[DownloadCount]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each version, the one downloaded last first; blobs are those of any version."""
    from shelfsight.cli.output import moment, size

    versions: dict[str, list[DownloadCount]] = {}
    for one in found:
        versions.setdefault(one.version, []).append(one)
    for version, counts in versions.items():
        yield (
            version or _ANY_VERSION,
            str(sum(one.count for one in counts)),
            size(sum(one.size_bytes for one in counts)),
            moment(max(one.hour for one in counts)),
        )


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(text: str) -> int:
    """Return how long `90s`, `15m`, `1h` or `7d` are.

    Raises:
        UsageError: it is none of these.
    """
    from shelfsight.errors import UsageError

    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 9 and unit in _SECONDS):
        raise UsageError(f"--expires {text!r}: say how long as 90s, 15m, 1h or 7d")
    return int(number) * _SECONDS[unit]


def _server(url: str) -> str:
    """Return what goes before a path to make it a URL; nothing for nothing.

    Raises:
        UsageError: it is neither.
    """
    from shelfsight.errors import UsageError

    if url and not url.startswith(("http://", "https://")):
        raise UsageError(f"--base-url {url!r}: it begins with http:// or https://")
    return url.rstrip("/")


def _differences(found: Comparison) -> Iterator[tuple[str, str]]:
    from shelfsight.cli.output import percent, size

    yield "Products added", ", ".join(found.products_added) or "none"
    yield "Products removed", ", ".join(found.products_removed) or "none"
    yield "Photos", f"{found.earlier.image_count} → {found.later.image_count}"
    yield "Accuracy", f"{percent(found.earlier.accuracy)} → {percent(found.later.accuracy)}"
    yield "New to download", size(found.new_download_bytes)
