"""`shelfsight backfill status`, `pause` and `resume`: of a backfill that runs here or on another machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.backfill.checkpoints import Checkpoints

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Such as inventory-fields.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command()(status)
    group.command()(pause)
    group.command()(resume)


def status(name: NameArgument, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say how far a backfill is, who works on it, and what was refused."""
    from json import dumps

    from shelfsight.backfill.checkpoints import never_run
    from shelfsight.backfill.report import record_document, record_facts
    from shelfsight.cli.output import print_facts, print_json

    document = _document(name, "`shelfsight backfill channel-id --verify` says how far it is")
    with _opened(document) as checkpoints:
        record = checkpoints.read(document)
        if record is None:
            raise never_run(document, checkpoints.place)
        refused = checkpoints.refused(document)
    if json:
        print_json(dumps(record_document(record, refused), indent=2, ensure_ascii=False))
    else:
        print_facts(record_facts(name, record, refused))


def pause(name: NameArgument) -> None:
    """Let a backfill wait after the page at hand, wherever it runs."""
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import person

    document = _document(name, "stop it with Ctrl-C, and give the same command again to go on")
    with _opened(document) as checkpoints:
        checkpoints.pause(document, person().actor)
    print_plain(f"{name} waits from its next page on; `shelfsight backfill resume {name}` lets it go on")


def resume(name: NameArgument) -> None:
    """Let a paused backfill go on."""
    from shelfsight.cli.output import print_plain

    document = _document(name, "`shelfsight backfill channel-id` goes on where it was")
    with _opened(document) as checkpoints:
        checkpoints.pause(document, None)
    print_plain(f"{name} goes on; if nothing runs any more, start `shelfsight backfill {name}`")


def _document(name: str, of_channel_id: str) -> str:
    """Return the name of a backfill's checkpoint.

    Args:
        of_channel_id: what to do with the backfill that keeps none.

    Raises:
        UsageError: it keeps none, or there is no such backfill.
    """
    from shelfsight.backfill.channel_id.migration import NAME as CHANNEL_ID
    from shelfsight.backfill.inventory_fields.backfill import NAME as INVENTORY_FIELDS
    from shelfsight.backfill.rules import document_name
    from shelfsight.errors import UsageError

    if name == CHANNEL_ID:
        raise UsageError(f"{name} keeps no checkpoint, its state is the shop's database itself: {of_channel_id}")
    if name != INVENTORY_FIELDS:
        raise UsageError(f"no backfill is called {name}: there are {INVENTORY_FIELDS} and {CHANNEL_ID}")
    return document_name(name)


@contextmanager
def _opened(document: str) -> Iterator[Checkpoints]:
    """Yield the store of checkpoints, if it is there: who only looks makes none.

    Raises:
        NotFoundError: nothing was ever kept there.
    """
    from shelfsight.backfill.checkpoints import never_run
    from shelfsight.backfill.checkpoints.opening import missing_file, open_checkpoints
    from shelfsight.settings import checkpoint_settings

    settings = checkpoint_settings()
    missing = missing_file(settings)
    if missing is not None:
        raise never_run(document, missing)
    checkpoints = open_checkpoints(settings)
    try:
        yield checkpoints
    finally:
        checkpoints.close()
