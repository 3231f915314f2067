"""`shelfsight config`: what devices are told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shelfsight.cli.parameters import ChannelArgument

if TYPE_CHECKING:
    from shelfsight.cli.service import Service
    from shelfsight.delivery.config.prepare import Prepared

PlatformOption = Annotated[
    Literal["universal", "web", "ios", "android", "desktop"], typer.Option(help="What the device runs on.")
]
TierOption = Annotated[Literal["any", "low", "mid", "high"], typer.Option(help="How strong the device is.")]
DeviceOption = Annotated[str | None, typer.Option(metavar="ID", help="Id of one device, for what it alone is told.")]

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="config", help="What devices are told.")


@group.command()
def show(
    channel: ChannelArgument,
    platform: PlatformOption = "universal",
    tier: TierOption = "any",
    device: DeviceOption = None,
) -> None:
    """Print the config that a device gets, byte for byte."""
    import asyncio

    from shelfsight.cli.logs import configure_logs
    from shelfsight.cli.service import opened_service
    from shelfsight.delivery.config.rules import read_headers
    from shelfsight.errors import NotFoundError

    configure_logs(access=False)  # what is wrong with a version is no part of the config
    said = (("x-app-platform", platform), ("x-device-tier", tier), ("x-device-id", device or ""))
    asked = read_headers([(name.encode(), value.encode()) for name, value in said])
    with opened_service() as service:
        prepared = asyncio.run(_prepared(service, channel))
    if prepared is None:
        raise NotFoundError(f"channel {channel!r} is not there")
    audience = prepared.audience(asked)
    if audience is None:
        raise NotFoundError(
            f"{channel} has no stable version with a model for such a device ({platform}): "
            f"`shelfsight versions list {channel}` shows what it has"
        )
    _print(prepared.config(audience).body)


async def _prepared(service: Service, channel: str) -> Prepared | None:
    from datetime import UTC, datetime

    from shelfsight.delivery.config.prepare import Preparer
    from shelfsight.settings import service_settings

    preparer = Preparer(database=service.database, storage=service.storage, assets_url=service_settings().assets_url)
    return await preparer.prepare(channel, now=datetime.now(UTC))


def _print(body: bytes) -> None:
    """Print the bytes as they are, for whom they were signed; at a terminal, with the end of the line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
