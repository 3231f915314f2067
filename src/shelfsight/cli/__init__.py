"""The `shelfsight` command. Each command group is a module; what a command needs is imported when it runs."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight import __version__
from shelfsight.cli import (
    backfill,
    channels,
    config,
    db,
    demo,
    evaluate,
    export_static,
    images,
    inspect,
    jobs,
    keys,
    predict,
    products,
    releases,
    rollout,
    sales,
    search,
    serve,
    token,
    train,
    vendure,
    versions,
    webhooks,
    worker,
)
from shelfsight.cli.help import Group, arrange
from shelfsight.cli.streams import discard_unwritten, prepare_streams
from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from types import FrameType

_AGAIN_AFTER_S = 0.05

_PANELS = {
    "Recogniser": (train, predict, evaluate, inspect, demo),
    "Service": (serve, worker, jobs, token),
    "Shop": (channels, products, images, search, sales, webhooks, vendure),
    "Versions on devices": (releases, export_static, versions, rollout, config),
    "Operations": (db, keys, backfill),
}
"""Which commands stand together in `shelfsight --help`."""

app = typer.Typer(
    name="shelfsight",
    cls=Group,
    help="Teach every till to see its own shop: train a recogniser from product photos and run it anywhere.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, modules in _PANELS.items():
    for module in modules:
        module.register(app)
    for command in app.registered_commands:
        command.rich_help_panel = command.rich_help_panel or panel
    for group in app.registered_groups:
        group.rich_help_panel = group.rich_help_panel or panel
arrange(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shelfsight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors become one sentence on standard error and the exit code of their kind."""
    prepare_streams()
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _end_again
    # Our own reason names the file; what Pillow logs and warns of beside it does not.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", module="PIL")
    try:
        app()
    except ShelfsightError as exc:
        typer.secho(f"Error: {exc}", fg="red", err=True)
        discard_unwritten()
        sys.exit(exc.exit_code)


def _terminated(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
    """Unwind, so that what is half done is put away, instead of dying on the spot."""
    sys.exit(128 + signum)


def _end_again(ignored: sys.UnraisableHookArgs) -> None:
    """Ask for the end again where Python swallowed it: a signal came while a destructor or the like was running."""
    match ignored.exc_value:
        case SystemExit():
            again = signal.SIGTERM
        case KeyboardInterrupt():
            again = signal.SIGINT
        case _:
            sys.__unraisablehook__(ignored)
            return
    timer = threading.Timer(_AGAIN_AFTER_S, _signal_main_thread, (again,))
    timer.daemon = True
    timer.start()


def _signal_main_thread(number: signal.Signals) -> None:
    """Send a signal to the thread that the command runs in, so that it also wakes up."""
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, number)
    else:
        signal.raise_signal(number)
