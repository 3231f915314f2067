"""What the table is like: whether the backfill can work on it, and what it costs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields.keys import KEY_TYPES
from shelfsight.backfill.inventory_fields.table import TABLE, Layout, Measures
from shelfsight.errors import AccessError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from shelfsight.backfill.inventory_fields.keys import KeyType
    from shelfsight.backfill.inventory_fields.store.connection import Connected

_STRIDES = 8
_IN_ORDER = 0.5
_DATED = {"timestamp with time zone", "timestamp without time zone", "date"}
_COUNTED = {"bigint", "integer"}

_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, NULL), pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = 'public.products'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname IN ('id', 'created_at', 'deleted_at')"""
_ACCESS = """
    SELECT current_user, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
        row_security_active('public.products'),
        has_table_privilege('public.products', 'SELECT'),
        has_column_privilege('public.products', 'deleted_at', 'UPDATE'),
        has_database_privilege(current_database(), 'TEMP')"""
_IS_UNIQUE = """
    SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = 'public.products'::regclass AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
      AND i.indpred IS NULL AND a.attname = 'id')"""
_IS_INDEXED = """
    SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
    WHERE i.indrelid = 'public.products'::regclass AND a.attname = 'deleted_at'
      AND (a.attnum = ANY(i.indkey) OR pg_get_indexdef(i.indexrelid) ~ '\\mdeleted_at\\M'))"""
_ORDER = """
    SELECT coalesce(max(abs(correlation)), 0) FROM pg_stats
    WHERE schemaname = 'public' AND tablename = 'products' AND attname = 'id'"""
_SIZES = """
    SELECT count(*), count(*) FILTER (WHERE deleted_at IS NULL), pg_table_size('public.products'),
        coalesce((SELECT sum(pg_relation_size(indexrelid)) FROM pg_index
                  WHERE indrelid = 'public.products'::regclass), 0)
    FROM public.products"""
_TRIGGERS = """
    SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.products'::regclass AND NOT tgisinternal
      AND tgenabled <> 'D' AND (tgtype & 16) <> 0 ORDER BY 1"""
_OLDEST = """
    SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""


def layout(connected: Connected) -> Layout:
    """Return what the table is like.

    Raises:
        NotFoundError: there is no such table.
        ConflictError: it is not one that the backfill knows.
        AccessError: the user may not do what is needed, or does not see every row.
        DatabaseError: the database cannot be used.
    """
    (kind,) = connected.one("SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass('public.products'))")
    if kind is None:
        raise NotFoundError(f"there is no table {TABLE} in this database: check DB_DATABASE")
    if kind not in {"r", "p"}:
        raise ConflictError(f"{TABLE} is a view or a foreign table, not one of its own: rows cannot be set in it")
    columns = {name: (type_, default) for name, type_, default in connected.all(_COLUMNS)}
    key, seconds = _types(columns)
    _check_access(connected)
    (is_unique,) = connected.one(_IS_UNIQUE)
    if not is_unique:
        raise ConflictError(f"{TABLE} has no unique index on id alone: make one, so that it can be read in order")
    (is_indexed,) = connected.one(_IS_INDEXED)
    (order,) = connected.one(_ORDER)
    pays = not is_indexed and order >= _IN_ORDER  # rows in no order are spread by themselves
    return Layout(
        key=key,
        seconds=seconds,
        strides=_STRIDES if pays else 1,
        default=columns["deleted_at"][1],
        is_indexed=is_indexed,
    )


def measures(connected: Connected) -> Measures:
    """Return how much there is; looks at the whole table."""
    rows, unset, table_bytes, index_bytes = connected.one(_SIZES)
    return Measures(
        rows=rows,
        unset=unset,
        table_bytes=table_bytes,
        index_bytes=int(index_bytes),
        triggers=tuple(name for (name,) in connected.all(_TRIGGERS)),
        oldest_transaction_s=connected.one(_OLDEST)[0],
    )


def _types(columns: dict[str, tuple[str, str | None]]) -> tuple[KeyType, str]:
    """Return the type of the key, and how `created_at` becomes seconds."""
    for name in ("id", "created_at", "deleted_at"):
        if name not in columns:
            raise ConflictError(f"{TABLE} has no column {name}: it is not the table that this backfill knows")
    of = {name: type_ for name, (type_, _) in columns.items()}
    if of["id"] not in KEY_TYPES:
        raise ConflictError(f"{TABLE}.id is {of['id']}: this backfill knows {', '.join(KEY_TYPES)}")
    if of["deleted_at"] not in _COUNTED:
        raise ConflictError(f"{TABLE}.deleted_at is {of['deleted_at']}, not bigint: seconds since 1970, 0 = active")
    if of["created_at"] in _COUNTED:
        return KEY_TYPES[of["id"]], "coalesce(created_at, 0)::bigint"
    if of["created_at"] not in _DATED:
        raise ConflictError(f"{TABLE}.created_at is {of['created_at']}, neither a time nor seconds since 1970")
    seconds = (
        "CASE WHEN created_at IS NULL THEN 0 WHEN isfinite(created_at) "
        "THEN floor(date_part('epoch', created_at))::bigint END"
    )
    return KEY_TYPES[of["id"]], seconds


def _check_access(connected: Connected) -> None:
    user, is_replica, is_read_only, is_filtered, may_read, may_update, may_stage = connected.one(_ACCESS)
    if is_replica:
        raise ConflictError("the database is a replica, where nothing can be set: name the primary in DB_HOST")
    if is_read_only:
        raise ConflictError(
            f"the database is read-only for {user} (default_transaction_read_only is on): some hosts switch to that "
            "when the disk is full"
        )
    if is_filtered:
        raise AccessError(
            f"row-level security hides rows of {TABLE} from {user}, and a hidden row would count as missing: "
            "use a role with BYPASSRLS, or the table's owner"
        )
    missing = [
        what
        for may, what in (
            (may_read, f"SELECT on {TABLE}"),
            (may_update, f"UPDATE (deleted_at) on {TABLE}"),
            (may_stage, "TEMPORARY on the database"),
        )
        if not may
    ]
    if missing:
        raise AccessError(f"{user} may not do what is needed: GRANT {', '.join(missing)}")
