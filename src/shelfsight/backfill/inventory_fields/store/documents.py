"""The documents of the search beside the rows: exported into a temporary table, and compared there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfsight.backfill.inventory_fields.table import TABLE
from shelfsight.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import Cursor

    from shelfsight.backfill.inventory_fields.store.connection import Connected
    from shelfsight.backfill.inventory_fields.table import Layout

FIELDS = ("id", "created_at", "deleted_at")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\r": "\\r", "\n": "\\n"})
_DIFFERS = "d.created_at IS DISTINCT FROM p.seconds OR d.deleted_at IS DISTINCT FROM coalesce(p.deleted_at, 0)"
_NOT_DEFAULT = "d.created_at IS DISTINCT FROM 0 OR d.deleted_at IS DISTINCT FROM 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison has counted: documents of the search, and those of them that have no row."""

    documents: int
    without_row: int


class Documents:
    """The documents of the search, in temporary tables of a connection; methods raise as `Connected.cursor`."""

    def __init__(self, connected: Connected, layout: Layout) -> None:
        """Compare through that connection, with a table that is like that."""
        self._connected = connected
        self._layout = layout
        self._made = 0

    @property
    def is_there(self) -> bool:
        """Whether there is a comparison to read from; it goes with the connection."""
        return self._connected.is_open and self._made == self._connected.times

    def compare(self, exported: Iterable[Sequence[dict[str, Any]]], *, ids_only: bool) -> Compared:
        """Load what was exported and compare it with the rows; what is to be mended can then be read by `ids`.

        Args:
            exported: documents with `FIELDS`, or with ids only: then every document without a row is to be mended.
        """
        self._made = 0
        with self._connected.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pg_temp.before, pg_temp.exported")
            cursor.execute("ALTER TABLE IF EXISTS pg_temp.found RENAME TO before")
            columns = "" if ids_only else ", created_at bigint, deleted_at bigint"
            cursor.execute(f"CREATE TEMPORARY TABLE exported (id {self._layout.key.sql}{columns})".encode())
            cursor.execute('CREATE TEMPORARY TABLE found (id text COLLATE "C", has_row boolean, is_open boolean)')
            documents = self._load(cursor, exported, ids_only=ids_only)
            cursor.execute("ANALYZE pg_temp.exported")
            cursor.execute(self._find(ids_only=ids_only).encode())
            cursor.execute("DROP TABLE pg_temp.exported")
            cursor.execute("CREATE INDEX ON pg_temp.found (id) WHERE is_open")
            cursor.execute("ANALYZE pg_temp.found")
            self._made = self._connected.times
        (without_row,) = self._connected.one("SELECT count(*) FROM pg_temp.found WHERE NOT has_row")
        return Compared(documents=documents, without_row=without_row)

    def ids(self, *, after: str | None, limit: int, but: Sequence[str] = ()) -> list[str]:
        """Return ids of documents to be mended, in their order, behind one of them, without some.

        Raises:
            DatabaseError: the comparison went with its connection: compare again.
        """
        self._check()
        query = """SELECT id FROM pg_temp.found WHERE is_open AND id > %(after)s AND id <> ALL(%(but)s::text[])
            ORDER BY id LIMIT %(limit)s"""
        rows = self._connected.all(query, {"after": after or "", "but": list(but), "limit": limit})
        return [key for (key,) in rows]

    def open(self, *, but: Sequence[str], again: bool) -> tuple[int, int]:
        """Return how many are to be mended, without some: of those with a row, and of those without.

        Args:
            again: those alone that the comparison before this one had found, too.

        Raises:
            DatabaseError: the comparison went with its connection: compare again.
        """
        self._check()
        which = "AND id IN (SELECT id FROM pg_temp.before WHERE is_open)" if again and self._has_before() else ""
        query = f"""SELECT count(*) FILTER (WHERE has_row), count(*) FILTER (WHERE NOT has_row) FROM pg_temp.found
            WHERE is_open AND id <> ALL(%(but)s::text[]) {which}"""  # noqa: S608
        with_row, without_row = self._connected.one(query, {"but": list(but)})
        return with_row, without_row

    def _has_before(self) -> bool:
        there: bool = self._connected.one("SELECT to_regclass('pg_temp.before') IS NOT NULL")[0]
        return there

    def _check(self) -> None:
        if not self.is_there:
            raise DatabaseError("the connection to PostgreSQL was lost, and with it what had been compared")

    def _load(self, cursor: Cursor[Any], exported: Iterable[Sequence[dict[str, Any]]], *, ids_only: bool) -> int:
        count = 0
        alien: list[dict[str, Any]] = []
        with cursor.copy("COPY pg_temp.exported FROM STDIN") as copy:
            for part in exported:
                count += len(part)
                keys, others = self._layout.key.told_apart([document["id"] for document in part])
                if others:
                    possible = set(keys)
                    alien += [document for document in part if document["id"] not in possible]
                    part = [document for document in part if document["id"] in possible]  # noqa: PLW2901
                copy.write(_ids(keys) if ids_only else _rows(part))
        cursor.execute(
            "INSERT INTO pg_temp.found SELECT unnest(%s::text[]), false, unnest(%s::boolean[])",
            (
                [document["id"] for document in alien],
                [
                    ids_only or (document.get("created_at"), document.get("deleted_at")) != (0, 0)
                    for document in alien
                ],
            ),
        )
        return count

    def _find(self, *, ids_only: bool) -> str:
        rows = f"SELECT id, deleted_at, {self._layout.seconds} AS seconds FROM {TABLE}"  # noqa: S608
        is_open = "true" if ids_only else f"p.id IS NOT NULL OR {_NOT_DEFAULT}"
        return f"""INSERT INTO pg_temp.found SELECT d.id::text, p.id IS NOT NULL, {is_open}
            FROM pg_temp.exported d LEFT JOIN ({rows}) p ON p.id = d.id
            WHERE p.id IS NULL{"" if ids_only else f" OR {_DIFFERS}"}"""  # noqa: S608


def _ids(keys: Sequence[str]) -> bytes:
    text = "\n".join(keys)
    if "\\" in text or text.count("\n") >= len(keys) or "\t" in text or "\r" in text:
        text = "\n".join(key.translate(_ESCAPES) for key in keys)
    return (text + "\n").encode() if keys else b""


def _rows(documents: Sequence[dict[str, Any]]) -> bytes:
    return "".join(
        f"{_escaped(document['id'])}\t{_whole(document.get('created_at'))}\t{_whole(document.get('deleted_at'))}\n"
        for document in documents
    ).encode()


def _escaped(key: str) -> str:
    return key if key.isalnum() else key.translate(_ESCAPES)


def _whole(value: object) -> str:
    return str(value) if type(value) is int and -(2**63) <= value < 2**63 else "\\N"
