"""The rows of the table: read in the order of their keys, and set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.backfill.inventory_fields.store.connection import Connected
    from shelfsight.backfill.inventory_fields.table import Layout
    from shelfsight.backfill.rules import Value

_LAG_BYTES = 64 << 20
_LAGGING = """
    SELECT application_name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint FROM pg_stat_replication
    WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > %(most)s ORDER BY 2 DESC LIMIT 1"""
_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND %(us)s = ANY(pg_blocking_pids(pid))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of keys: up to which, how many rows, and how many of them have no `deleted_at`."""

    until: Value
    rows: int
    unset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Documents as lines of JSON, and the last key among them."""

    last: Value
    count: int
    text: bytes


class Products:
    """The rows of `public.products`; every method raises as `Connected.cursor`."""

    def __init__(self, connected: Connected, layout: Layout) -> None:
        """Ask through that connection about a table that is like that."""
        self._connected = connected
        self._layout = layout
        self._type = layout.key.sql
        seconds = f"coalesce(({layout.seconds})::text, to_json(created_at::text)::text)"
        self._line = (
            f"""'{{"id":' || {layout.key.json} || ',"created_at":' || {seconds} """
            """|| ',"deleted_at":' || coalesce(deleted_at, 0) || '}'"""
        )

    def last_key(self) -> Value:
        """Return the key of the last row, None where there is no row."""
        found = self._connected.all(f"SELECT id::text AS key FROM {TABLE} ORDER BY id DESC LIMIT 1")  # noqa: S608
        return self._layout.key.value(found[0][0]) if found else None

    def window(self, after: Value, until: Value, rows: int) -> Window | None:
        """Return the next stretch of so many rows behind a key, up to another; None when there are no more."""
        query = f"""
            SELECT count(*), count(*) FILTER (WHERE deleted_at IS NULL), (array_agg(id))[count(*)]::text
            FROM (SELECT id, deleted_at FROM {TABLE} {self._stretch(after, until)} ORDER BY id LIMIT %(rows)s) AS w"""  # noqa: S608
        count, unset, last = self._connected.one(query, {"after": after, "until": until, "rows": rows})
        return Window(until=self._layout.key.value(last), rows=count, unset=unset) if count else None

    def unset(self, after: Value, until: Value) -> int:
        """Return how many rows behind a key, up to another, have no `deleted_at`."""
        query = f"SELECT count(*) FROM {TABLE} {self._stretch(after, until)} AND deleted_at IS NULL"  # noqa: S608
        count: int = self._connected.one(query, {"after": after, "until": until})[0]
        return count

    def set_stride(self, after: Value, until: Value, *, stride: int, strides: int) -> int:
        """Set `deleted_at` to 0 where it is missing, in one of the strides of a stretch; return in how many rows.

        Raises:
            RowError: a row may not be changed so; none was.
        """
        query = f"""UPDATE {TABLE} SET deleted_at = 0 {self._stretch(after, until)} AND deleted_at IS NULL
            AND {self._in_stride(stride, strides)}"""  # noqa: S608
        return self._connected.change(query, {"after": after, "until": until})

    def unset_in_stride(self, after: Value, until: Value, *, stride: int, strides: int) -> list[str]:
        """Return the keys of the rows that `set_stride` would change."""
        query = f"""SELECT id::text AS key FROM {TABLE} {self._stretch(after, until)} AND deleted_at IS NULL
            AND {self._in_stride(stride, strides)} ORDER BY id"""  # noqa: S608
        return [key for (key,) in self._connected.all(query, {"after": after, "until": until})]

    def set_keys(self, keys: Sequence[str]) -> int:
        """Set `deleted_at` to 0 where it is missing, in the rows with these keys; return in how many.

        Raises:
            RowError: a row may not be changed so; none was.
        """
        query = f"""UPDATE {TABLE} SET deleted_at = 0
            WHERE id = ANY(%(keys)s::text[]::{self._type}[]) AND deleted_at IS NULL"""  # noqa: S608
        return self._connected.change(query, {"keys": list(keys)})

    def unset_keys(self, *, limit: int, but: Sequence[str] = ()) -> list[str]:
        """Return keys of rows anywhere without `deleted_at`, in their order, without some."""
        query = f"""SELECT id::text AS key FROM {TABLE} WHERE deleted_at IS NULL AND {self._not_in()}
            ORDER BY id LIMIT %(limit)s"""  # noqa: S608
        return [key for (key,) in self._connected.all(query, {"but": self.keys(but), "limit": limit})]

    def still_unset(self, keys: Sequence[str]) -> int:
        """Return how many of the rows with these keys have no `deleted_at`."""
        query = f"""SELECT count(*) FROM {TABLE}
            WHERE deleted_at IS NULL AND id = ANY(%(keys)s::text[]::{self._type}[])"""  # noqa: S608
        count: int = self._connected.one(query, {"keys": list(keys)})[0]
        return count

    def counts(self, *, but: Sequence[str] = ()) -> tuple[int, int]:
        """Return how many rows there are, and how many have no `deleted_at`, these without some."""
        query = f"SELECT count(*), count(*) FILTER (WHERE deleted_at IS NULL AND {self._not_in()}) FROM {TABLE}"  # noqa: S608
        rows, unset = self._connected.one(query, {"but": self.keys(but)})
        return rows, unset

    def lines(self, after: Value, until: Value, limit: int) -> Lines | None:
        """Return the documents of rows behind a key, up to another, in their order; None when there are none."""
        query = f"""
            SELECT count(*), (array_agg(id))[count(*)]::text, string_agg({self._line}, E'\\n')
            FROM (SELECT id, created_at, deleted_at FROM {TABLE} {self._stretch(after, until)}
                  ORDER BY id LIMIT %(limit)s) AS p"""  # noqa: S608
        count, last, text = self._connected.one(query, {"after": after, "until": until, "limit": limit})
        return Lines(last=self._layout.key.value(last), count=count, text=text.encode()) if count else None

    def lines_of(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return the document of each of these ids that has a row now."""
        query = f"SELECT id::text, {self._line} FROM {TABLE} WHERE id = ANY(%(keys)s::text[]::{self._type}[])"  # noqa: S608
        return {key: line.encode() for key, line in self._connected.all(query, {"keys": self.keys(ids)})}

    def keys(self, ids: Sequence[str]) -> list[str]:
        """Return those of these ids that may be keys of a row."""
        return list(self._layout.key.told_apart(ids)[0])

    def pressure(self, process: int) -> str | None:
        """Return who suffers under a process of the server: a replica, or somebody who waits for a lock."""
        for name, lag_bytes in self._connected.all(_LAGGING, {"most": _LAG_BYTES}):
            return f"replica {name} is {lag_bytes / 1e6:,.0f} MB behind"
        (waiting,) = self._connected.one(_WAITING, {"us": process})
        return f"somebody waits for a lock of ours ({waiting})" if waiting else None

    def _not_in(self) -> str:
        return f"id <> ALL(%(but)s::text[]::{self._type}[])"

    def _in_stride(self, stride: int, strides: int) -> str:
        """Return a condition on a row; `strides` is a power of two, so that its last bits are enough."""
        return f"({self._layout.key.spread} & {strides - 1}) = {stride}" if strides > 1 else "true"

    def _stretch(self, after: Value, until: Value = None) -> str:
        limits = [f"id > %(after)s::{self._type}"] if after is not None else []
        limits += [f"id <= %(until)s::{self._type}"] if until is not None else []
        return f"WHERE {' AND '.join(limits)}" if limits else ""
