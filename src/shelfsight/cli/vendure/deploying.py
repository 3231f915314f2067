"""`shelfsight vendure deploy`, `versions`, `rollback`, `verify` and `cleanup`: a channel's models in Vendure."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.credentials import Credentials
    from shelfsight.partners.vendure.records import VendureChannel
    from shelfsight.settings import VendureSettings
    from shelfsight.vendure.deploy import DeployReport
    from shelfsight.vendure.deploy_rules import ModelFiles
    from shelfsight.vendure.versions import CleanedUp
    from shelfsight.vendure.versions_rules import DeployedVersion

ChannelOption = Annotated[str, typer.Option("--channel", help="Id or code of the channel in Vendure.")]
ApiOption = Annotated[str, typer.Option("--api", help="Address of Vendure's Admin API; else SHELFSIGHT_VENDURE_API.")]
TokenOption = Annotated[
    str, typer.Option("--token", help="Of a session in Vendure; else SHELFSIGHT_VENDURE_TOKEN, or see the manual.")
]
UsernameOption = Annotated[
    str, typer.Option("--username", help="Of an administrator; else SHELFSIGHT_VENDURE_USERNAME.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, and change nothing.")]

_DURATION = re.compile(r"([0-9]{1,5})([hdw])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 168}


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    for command in (deploy, versions, rollback, verify, cleanup):
        group.command()(command)


def deploy(
    channel: ChannelOption,
    version: Annotated[str, typer.Option(help="Such as 1.4.2, or a commit.")],
    model: Annotated[Path | None, typer.Option(help="The TensorFlow.js layers model, model.json.")] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Its weights; several times for several files.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="metadata.json, which names the labels.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Instead of the three: a folder that has them.")] = None,
    api: ApiOption = "",
    token: TokenOption = "",
    username: UsernameOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Check a model, upload it to Vendure, and let a channel's devices load it from there."""
    from shelfsight.cli.output import print_document, progress_bars
    from shelfsight.vendure.deploy import deploy as run

    files = _files(model, weights or [], metadata, bundle)
    with _opened(channel, api, token, username) as (client, found), progress_bars() as bars:
        report = run(client, files, channel=found, version=version, progress=bars, dry_run=dry_run)
    if json:
        from shelfsight.vendure.deploy_documents import DeployReportDocument

        print_document(DeployReportDocument.of(report))
    else:
        _tell_report(report)


def versions(
    channel: ChannelOption,
    api: ApiOption = "",
    token: TokenOption = "",
    username: UsernameOption = "",
    json: JsonOption = False,
) -> None:
    """List the versions that a channel has in Vendure, the newest first."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.vendure.versions import list_versions

    with _opened(channel, api, token, username) as (client, found):
        there = list_versions(client, found)
    if json:
        from shelfsight.vendure.deploy_documents import VendureVersionDocument

        print_documents(map(VendureVersionDocument.of, there))
    else:
        columns = ("Version", "State", "Trained", "Deployed", "Files", "Size")
        print_table(columns, map(_row, there), right=("Files", "Size"))


def rollback(
    channel: ChannelOption,
    to: Annotated[str | None, typer.Option(help="Which version; by default the one deployed before.")] = None,
    api: ApiOption = "",
    token: TokenOption = "",
    username: UsernameOption = "",
    json: JsonOption = False,
) -> None:
    """Let a channel's devices load an older version again, after checking its files."""
    from shelfsight.cli.output import messages, print_document, print_plain
    from shelfsight.vendure.versions import list_versions, roll_back

    with _opened(channel, api, token, username) as (client, found), messages.status("Checking the model"):
        target = roll_back(client, found, to)
        now = next(one for one in list_versions(client, found) if one.is_active)
    if json:
        from shelfsight.vendure.deploy_documents import VendureVersionDocument

        print_document(VendureVersionDocument.of(now))
    else:
        print_plain(f"Channel {found.id} loads {target.version} again")


def verify(
    channel: ChannelOption,
    api: ApiOption = "",
    token: TokenOption = "",
    username: UsernameOption = "",
    json: JsonOption = False,
) -> None:
    """Check the version that a channel's devices load from Vendure; exits with 1 if something is wrong."""
    from shelfsight.cli.output import messages, print_document, print_plain
    from shelfsight.vendure.versions import verify as run

    with _opened(channel, api, token, username) as (client, found), messages.status("Checking the model"):
        verified = run(client, found)
    if json:
        from shelfsight.vendure.deploy_documents import VendureVerifiedDocument

        print_document(VendureVerifiedDocument.of(verified))
    elif verified.version and not verified.problems:
        print_plain(f"Channel {found.id} {verified.version.version}: every file is whole, and its model runs")
    else:
        print_plain("\n".join(verified.problems))
    if verified.problems:
        raise typer.Exit(1)


def cleanup(
    channel: ChannelOption,
    keep: Annotated[int, typer.Option(min=1, help="The newest versions that stay.")] = 2,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Younger versions stay, too: 12h, 30d, 8w.")
    ] = None,
    api: ApiOption = "",
    token: TokenOption = "",
    username: UsernameOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a channel's old versions from Vendure: never the active one, nor what another channel has."""
    from shelfsight.cli.output import print_document
    from shelfsight.vendure.versions import clean_up

    age = None if older_than is None else _age(older_than)
    with _opened(channel, api, token, username) as (client, found):
        cleaned = clean_up(client, found, keep=keep, older_than=age, dry_run=dry_run)
    if json:
        from shelfsight.vendure.deploy_documents import VendureCleanedDocument

        print_document(VendureCleanedDocument.of(cleaned))
    else:
        _tell_cleaned(cleaned, dry_run)


@contextmanager
def _opened(channel: str, api: str, token: str, username: str) -> Iterator[tuple[VendureClient, VendureChannel]]:
    """Yield a client of the server that was named, and the channel there."""
    from shelfsight.errors import UsageError
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.settings import vendure_settings
    from shelfsight.vendure.deploy_channel import find_channel

    settings = vendure_settings()
    address = api or settings.api
    if not address:
        raise UsageError("which Vendure? name its Admin API with --api or SHELFSIGHT_VENDURE_API")
    with VendureClient(address, _credentials(settings, token, username)) as client:
        yield client, find_channel(client, channel, key_token=settings.channel_token or None)


def _credentials(settings: VendureSettings, token: str, username: str) -> Credentials:
    """Return what was named on the command line, else in the environment: a token, a key, or name and password."""
    from shelfsight.errors import UsageError
    from shelfsight.partners.vendure.credentials import ApiKey, Login, SessionToken

    if token:
        return SessionToken(token)
    if not username and settings.token:
        return SessionToken(settings.token)
    if not username and settings.api_key:
        return ApiKey(settings.api_key)
    name = username or settings.username
    if not name:
        raise UsageError("who asks Vendure? give --token, --username, or the variable SHELFSIGHT_VENDURE_API_KEY")
    return Login(name, settings.password or typer.prompt(f"Password of {name}", hide_input=True, err=True))


def _files(model: Path | None, weights: list[Path], metadata: Path | None, bundle: Path | None) -> ModelFiles:
    from shelfsight.errors import UsageError
    from shelfsight.vendure.deploy_files import read_folder, read_model

    if bundle is not None:
        if model or weights or metadata:
            raise UsageError("--bundle has the three files: give it alone, or --model, --weights and --metadata")
        return read_folder(bundle)
    if model is None or not weights or metadata is None:
        raise UsageError("which model? give --model, --weights and --metadata, or --bundle")
    return read_model(model, weights, metadata)


def _age(text: str) -> timedelta:
    from datetime import timedelta

    from shelfsight.errors import UsageError

    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:80]!r} is no age: use one such as 12h, 30d or 8w")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _tell_report(report: DeployReport) -> None:
    from shelfsight.cli.output import print_plain
    from shelfsight.vendure.deploy import Outcome

    where = f"channel {report.channel.id} ({report.channel.code})"
    match report.outcome:
        case Outcome.DEPLOYED:
            before = f" instead of {report.replaces}" if report.replaces else ""
            print_plain(f"Deployed {report.version}: {where} loads it{before}")
        case Outcome.ACTIVATED:
            print_plain(f"{report.version} was deployed already: {where} loads it again")
        case Outcome.UNCHANGED:
            print_plain(f"{report.version} is deployed already: {where} loads it; nothing was changed")
        case Outcome.PLANNED:
            doing = "make it active" if report.files else "upload it"
            print_plain(f"Dry run: {report.version} is fit for {where}; would {doing}; nothing was changed")


def _row(version: DeployedVersion) -> tuple[str, ...]:
    from shelfsight.cli.output import moment, size

    state = "active" if version.is_active else "" if version.is_whole else "broken off"
    return (
        version.version,
        state,
        version.trained_on,
        moment(version.created_at),
        str(len(version.assets)),
        size(version.size_bytes),
    )


def _tell_cleaned(cleaned: CleanedUp, dry_run: bool) -> None:
    from shelfsight.cli.output import print_plain, size

    done = "Would remove" if dry_run else "Removed"
    left = {id(version) for version in cleaned.left}
    lines = [f"{done} {one.version} ({size(one.size_bytes)})" for one in cleaned.plan.gone if id(one) not in left]
    lines += [
        f"Removed {one.version} from the channel; in the default channel we may not delete it" for one in cleaned.left
    ]
    lines += [f"Kept {one.version.version}: {one.reason}" for one in cleaned.plan.kept]
    print_plain("\n".join(lines) or "Nothing to remove")
