"""`shelfsight channels pair`: the link and the code that make a phone a till."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ChannelId = Annotated[str, typer.Argument(metavar="ID", help="Id of the channel.")]


def show_pairing(
    channel_id: ChannelId,
    server: Annotated[
        str, typer.Option(metavar="URL", help="Where phones reach this server, such as https://192.168.1.7:8443.")
    ],
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the code as a picture, to print it.")
    ] = None,
) -> None:
    """Show the link, and the code to scan, that make a browser a till of the channel."""
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import OutputError
    from shelfsight.till.pairing import code_of, pairing_link

    with opened_service() as service:
        link = pairing_link(service.database, channel_id, server)
    code = code_of(link)
    if svg is not None:
        try:
            code.save(str(svg), kind="svg", scale=8, border=4)
        except OSError as exc:
            raise OutputError(f"{svg} cannot be written ({exc.strerror}): name another file") from exc
    if sys.stdout.isatty():
        code.terminal(compact=True)
    print_plain(link)
