"""`shelfsight export-static`: configs as files, for nginx or a CDN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shelfsight.delivery.export.export import Exported, StaticExport

_LOOKS_EVERY_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("export-static")(export_static)


def export_static(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the files; nginx needs to read it.")],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where nginx asks for what files cannot say; without it, it answers 404."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and write what changes within seconds.")] = False,
) -> None:
    """Write the configs of public channels as files, with the nginx configuration that serves them."""
    import asyncio

    from shelfsight.cli.logs import configure_logs
    from shelfsight.cli.service import opened_service
    from shelfsight.delivery.config.prepare import Preparer
    from shelfsight.delivery.export.export import StaticExport
    from shelfsight.delivery.export.files import alone_in
    from shelfsight.delivery.export.rules import check_folder, check_server
    from shelfsight.settings import service_settings

    configure_logs(access=False)
    check_server(server)
    check_folder(str(out.absolute()))
    assets_url = service_settings().assets_url
    with alone_in(out), opened_service() as service:
        preparer = Preparer(database=service.database, storage=service.storage, assets_url=assets_url)
        export = StaticExport(database=service.database, preparer=preparer, folder=out, server=server)
        ok = asyncio.run(_watch(export) if watch else _once(export))
    if not ok:
        raise typer.Exit(1)


async def _once(export: StaticExport) -> bool:
    """Write everything once, tell of it, and return whether every channel is as the database says."""
    from shelfsight.cli.output import progress_bars

    with progress_bars() as bars:
        begun = 0

        def told(done: int, total: int) -> None:
            nonlocal begun
            if done == 0:
                bars.stage("Writing configs", total)
            bars.advance(done - begun)
            begun = done

        exported = await export.refresh(told)
    _tell(exported)
    return not exported.problems


async def _watch(export: StaticExport) -> bool:
    """Write what changes until the end; a database that is away is waited for."""
    import asyncio

    from shelfsight.cli.output import messages
    from shelfsight.errors import DatabaseError

    problems: dict[str, str] = {}
    while True:
        try:
            exported = await export.refresh()
        except DatabaseError as exc:
            messages.print(f"Waiting: {exc}", markup=False)
        else:
            if exported.written or exported.removed or exported.reload or exported.problems != problems:
                _tell(exported)
            problems = exported.problems
        await asyncio.sleep(_LOOKS_EVERY_S)


def _tell(exported: Exported) -> None:
    from shelfsight.cli.output import messages, print_plain

    counts = (("written", exported.written), ("unchanged", exported.unchanged), ("removed", exported.removed))
    print_plain(f"Configs: {', '.join(f'{count} {what}' for what, count in counts)}")
    if exported.reload:
        print_plain("nginx's part has changed: let it read it, `nginx -s reload`")
    for channel, reason in exported.problems.items():
        messages.print(f"{channel}: {reason}", markup=False, style="yellow")
