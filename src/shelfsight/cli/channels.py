"""`shelfsight channels`: shops and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shelfsight.cli.pairing import show_pairing
from shelfsight.cli.parameters import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.catalog.rules import Channel, ChannelValues
    from shelfsight.database.engine import Database

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the channel.")]
_PAGE = 1000
group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group.command("pair")(show_pairing)
    app.add_typer(group, name="channels", help="Shops and their settings.")


@group.command("list")
def list_channels(json: JsonOption = False) -> None:
    """List all channels."""
    from shelfsight.cli.output import moment, print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = list(_all(service.database))
    if json:
        from shelfsight.catalog.documents import ChannelDocument

        print_documents(ChannelDocument.of(channel, with_token=True) for channel in found)
        return
    print_table(
        ("Id", "Name", "Visibility", "Model", "Training", "Last trained"),
        (
            (
                channel.id,
                channel.name,
                channel.settings.visibility,
                channel.settings.model_version or "–",
                channel.settings.model_training_status,
                moment(channel.settings.model_last_trained),
            )
            for channel in found
        ),
    )


@group.command()
def add(
    channel_id: IdArgument, name: Annotated[str | None, typer.Option(help="Name; by default the id.")] = None
) -> None:
    """Add a channel."""
    from shelfsight.access import audit
    from shelfsight.catalog.store import channels
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service, service.database.write(actor=service.caller.actor) as tx:
        channel = channels.create(tx, channel_id, {} if name is None else {"name": name}, service.stamp())
        audit.record(tx, actor=service.caller.actor, action="channel_created", channel=channel.id)
    print_plain(f"Added {channel.id}")


@group.command()
def show(channel_id: IdArgument, json: JsonOption = False) -> None:
    """Show a channel and its settings."""
    from shelfsight.catalog.store import channels
    from shelfsight.cli.service import opened_service

    with opened_service() as service, service.database.read() as tx:
        channel = channels.get(tx, channel_id)
    _show(channel, json)


@group.command("set")
def set_values(
    channel_id: IdArgument,
    values: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Such as visibility=private.")],
    json: JsonOption = False,
) -> None:
    """Change the name or settings of a channel."""
    from shelfsight.access import audit
    from shelfsight.catalog.store import changes, channels
    from shelfsight.cli.service import opened_service

    changed = _parse(values)
    with opened_service() as service, service.database.write(actor=service.caller.actor) as tx:
        changes.lock(tx, channel_id)
        before = channels.get(tx, channel_id)
        channel = channels.change(tx, channel_id, changed, stamp=service.stamp())
        if channel != before:
            audit.record(
                tx,
                actor=service.caller.actor,
                action="channel_settings_changed",
                channel=channel_id,
                details={"names": sorted(changed), "revision": channel.revision},
            )
    _show(channel, json)


@group.command()
def remove(
    channel_id: IdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, say what would go.")] = False,
) -> None:
    """Remove a channel with its products, versions and tokens."""
    from shelfsight.access import audit
    from shelfsight.catalog.store import channels, products
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UsageError
    from shelfsight.registry import store as versions

    with opened_service() as service:
        with service.database.read() as tx:
            channels.get(tx, channel_id)
            held = f"{products.count(tx, channel_id)} products and {len(versions.versions(tx, channel_id))} versions"
        if not yes:
            raise UsageError(f"this removes {channel_id} with {held}: repeat it with --yes")
        with service.database.write(actor=service.caller.actor) as tx:
            channels.delete(tx, channel_id)
            audit.record(tx, actor=service.caller.actor, action="channel_deleted", channel=channel_id)
    print_plain(f"Removed {channel_id}; `shelfsight cleanup` removes its files")


@group.command()
def train(
    channel_id: IdArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress until it ends.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make it stable even if it is clearly worse than the active version.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Ask for a training, which a worker does."""
    from shelfsight.cli import jobs
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        training = jobs.request_training(service, channel_id, force=force)
        if wait:
            jobs.warn_without_worker(service, training)
            jobs.follow_training(service, training.id, json)
        else:
            jobs.told(service, training, json)


@group.command()
def token(
    channel_id: IdArgument,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one is worth nothing.")] = False,
) -> None:
    """Print the public key by which devices name the channel."""
    from shelfsight.access import audit
    from shelfsight.catalog.store import channels
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        if rotate:
            with service.database.write(actor=service.caller.actor) as tx:
                channel = channels.rotate_token(tx, channel_id, service.stamp())
                audit.record(tx, actor=service.caller.actor, action="channel_token_rotated", channel=channel_id)
        else:
            with service.database.read() as tx:
                channel = channels.get(tx, channel_id)
    print_plain(channel.token)


def _all(database: Database) -> Iterator[Channel]:
    from shelfsight.catalog.store import channels

    after = None
    with database.read() as tx:
        while found := channels.page(tx, after=after, limit=_PAGE):
            yield from found
            after = found[-1].id


def _show(channel: Channel, json: bool) -> None:
    from pydantic.alias_generators import to_camel

    from shelfsight.cli.output import print_document, print_facts

    if json:
        from shelfsight.catalog.documents import ChannelDocument

        print_document(ChannelDocument.of(channel, with_token=True))
        return
    settings = {name: getattr(channel.settings, name) for name in channel.settings.__dataclass_fields__}
    facts = {"id": channel.id, "name": channel.name, "token": channel.token, "created_at": channel.created_at}
    print_facts((to_camel(name), _text(value)) for name, value in {**facts, **settings}.items())


def _text(value: object) -> str:
    """Return a value as `channels set` takes it."""
    from datetime import datetime

    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case frozenset():
            return ",".join(sorted(value))
        case datetime():
            return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)


def _parse(pairs: list[str]) -> ChannelValues:
    """Return the values of `key=value` by the names of the rules.

    Raises:
        UsageError: a key is none, or its value cannot be.
    """
    from shelfsight.cli.channel_values import parse_value

    values: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        name, value = parse_value(key, text if "=" in pair else None)
        values[name] = value
    return values  # type: ignore[return-value]  # by the names and types of ChannelValues
