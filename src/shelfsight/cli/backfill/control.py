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

    from shelfsight.backfill.report import record_document, record_facts
    from shelfsight.backfill.runner import document_name
    from shelfsight.cli.output import print_facts, print_json
    from shelfsight.errors import NotFoundError

    with _opened() as checkpoints:
        record = checkpoints.read(document_name(name))
        if record is None:
            raise NotFoundError(f"there is no checkpoint of {name} in {checkpoints.place}: it has never run")
        refused = checkpoints.refused(document_name(name))
    if json:
        print_json(dumps(record_document(record, refused), indent=2, ensure_ascii=False))
    else:
        print_facts(record_facts(name, record, refused))


def pause(name: NameArgument) -> None:
    """Let a backfill wait after the page at hand, wherever it runs."""
    from shelfsight.backfill.runner import document_name
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import person

    with _opened() as checkpoints:
        checkpoints.pause(document_name(name), person().actor)
    print_plain(f"{name} waits from its next page on; `shelfsight backfill resume {name}` lets it go on")


def resume(name: NameArgument) -> None:
    """Let a paused backfill go on."""
    from shelfsight.backfill.runner import document_name
    from shelfsight.cli.output import print_plain

    with _opened() as checkpoints:
        checkpoints.pause(document_name(name), None)
    print_plain(f"{name} goes on; if nothing runs any more, start `shelfsight backfill {name}`")


@contextmanager
def _opened() -> Iterator[Checkpoints]:
    from shelfsight.backfill.checkpoints.opening import open_checkpoints
    from shelfsight.settings import checkpoint_settings

    checkpoints = open_checkpoints(checkpoint_settings())
    try:
        yield checkpoints
    finally:
        checkpoints.close()
