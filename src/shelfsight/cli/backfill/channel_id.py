"""`shelfsight backfill channel-id`: the channel of each purchase, payment and stock adjustment, out of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.backfill.channel_id.rules import USUAL, Mode, Names

if TYPE_CHECKING:
    from shelfsight.backfill.channel_id.store import Shop
    from shelfsight.backfill.report import Report

_NAMES = "Names in the shop's database"


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("channel-id")(channel_id)


def channel_id(
    mode: Annotated[
        Mode, typer.Option(help="All or nothing while others wait, or so that nobody waits for long.")
    ] = Mode.TRANSACTIONAL,
    database_url: Annotated[
        str | None, typer.Option(help="postgresql://user@host/name; else DB_HOST and the others say.", metavar="URL")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would do, and how long that takes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what it would do, in full.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Look whether everything is there and valid.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for psql instead, with --undo to undo.")] = False,
    fill: Annotated[
        bool | None,
        typer.Option(
            "--fill/--no-fill",
            help="Afterwards, give rows of code that does not know the column a channel; online that is the default.",
            show_default=False,
        ),
    ] = None,
    stop_filling: Annotated[
        bool, typer.Option("--stop-filling", help="Take that away: the new code is in use.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the columns away again.")] = False,
    give_up_after: Annotated[float, typer.Option(min=0, help="Seconds to go on trying to get a lock.")] = 600,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    schema: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.schema,
    column: Annotated[str, typer.Option(help="The new column.", rich_help_panel=_NAMES)] = USUAL.column,
    purchases: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.purchases,
    payments: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.payments,
    adjustments: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.adjustments,
    channels: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.channels,
    ledger: Annotated[str, typer.Option(rich_help_panel=_NAMES)] = USUAL.ledger,
    purchase_column: Annotated[
        str, typer.Option(help="Of a payment, its purchase.", rich_help_panel=_NAMES)
    ] = USUAL.purchase_column,
    code_column: Annotated[str, typer.Option(help="Of a channel.", rich_help_panel=_NAMES)] = USUAL.code_column,
    source_type_column: Annotated[
        str, typer.Option(help="Of an entry of the ledger.", rich_help_panel=_NAMES)
    ] = USUAL.source_type_column,
    source_id_column: Annotated[
        str, typer.Option(help="Of an entry of the ledger.", rich_help_panel=_NAMES)
    ] = USUAL.source_id_column,
    ledger_channel_column: Annotated[
        str, typer.Option(help="Of an entry of the ledger.", rich_help_panel=_NAMES)
    ] = USUAL.ledger_channel_column,
    purchase_source: Annotated[
        str, typer.Option(help="What the ledger calls a purchase.", rich_help_panel=_NAMES)
    ] = USUAL.purchase_source,
    payment_source: Annotated[
        str, typer.Option(help="What the ledger calls a payment.", rich_help_panel=_NAMES)
    ] = USUAL.payment_source,
    adjustment_source: Annotated[
        str, typer.Option(help="What the ledger calls an adjustment.", rich_help_panel=_NAMES)
    ] = USUAL.adjustment_source,
    default_channel: Annotated[
        str, typer.Option(help="Code of the channel for all that no entry tells.", rich_help_panel=_NAMES)
    ] = USUAL.default_channel,
) -> None:
    """Give each purchase, payment and stock adjustment the channel that the ledger says, or the default one."""
    from shelfsight.errors import UsageError

    names = Names(
        schema=schema,
        column=column,
        purchases=purchases,
        payments=payments,
        adjustments=adjustments,
        channels=channels,
        ledger=ledger,
        purchase_column=purchase_column,
        code_column=code_column,
        source_type_column=source_type_column,
        source_id_column=source_id_column,
        ledger_channel_column=ledger_channel_column,
        purchase_source=purchase_source,
        payment_source=payment_source,
        adjustment_source=adjustment_source,
        default_channel=default_channel,
    )
    asked = [name for name, wanted in (("--plan", plan), ("--dry-run", dry_run), ("--verify", verify)) if wanted]
    asked += [name for name, wanted in (("--stop-filling", stop_filling), ("--undo", undo)) if wanted]
    if len(asked) > 1 or (sql and asked not in ([], ["--undo"])):
        raise UsageError(f"{' and '.join([*asked, *(['--sql'] if sql else [])])} do not go together: name one")
    if sql:
        _print_script(names, mode, fill=mode is Mode.ONLINE if fill is None else fill, undo=undo)
        return
    shop = _connect(database_url)
    try:
        if plan or dry_run or verify:
            _look(shop, names, mode, what=asked[0], json=json)
        else:
            what = asked[0] if asked else "run"
            _change(shop, names, mode, what=what, fill=fill, give_up_after=give_up_after, json=json)
    finally:
        shop.close()


def _print_script(names: Names, mode: Mode, *, fill: bool, undo: bool) -> None:
    from shelfsight.backfill.channel_id.script import script, undo_script
    from shelfsight.cli.output import print_plain

    print_plain((undo_script(names) if undo else script(names, mode, fill=fill)).rstrip("\n"))


def _connect(database_url: str | None) -> Shop:
    from psycopg.conninfo import make_conninfo

    from shelfsight.backfill.channel_id.store import connect
    from shelfsight.settings import postgres_settings

    if database_url is not None:
        return connect(database_url)
    one = postgres_settings(instead="or give --database-url postgresql://user@host/name")
    return connect(
        make_conninfo(host=one.host, port=one.port, dbname=one.database, user=one.user, password=one.password)
    )


def _look(shop: Shop, names: Names, mode: Mode, *, what: str, json: bool) -> None:
    from shelfsight.backfill.channel_id import inspection
    from shelfsight.backfill.channel_id.standing import standing
    from shelfsight.backfill.work import Plan
    from shelfsight.cli.backfill.progress import print_findings, print_plan
    from shelfsight.cli.output import print_facts

    inspection.check(shop, names)
    if what == "--plan":
        print_plan(inspection.plan(shop, names, mode), json=json)
    elif what == "--dry-run":
        findings, warnings = inspection.rehearse(shop, names)
        print_plan(Plan(facts=standing(findings, names), warnings=warnings), json=json)
    else:
        findings = inspection.survey(shop, names)
        if json:
            print_findings(findings, json=True)
        else:
            print_facts(standing(findings, names))
        if not findings.is_clean:
            raise typer.Exit(1)


def _change(
    shop: Shop, names: Names, mode: Mode, *, what: str, fill: bool | None, give_up_after: float, json: bool
) -> None:
    from shelfsight.backfill.channel_id.migration import Migration
    from shelfsight.backfill.stop import Stop
    from shelfsight.cli.backfill.progress import progress

    stop = Stop()
    with stop.by_signals(), progress() as watch:
        migration = Migration(names, shop, stop=stop, watch=watch, patience_s=give_up_after)
        match what:
            case "--undo":
                report = migration.undo()
            case "--stop-filling":
                report = migration.stop_filling()
            case _:
                report = migration.run(mode, fill=fill)
    _print_report(report, json=json)


def _print_report(report: Report, *, json: bool) -> None:
    """Print how it ended, and exit as that says."""
    from json import dumps

    from rich.markup import escape

    from shelfsight.cli.output import messages, print_facts, print_json

    if json:
        print_json(dumps(report.document(), indent=2, ensure_ascii=False))
    else:
        outcome = "complete before; nothing was done" if report.did_nothing else report.outcome
        print_facts([("Outcome", outcome), *report.facts()[2:]])
    for warning in report.warnings:
        messages.print(f"[yellow]Note[/]: {escape(warning)}", soft_wrap=True)
    if report.outcome == "stopped":
        messages.print("Stopped. To go on, give the same command again.", soft_wrap=True)
    if report.exit_code:
        raise typer.Exit(report.exit_code)
