"""`shelfsight jobs`: trainings, those that wait, run and have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shelfsight.cli.parameters import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.access.rules import Asker
    from shelfsight.cli.service import Service
    from shelfsight.jobs.trainings import Training

IdArgument = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="Number of the training, as `jobs list` shows it.")
]
State = Literal["queued", "training", "ready", "idle", "failed", "cancelled"]

_COLUMNS = ("Id", "Channel", "State", "By", "Asked for", "Version", "Accuracy")
_LOOKS_EVERY_S = 0.5
_PAGE = 500

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="jobs", help="Trainings: those that wait, run and have ended.")


@group.command("list")
def list_jobs(
    channel: Annotated[str | None, typer.Option(help="Of this channel only.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 100,
    json: JsonOption = False,
) -> None:
    """List trainings, the newest first."""
    from itertools import islice

    from shelfsight.catalog.store import channels
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        if channel is not None:
            with service.database.read() as tx:
                channels.get(tx, channel)
        found = list(islice(_all(service, channel, state), limit))
    if json:
        from shelfsight.jobs.documents import TrainingDocument

        print_documents(map(TrainingDocument.of, found))
    else:
        print_table(_COLUMNS, map(_row, found), right=("Id", "Accuracy"))


@group.command()
def show(training: IdArgument, json: JsonOption = False) -> None:
    """Show a training: how far it is, or how it ended, and its log."""
    from shelfsight.cli.output import moment, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.jobs import store

    with opened_service() as service:
        with service.database.read() as tx:
            found, log = store.get(tx, training), store.log_of(tx, training)
        show_training(service, found, json)
    if not json:
        print_table(("When", "What"), ((moment(entry.at), entry.line) for entry in log))


@group.command()
def follow(training: IdArgument, json: JsonOption = False) -> None:
    """Follow a training until it ends; exits with 1 unless it published a version."""
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        follow_training(service, training, json)


@group.command()
def cancel(training: IdArgument, json: JsonOption = False) -> None:
    """Ask for the end of a training."""
    from shelfsight.cli.service import opened_service
    from shelfsight.jobs import requests

    with opened_service() as service:
        told(service, requests.cancel(service.database, training, _asker(service)), json)


@group.command()
def retry(training: IdArgument, json: JsonOption = False) -> None:
    """Ask for another training like one that failed, was cancelled or had nothing to learn."""
    from shelfsight.cli.service import opened_service
    from shelfsight.jobs import requests

    with opened_service() as service:
        told(service, requests.ask_again(service.database, training, _asker(service)), json)


def request_training(service: Service, channel: str, *, force: bool) -> Training:
    """Ask for a training of a channel, in the name of who is at the keyboard."""
    from shelfsight.jobs import requests

    return requests.ask(service.database, channel, _asker(service), forced=force)


def told(service: Service, training: Training, json: bool) -> None:
    """Print how a training stands that somebody has just asked something of."""
    from shelfsight.cli.output import print_document, print_plain

    warn_without_worker(service, training)
    if json:
        from shelfsight.jobs.documents import TrainingDocument

        print_document(TrainingDocument.of(training))
    else:
        print_plain(f"Training {training.id} of {training.channel}: {_sentence(service, training)}")


def warn_without_worker(service: Service, training: Training) -> None:
    """Say so where a training waits and nobody is there to do it."""
    from shelfsight.cli.output import messages
    from shelfsight.jobs import requests

    if training.status.ended:
        return
    with service.database.read() as tx:
        has_worker = requests.has_worker(tx)
    if not has_worker:
        messages.print(requests.NO_WORKER, soft_wrap=True, markup=False)


def show_training(service: Service, training: Training, json: bool) -> None:
    """Print what there is to know of a training."""
    from shelfsight.cli.output import print_document, print_facts

    if json:
        from shelfsight.jobs.documents import TrainingDocument

        print_document(TrainingDocument.of(training))
    else:
        print_facts([*zip(_COLUMNS, _row(training), strict=True), *_more(service, training)])


def follow_training(service: Service, training_id: int, json: bool) -> None:
    """Show the progress of a training until it ends, and print how it did.

    Raises:
        ShelfsightError: it published no version; the message says why.
        typer.Exit: Ctrl-C; the training goes on, and what there is to say has been said.
    """
    from shelfsight.cli.output import messages, print_document, print_plain
    from shelfsight.errors import ShelfsightError
    from shelfsight.jobs.trainings import TrainingState

    try:
        training = _watch(service, training_id)
    except KeyboardInterrupt:
        messages.print(f"Training {training_id} goes on: `shelfsight jobs follow {training_id}`", soft_wrap=True)
        raise typer.Exit(130) from None
    said = _sentence(service, training)
    if json:
        from shelfsight.jobs.documents import TrainingDocument

        print_document(TrainingDocument.of(training))
    if training.status is not TrainingState.READY:
        raise ShelfsightError(said)
    if not json:
        print_plain(said)


def _watch(service: Service, training_id: int) -> Training:
    """Return a training that has ended; until then, draw how far it is."""
    from shelfsight.cli.output import progress_bars
    from shelfsight.jobs import store

    drawn: tuple[str, int] | None = None
    done = 0
    with progress_bars() as bars:
        while True:
            with service.database.read() as tx:
                training = store.get(tx, training_id)
            if training.status.ended:
                return training
            now = (training.stage or "Waiting for a worker", training.total)
            if now != drawn or training.done < done:
                bars.stage(now[0], training.total or None)
                drawn, done = now, 0
            bars.advance(training.done - done)
            done = training.done
            _pause()


def _pause() -> None:
    """Wait until the next look."""
    time.sleep(_LOOKS_EVERY_S)


def _all(service: Service, channel: str | None, state: str | None) -> Iterator[Training]:
    from shelfsight.jobs import store

    before = None
    while True:
        with service.database.read() as tx:
            found, before = store.page(tx, channel, before=before, limit=_PAGE)
        yield from (one for one in found if state is None or one.status == state)
        if before is None:
            return


def _row(training: Training) -> tuple[str, ...]:
    """Return what there is to know of a training, in the order of the columns."""
    from shelfsight.cli.output import moment, percent

    return (
        str(training.id),
        training.channel,
        training.status,
        training.requested_by,
        moment(training.created_at),
        training.version or "–",
        percent(training.accuracy),
    )


def _more(service: Service, training: Training) -> Iterator[tuple[str, str]]:
    from shelfsight.cli.output import moment

    yield "Outcome", _sentence(service, training)
    if training.total and not training.status.ended:
        yield "Progress", f"{training.done} of {training.total}"
    yield "Began", moment(training.started_at)
    yield "Ended", moment(training.ended_at)
    if training.image_count is not None:
        yield "Products, photos", f"{training.product_count}, {training.image_count}"
    if training.training_duration is not None:
        yield "Time", f"{training.training_duration:.1f} s"
    if training.gate:
        yield "Compared", training.gate


def _sentence(service: Service, training: Training) -> str:
    from shelfsight.jobs.outcome import outcome

    with service.database.read() as tx:
        return outcome(tx, training)


def _asker(service: Service) -> Asker:
    from shelfsight.access.rules import Asker

    return Asker(actor=service.caller.actor)
