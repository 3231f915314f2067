"""`shelfsight backfill inventory-fields`: `created_at` and `deleted_at`, in the rows and in the product search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shelfsight.backfill.inventory_fields.backfill import InventoryFields
    from shelfsight.backfill.runner import Terms
    from shelfsight.backfill.stop import Stop
    from shelfsight.partners.typesense import Typesense
    from shelfsight.settings import InventorySettings


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
    from shelfsight.cli.backfill.progress import print_report, progress, says_how_to_go_on
    from shelfsight.settings import checkpoint_settings, inventory_settings

    settings = inventory_settings()
    pace = Pace(size=settings.batch_size, sleep_s=settings.sleep_s, page_time_s=page_time if adaptive else None)
    terms = Terms(pace=pace, patience_s=give_up_after)
    stop = Stop()
    typesense = _search(settings, stop, give_up_after)
    backfill = InventoryFields(
        settings.postgres,
        typesense,
        stop,
        page_size=settings.typesense_page_size,
        accepts_missing_rows=accept_missing_rows,
    )
    with stop.by_signals(), typesense, closing(backfill):
        if plan or dry_run:
            _look(backfill, terms, stop, plan=plan, dry_run=dry_run, json=json)
            return
        with closing(open_checkpoints(checkpoint_settings())) as checkpoints, progress() as watch:
            runner = Runner(backfill, checkpoints, terms=terms, stop=stop, watch=watch)
            with says_how_to_go_on(backfill.name):
                report = runner.run(reset=reset, retry=retry_quarantined)
    print_report(report, json=json)


def _search(settings: InventorySettings, stop: Stop, give_up_after: float) -> Typesense:
    """Return a client that tries each request once: who goes on trying says so, and knows for how long."""
    from shelfsight.partners.typesense import Limits, Patience, Typesense

    usual, most_s = Limits(), max(give_up_after, 1.0)
    limits = Limits(connect_s=min(usual.connect_s, most_s), answer_s=min(usual.answer_s, most_s))
    return Typesense(
        settings.typesense_url, settings.typesense_key, patience=Patience(seconds=0), limits=limits, wait=stop.sleep
    )


def _look(backfill: InventoryFields, terms: Terms, stop: Stop, *, plan: bool, dry_run: bool, json: bool) -> None:
    from shelfsight.backfill.patience import Patience
    from shelfsight.cli.backfill.progress import print_findings, print_plan, progress
    from shelfsight.errors import DatabaseError

    with progress() as watch:
        patience = Patience(stop, watch, seconds=terms.patience_s)
        patience(backfill.check, unless=DatabaseError)
        planned = patience(lambda: backfill.plan(terms.pace)) if plan else None
        found = patience(lambda: backfill.survey(())) if dry_run else None
    if planned is not None:
        print_plan(planned, json=json)
    if found is not None:
        print_findings(found, json=json)
