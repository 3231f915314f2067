"""What the shop's database is like: whether the migration fits it, what it would do, and what is left. Only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.channel_id.rules import Kind, Mode, identifier, literal
from shelfsight.backfill.channel_id.script import no_default
from shelfsight.backfill.channel_id.standing import INDEX, KEY, NOT_NULL, empty_rows_of, lack_of, rows_of
from shelfsight.backfill.channel_id.table import Table, channels_at, default_channel, ledger_at, tables
from shelfsight.backfill.rules import spoken
from shelfsight.backfill.work import Findings, Plan
from shelfsight.errors import ConflictError, NotFoundError, PartnerError

if TYPE_CHECKING:
    from shelfsight.backfill.channel_id.rules import Names
    from shelfsight.backfill.channel_id.store import Shop

_SHOWN = 20
_COUNTED_MOST = 64_000_000
"""Bytes of a table that is counted in a moment."""
_UNKNOWN = "unknown: run ANALYZE first"
_ROWS_PER_S = {Mode.TRANSACTIONAL: 190_000, Mode.ONLINE: 160_000}
"""Of the three tables together, as measured in docs/benchmarks.md; the time of a plan is no promise."""


def check(shop: Shop, names: Names) -> None:
    """Return if the migration fits the database.

    Raises:
        NotFoundError: a table, a column or the default channel is not there.
        ConflictError: the column is there with another type.
        PartnerError: a table is no ordinary one, has no unique id, or is not ours to change or to see in full.
        DatabaseError: the server does not answer.
    """
    check_tables(shop, names)
    for at, name in [*((table.at, table.name) for table in tables(names)), (ledger_at(names), names.ledger)]:
        if not shop.value(
            f"pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass({literal(at)})), 'USAGE')"
        ):
            raise PartnerError(f"table {name} belongs to somebody else: connect as its owner")
    _check_rights(shop, names)
    channel_type = _type(shop, channels_at(names), "id")
    for table in tables(names):
        found = _type(shop, table.at, names.column)
        if found not in {None, channel_type}:
            raise ConflictError(
                f"{names.column} of {table.name} is {found}, and ids of {names.channels} are {channel_type}: "
                "name another column with --column"
            )
    if shop.value(f"{default_channel(names)} IS NULL"):
        raise NotFoundError(no_default(names))


def check_tables(shop: Shop, names: Names) -> None:
    """Return if every table is there with the columns that it must have; raises as `check`."""
    for name, columns in names.required().items():
        at = f"{identifier(names.schema)}.{identifier(name)}"
        kind = shop.value(f"(SELECT relkind::text FROM pg_class WHERE oid = to_regclass({literal(at)}))")
        if kind is None:
            raise NotFoundError(f"table {name} is not in schema {names.schema}: see --help for how to name it")
        if kind != "r":
            raise PartnerError(f"{name} of schema {names.schema} is no ordinary table: this cannot migrate it")
        for column in columns:
            if _type(shop, at, column) is None:
                raise NotFoundError(f"table {name} has no column {column}: see --help for how to name it")
        if name != names.ledger and not shop.value(_is_unique(at)):
            raise PartnerError(f"ids of {name} are not unique by an index: add a primary key first")


def _check_rights(shop: Shop, names: Names) -> None:
    """Return if the tables' owner may also do the rest, and sees every row: who is hidden would get no channel."""
    for name in names.required():
        at = literal(f"{identifier(names.schema)}.{identifier(name)}")
        if shop.value(f"row_security_active(to_regclass({at})::oid)"):
            raise PartnerError(f"row-level security hides rows of {name}: connect as a role with BYPASSRLS")
    schema, channels = literal(names.schema), literal(channels_at(names))
    for may, what in (
        (f"has_schema_privilege({schema}, 'CREATE')", f"CREATE ON SCHEMA {identifier(names.schema)}"),
        (
            f"has_column_privilege(to_regclass({channels})::oid, 'id', 'REFERENCES')",
            f"REFERENCES ON {names.channels}",
        ),
        ("has_database_privilege(current_database(), 'TEMP')", "TEMPORARY on the database"),
    ):
        if not shop.value(may):
            raise PartnerError(f"{shop.value('current_user')} may not do what is needed: GRANT {what}")


def survey(shop: Shop, names: Names) -> Findings:
    """Return what is there and what is left, counted in full."""
    counts: dict[str, int] = {}
    left: dict[str, int] = {}
    for table in tables(names):
        has_column = shop.value(table.has_column)
        total, empty = shop.rows(
            f"SELECT count(*), count(*) - count({f't.{table.column}' if has_column else 'NULL'}) FROM {table.at} t"
        )[0]
        counts[rows_of(table.name)] = total
        left[empty_rows_of(table.name)] = empty
        for part, is_there in (
            (NOT_NULL, table.not_null),
            (KEY, table.has_valid_key),
            (INDEX, table.has_valid_index),
        ):
            left[lack_of(part, table.name)] = 0 if shop.value(is_there) else 1
    return Findings(counts=counts, open=left)


def rehearse(shop: Shop, names: Names) -> tuple[Findings, list[str]]:
    """Return what a run would do, counted in full, and what the operator should know before."""
    findings = survey(shop, names)
    counts, warnings = dict(findings.counts), []
    for table in tables(names):
        has_column = shop.value(table.has_column)
        entries = table.entries(f"t.{table.column} IS NULL" if has_column else "true")
        shop.run(f"DROP TABLE IF EXISTS pg_temp.{table.map}")
        shop.run(f"CREATE TEMPORARY TABLE {table.map} AS {entries}")
        counts[f"{rows_of(table.name)} that the ledger knows"] = shop.value(
            f"(SELECT count(*) FROM pg_temp.{table.map})"
        )
        if table.kind is Kind.PAYMENT:
            counts[f"{rows_of(table.name)} that have a purchase"] = _with_purchase(shop, table, has_column=has_column)
        warnings += conflict_warnings(shop, table)
    return Findings(counts=counts, open=findings.open), warnings


def conflict_warnings(shop: Shop, table: Table) -> list[str]:
    """Return what is odd in the ledger; the rows without a channel must be in the map."""
    warnings = []
    if shop.value(f"EXISTS (SELECT FROM pg_temp.{table.map} WHERE has_more)"):
        ids = [row[0] for row in shop.rows(table.conflicts())]
        if ids:
            first = ", ".join(ids[:_SHOWN]) + (" …" if len(ids) > _SHOWN else "")
            warnings.append(
                f"the ledger has {len(ids):,} of {table.name} in two channels; its first entry counts: {first}"
            )
    strangers = shop.rows(table.strangers())[0][0]
    if strangers:
        warnings.append(f"{strangers:,} entries of {table.names.source(table.kind)} name no channel that is there")
    return warnings


def plan(shop: Shop, names: Names, mode: Mode) -> Plan:
    """Return what a run would do, by the server's own estimates; small tables that it has none of are counted."""
    size = 0
    rows: int | None = 0
    facts = []
    for table in tables(names):
        count, size_bytes, said = _extent(shop, table)
        is_done = "complete" if shop.value(table.is_complete) else "to be done"
        facts.append((table.name, f"{said}, {_megabytes(size_bytes)}, {is_done}"))
        if is_done != "complete":
            rows, size = None if rows is None or count is None else rows + count, size + size_bytes
    if mode is Mode.ONLINE:
        locks = "each for a moment only (15 ms at most); pages of rows are locked for about 10 ms"
    else:
        locks = "all three tables from the beginning to the end: who writes or reads there waits"
    return Plan(
        facts=[
            *facts,
            ("Mode", mode.value),
            ("Locks", locks),
            ("Expected time", _UNKNOWN if rows is None else f"about {spoken(rows / _ROWS_PER_S[mode])}"),
            (
                "Expected growth",
                f"at most {_megabytes(size)} of tables, and "
                + (f"of indexes {_UNKNOWN}" if rows is None else f"{_megabytes(rows * 8)} of indexes"),
            ),
        ]
    )


def _extent(shop: Shop, table: Table) -> tuple[int | None, int, str]:
    """Return how many rows a table has, None = unknown, its bytes, and the rows in words."""
    estimate, size_bytes = shop.rows(
        f"SELECT reltuples::bigint, pg_table_size(oid)::bigint FROM pg_class WHERE oid = {table.oid}"
    )[0]
    if estimate > 0:  # of a table that was never analysed it is -1, of an old server 0
        return estimate, size_bytes, f"about {estimate:,} rows"
    if size_bytes > _COUNTED_MOST:
        return None, size_bytes, f"rows {_UNKNOWN}"
    count: int = shop.value(f"(SELECT count(*) FROM {table.at})")
    return count, size_bytes, f"{count:,} rows"


def _with_purchase(shop: Shop, table: Table, *, has_column: bool) -> int:
    names = table.names
    purchases = Table(names, Kind.PURCHASE)
    empty = f"t.{table.column} IS NULL AND " if has_column else ""
    count: int = shop.rows(
        f"SELECT count(*) FROM {table.at} t JOIN {purchases.at} p ON p.id = t.{identifier(names.purchase_column)} "
        f"WHERE {empty}NOT EXISTS (SELECT FROM pg_temp.{table.map} m WHERE m.id = t.id)"
    )[0][0]
    return count


def _type(shop: Shop, at: str, column: str) -> str | None:
    found: str | None = shop.value(
        "(SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = to_regclass({literal(at)}) AND attname = {literal(column)} AND NOT attisdropped)"
    )
    return found


def _is_unique(at: str) -> str:
    return (
        "EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        f"WHERE i.indrelid = to_regclass({literal(at)}) AND a.attname = 'id' AND i.indisunique AND i.indisvalid "
        "AND i.indnkeyatts = 1 AND i.indpred IS NULL)"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
