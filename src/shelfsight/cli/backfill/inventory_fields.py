"""`shelfsight backfill inventory-fields`: `created_at` and `deleted_at`, in the rows and in the product search."""

from __future__ import annotations

from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("inventory-fields")(inventory_fields)


def inventory_fields(
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would do, and how long that takes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what it would do, in full.")] = False,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="Let the page size follow --page-time.")] = False,
    page_time: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds of a page, if adaptive.")] = 0.1,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Try again what was refused.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Start over.")] = False,
    accept_missing_rows: Annotated[
        bool, typer.Option("--accept-missing-rows", help="Even if most documents have no row.")
    ] = False,
    give_up_after: Annotated[float, typer.Option(min=0, help="Seconds to go on trying what does not answer.")] = 600,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Let every product have deleted_at, and every document of the search say what its row says."""
    from contextlib import closing

    from shelfsight.backfill.checkpoints.opening import open_checkpoints
    from shelfsight.backfill.inventory_fields.backfill import InventoryFields
    from shelfsight.backfill.rules import Pace
    from shelfsight.backfill.runner import Runner, Terms
    from shelfsight.backfill.stop import Stop
    from shelfsight.cli.backfill.progress import print_findings, print_plan, print_report, progress, says_how_to_go_on
    from shelfsight.partners.typesense import Typesense
    from shelfsight.settings import checkpoint_settings, inventory_settings

    settings = inventory_settings()
    pace = Pace(size=settings.batch_size, sleep_s=settings.sleep_s, page_time_s=page_time if adaptive else None)
    stop = Stop()
    typesense = Typesense(settings.typesense_url, settings.typesense_key, wait=stop.sleep)
    backfill = InventoryFields(
        settings.postgres,
        typesense,
        stop,
        page_size=settings.typesense_page_size,
        accepts_missing_rows=accept_missing_rows,
    )
    with stop.by_signals(), typesense, closing(backfill):
        if plan or dry_run:
            backfill.check()
        if plan:
            print_plan(backfill.plan(pace), json=json)
        if dry_run:
            print_findings(backfill.survey(()), json=json)
        if plan or dry_run:
            return
        with closing(open_checkpoints(checkpoint_settings())) as checkpoints, progress() as watch:
            terms = Terms(pace=pace, patience_s=give_up_after)
            runner = Runner(backfill, checkpoints, terms=terms, stop=stop, watch=watch)
            with says_how_to_go_on(backfill.name):
                report = runner.run(reset=reset, retry=retry_quarantined)
    print_report(report, json=json)
