"""`shelfsight db`: the database and its schema."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="db", help="The database and its schema.")


@group.command()
def upgrade() -> None:
    """Bring the database to this version's schema, or leave it as it is."""
    from shelfsight.cli.output import print_plain
    from shelfsight.database import migrate

    with _opened() as database:
        before = migrate.revision(database)
        migrate.upgrade(database)
    after = migrate.latest()
    print_plain(f"The schema is {after} already" if before == after else f"Schema {before or 'none'} → {after}")


@group.command()
def check() -> None:
    """Check that the schema is this version's; exits with 1 if not."""
    from shelfsight.cli.output import print_plain
    from shelfsight.database import migrate
    from shelfsight.errors import SchemaError

    with _opened() as database:
        if migrate.revision(database) is None:
            raise SchemaError("the database is empty: run `shelfsight db upgrade`")
        migrate.prepare(database)
    print_plain(f"The schema is {migrate.latest()}, as wanted")


@group.command()
def show(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show which database it is, its schema, and how many rows each table has."""
    from json import dumps

    from shelfsight.cli.addresses import without_secrets
    from shelfsight.cli.output import print_facts, print_json
    from shelfsight.database import migrate
    from shelfsight.database.sizes import row_counts
    from shelfsight.settings import service_settings

    address = without_secrets(service_settings().database_url)
    with _opened() as database:
        kind = "PostgreSQL" if database.is_postgresql else "SQLite"
        revision = migrate.revision(database)
        with database.read() as tx:
            rows = row_counts(tx)
    if json:
        print_json(dumps({"kind": kind, "address": address, "revision": revision, "rows": rows}))
        return
    counts = ((table, str(count)) for table, count in rows.items())
    print_facts([("Kind", kind), ("Address", address), ("Schema", revision or "none"), *counts])


@contextmanager
def _opened() -> Iterator[Database]:
    from shelfsight.database.engine import open_database
    from shelfsight.settings import service_settings

    database = open_database(service_settings().database_url)
    try:
        yield database
    finally:
        database.close()
