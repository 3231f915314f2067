"""`shelfsight rollout`: a new version on its way to devices, share by share, and back."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption, VersionArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shelfsight.registry.publish import Registry
    from shelfsight.rollout.decisions import Running, Standing
    from shelfsight.rollout.moves import Operator
    from shelfsight.rollout.rules import Offer, Rollout, Stage

ReasonOption = Annotated[str, typer.Option(help="Why, for whoever reads the history.")]

_COLUMNS = ("Version", "Began", "By", "Ended", "Outcome", "Why")
_SHOWN = 5
_BAR_CELLS = 20
_NO_EVIDENCE = "not looked at: nothing judges what devices report yet, so it goes by hand"

group = typer.Typer(no_args_is_help=True)


class PlatformChoice(StrEnum):
    """What a device runs on, as the command line names it."""

    UNIVERSAL = "universal"
    WEB = "web"
    IOS = "ios"
    ANDROID = "android"
    DESKTOP = "desktop"


class TierChoice(StrEnum):
    """How strong a device is, as the command line names it."""

    ANY = "any"
    LOW = "low"
    MID = "mid"
    HIGH = "high"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="rollout", help="A new version on its way to devices, share by share, and back.")


@group.command()
def start(
    channel: ChannelArgument,
    version: VersionArgument,
    shadow: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Begin in shadow on so many devices; by default 10.")
    ] = None,
    percentage: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Begin with so many devices using it, without shadow.")
    ] = None,
    stages: Annotated[str, typer.Option(metavar="PERCENT,…", help="The shares on the way to everybody.")] = "10,50",
    platform: Annotated[
        list[PlatformChoice] | None, typer.Option(help="For these devices only; several times for several.")
    ] = None,
    tier: Annotated[
        list[TierChoice] | None, typer.Option(help="For these devices only; several times for several.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Share of errors above which it is to be taken back, such as 0.05; nothing acts on it yet."
        ),
    ] = None,
    min_app_version: Annotated[str | None, typer.Option(help="The oldest app that may load it.")] = None,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Begin to roll out a version that is in testing, or deprecated."""
    from shelfsight.rollout import moves
    from shelfsight.rollout.rules import FIRST, Plan, Platform, Tier, basis_points

    plan = Plan(
        first=_stage(("--percentage", percentage), shadow) or FIRST,
        stages_bp=tuple(basis_points(share) for share in _percentages(stages)),
        platforms=tuple(dict.fromkeys(map(Platform, platform or ()))),
        tiers=tuple(dict.fromkeys(map(Tier, tier or ()))),
        threshold=threshold,
        min_app_version=min_app_version,
    )
    _make(lambda registry, by: moves.start(registry, channel, version, plan, by=by), reason, json)


@group.command()
def advance(
    channel: ChannelArgument,
    to: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Instead of the next stage; 100 makes it stable, less is the way back."),
    ] = None,
    shadow: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Back to running in shadow on so many devices.")
    ] = None,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Go to the next stage, or to another one; at 100 % the version becomes stable."""
    from shelfsight.rollout import moves

    stage = _stage(("--to", to), shadow)
    _make(lambda registry, by: moves.advance(registry, channel, stage, by=by), reason, json)


@group.command()
def hold(channel: ChannelArgument, reason: ReasonOption = "", json: JsonOption = False) -> None:
    """Let the rollout grow no further; devices see no difference."""
    from shelfsight.rollout import moves

    _make(lambda registry, by: moves.hold(registry, channel, by=by), reason, json)


@group.command()
def resume(channel: ChannelArgument, reason: ReasonOption = "", json: JsonOption = False) -> None:
    """End a hold."""
    from shelfsight.rollout import moves

    _make(lambda registry, by: moves.resume(registry, channel, by=by), reason, json)


@group.command()
def rollback(channel: ChannelArgument, reason: ReasonOption = "", json: JsonOption = False) -> None:
    """Take back what is being rolled out; where nothing is, the stable version."""
    from shelfsight.rollout import moves

    _make(lambda registry, by: moves.roll_back(registry, channel, by=by), reason, json)


@group.command()
def status(channel: ChannelArgument, json: JsonOption = False) -> None:
    """Show which version is what, and what comes next."""
    from shelfsight.cli.output import print_plain, print_table
    from shelfsight.cli.service import opened_service
    from shelfsight.rollout import store

    with opened_service() as service, service.database.read() as tx:
        found = store.standing(tx, channel)
        past, _ = store.page(tx, channel, limit=_SHOWN)
    _show(found, json)
    if not json and past:
        print_plain("")
        print_table(_COLUMNS, map(_row, past))


@group.command()
def history(channel: ChannelArgument, json: JsonOption = False) -> None:
    """List the rollouts of a channel, the newest first, and how they ended."""
    from shelfsight.cli.output import print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = list(_all(service.registry, channel))
    if json:
        from shelfsight.rollout.routes import RolloutDocument

        print_documents(map(RolloutDocument.of, found))
    else:
        print_table(_COLUMNS, map(_row, found))


def _make(move: Callable[[Registry, Operator], Standing], reason: str, json: bool) -> None:
    """Make a move in the name of who is at the keyboard, and print how the channel stands then."""
    from shelfsight.cli.service import opened_service
    from shelfsight.rollout.moves import Operator

    with opened_service() as service:
        _show(move(service.registry, Operator(actor=service.caller.actor, reason=reason)), json)


def _stage(named: tuple[str, float | None], shadow: float | None) -> Stage | None:
    """Return the stage that the options name, None where they name none.

    Raises:
        UsageError: both are given, or it is no share.
    """
    from shelfsight.errors import UsageError
    from shelfsight.rollout.rules import Stage, basis_points

    option, percentage = named
    if percentage is not None and shadow is not None:
        raise UsageError(f"{option} and --shadow exclude each other: leave one out")
    for share, is_shadow in ((percentage, False), (shadow, True)):
        if share is not None:
            return Stage(share_bp=basis_points(_checked(share)), is_shadow=is_shadow)
    return None


def _percentages(text: str) -> list[float]:
    from shelfsight.errors import UsageError

    try:
        return [_checked(float(one)) for one in text.split(",") if one.strip()]
    except ValueError:
        raise UsageError(f"--stages {text!r} are no percentages: write them with commas, such as 10,50") from None


def _checked(share: float) -> float:
    """Return a number that may be a percentage; whether it is too large or too small, the rules know.

    Raises:
        UsageError: it is infinite, or none.
    """
    from math import isfinite

    from shelfsight.errors import UsageError

    if not isfinite(share):
        raise UsageError(f"{share} is no percentage: use more than 0, at most 100")
    return share


def _all(registry: Registry, channel: str) -> Iterator[Rollout]:
    from shelfsight.rollout import store

    before = None
    while True:
        with registry.database.read() as tx:
            store.standing(tx, channel)
            found, before = store.page(tx, channel, before=before, limit=500)
        yield from found
        if before is None:
            return


def _show(standing: Standing, json: bool) -> None:
    from shelfsight.cli.output import print_document, print_facts

    if json:
        from shelfsight.rollout.routes import StandingDocument

        print_document(StandingDocument.of(standing))
    else:
        print_facts(_facts(standing))


def _facts(standing: Standing) -> Iterator[tuple[str, str]]:
    told, running = standing.assignment, standing.running
    yield "Channel", standing.channel
    yield "Stable", "–" if told.stable is None else told.stable.version
    yield "Candidate", _offered(told.candidate)
    yield "Shadow", _offered(told.shadow)
    if running is None:
        yield "Next", f"nothing is being rolled out: `shelfsight rollout start {standing.channel} VERSION`"
    else:
        yield from _of_running(running)


def _of_running(running: Running) -> Iterator[tuple[str, str]]:
    from shelfsight.cli.output import moment, percent

    rollout, version = running.rollout, running.version
    yield "Stage", f"{running.stage} since {moment(rollout.stage_at)}"
    held = f", once it is resumed: held since {moment(rollout.held_at)}" if rollout.held_at else ""
    following = "100 %, where it becomes stable" if running.next_stage.is_everybody else str(running.next_stage)
    yield "Next", f"{following}{held}"
    whose = [" or ".join(words) for words in (rollout.platforms, rollout.tiers) if words]
    yield "For", ", ".join(whose) or "every device"
    if version.min_app_version:
        yield "App", f"{version.min_app_version} or newer"
    yield "To be taken back above", f"{percent(version.rollback_threshold)} of errors"
    yield "Evidence", _NO_EVIDENCE
    yield "Began", f"{moment(rollout.started_at)} by {rollout.started_by or 'somebody'}"
    if rollout.reason:
        yield "Why", rollout.reason


def _offered(offer: Offer | None) -> str:
    """Return a version and its share of the devices: as a bar, too, at a terminal."""
    if offer is None:
        return "–"
    percentage = f"{offer.share_bp / 100:g} %"
    if not sys.stdout.isatty():
        return f"{offer.version.version} {percentage}"
    full = max(1, round(offer.share_bp * _BAR_CELLS / 10_000))
    return f"{offer.version.version} {'█' * full}{'░' * (_BAR_CELLS - full)} {percentage}"


def _row(rollout: Rollout) -> tuple[str, ...]:
    """Return what there is to know of a rollout, in the order of the columns."""
    from shelfsight.cli.output import moment

    return (
        rollout.version,
        moment(rollout.started_at),
        rollout.started_by,
        moment(rollout.ended_at),
        rollout.outcome.replace("_", " ") or "runs",
        rollout.reason,
    )
