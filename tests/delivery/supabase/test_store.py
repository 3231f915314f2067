"""The wire's SQL on both kinds of database: reads of model_metadata, and objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert, select

from shelfsight.database.tables import channels, model_metadata
from shelfsight.delivery.supabase.columns import COLUMNS
from shelfsight.delivery.supabase.listing import Place, Sort
from shelfsight.delivery.supabase.queries import parse_query
from shelfsight.delivery.supabase.store import objects, rows
from shelfsight.delivery.supabase.store.objects import Content, ObjectRow, Part
from shelfsight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from shelfsight.database.engine import Database

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS: tuple[dict[str, Any], ...] = (
    {"version": "v1.0.0", "status": "deprecated", "accuracy": 0.8, "min_app_version": "1.0"},
    {"version": "v1.1.0", "status": "active", "is_stable": True, "accuracy": 0.9},
    {"version": "v1.2.0", "status": "testing", "rollout_percentage": 10.0, "accuracy": None},
    {"version": "v1.2.0-RC.1", "status": "testing", "accuracy": 0.95, "architecture": "100%_[a]*?\\"},
)


@pytest.fixture
def filled(database: Database) -> Database:
    """Two channels with the same versions."""
    with database.write() as tx:
        for channel in ("T_1", "T_2"):
            tx.execute(insert(channels).values(id=channel, token=f"ck_{channel}"))
            for number, row in enumerate(ROWS):
                at = START + timedelta(hours=number)
                tx.execute(insert(model_metadata).values(channel_id=channel, file_path="-", created_at=at, **row))
    return database


def read(database: Database, query: dict[str, str] | None = None, *, active_only: bool = False) -> list[str]:
    """Return the versions of T_1 that a query finds."""
    parsed = parse_query(urlencode({"select": "version", **(query or {})}).encode())
    with database.read() as tx:
        found = rows.read(tx, "T_1", parsed, active_only=active_only, offset=0, limit=100)
        assert rows.count(tx, "T_1", parsed, active_only=active_only) == len(found)
    return [row["version"].removeprefix("v") for row in found]


QUERIES: tuple[tuple[dict[str, str], list[str]], ...] = (
    ({}, ["1.0.0", "1.1.0", "1.2.0", "1.2.0-RC.1"]),
    ({"status": "eq.active"}, ["1.1.0"]),
    ({"status": "not.eq.testing"}, ["1.0.0", "1.1.0"]),
    ({"status": "in.(active,deprecated)"}, ["1.0.0", "1.1.0"]),
    ({"status": "in.()"}, []),
    ({"status": "not.in.(active)"}, ["1.0.0", "1.2.0", "1.2.0-RC.1"]),
    ({"accuracy": "gte.0.9"}, ["1.1.0", "1.2.0-RC.1"]),
    ({"accuracy": "lt.0.9"}, ["1.0.0"]),
    ({"accuracy": "neq.0.9"}, ["1.0.0", "1.2.0-RC.1"]),
    ({"accuracy": "is.null"}, ["1.2.0"]),
    ({"accuracy": "not.is.null"}, ["1.0.0", "1.1.0", "1.2.0-RC.1"]),
    ({"is_stable": "is.true"}, ["1.1.0"]),
    ({"is_stable": "eq.false"}, ["1.0.0", "1.2.0", "1.2.0-RC.1"]),
    ({"is_stable": "not.is.true"}, ["1.0.0", "1.2.0", "1.2.0-RC.1"]),
    ({"created_at": "gt.2026-11-20T13:00:00Z"}, ["1.2.0", "1.2.0-RC.1"]),
    ({"created_at": "lte.2026-11-20T14:00:00+01:00"}, ["1.0.0", "1.1.0"]),
    ({"input_shape": "is.null"}, []),
    ({"version": "like.v1.2*"}, ["1.2.0", "1.2.0-RC.1"]),
    ({"version": "like.*rc*"}, []),
    ({"version": "ilike.*rc*"}, ["1.2.0-RC.1"]),
    ({"version": "like.v1._.0"}, ["1.0.0", "1.1.0", "1.2.0"]),
    ({"version": "not.like.v1.2%"}, ["1.0.0", "1.1.0"]),
    ({"architecture": "like.100\\%\\_[a]\\*?\\\\"}, ["1.2.0-RC.1"]),
    ({"architecture": "ilike.100\\%\\_[A]\\*?\\\\"}, ["1.2.0-RC.1"]),
    ({"architecture": "like.100[%]*"}, []),
    ({"or": "(status.eq.active,accuracy.is.null)"}, ["1.1.0", "1.2.0"]),
    ({"not.or": "(status.eq.active,status.eq.testing)"}, ["1.0.0"]),
    ({"or": "(and(status.eq.testing,accuracy.gt.0.9),version.eq.v1.0.0)"}, ["1.0.0", "1.2.0-RC.1"]),
    ({"order": "version.desc"}, ["1.2.0-RC.1", "1.2.0", "1.1.0", "1.0.0"]),
    ({"order": "accuracy.desc"}, ["1.2.0", "1.2.0-RC.1", "1.1.0", "1.0.0"]),
    ({"order": "accuracy.desc.nullslast"}, ["1.2.0-RC.1", "1.1.0", "1.0.0", "1.2.0"]),
    ({"order": "accuracy"}, ["1.0.0", "1.1.0", "1.2.0-RC.1", "1.2.0"]),
    ({"order": "accuracy.nullsfirst"}, ["1.2.0", "1.0.0", "1.1.0", "1.2.0-RC.1"]),
    ({"order": "status,created_at.desc"}, ["1.1.0", "1.0.0", "1.2.0-RC.1", "1.2.0"]),
)


def test_a_query_finds_the_same_rows_on_both_databases(filled: Database) -> None:
    for query, wanted in QUERIES:
        assert read(filled, query) == wanted, query


def test_every_column_can_be_read_and_sorted_by(filled: Database) -> None:
    parsed = parse_query(urlencode({"select": "*", "order": ",".join(COLUMNS)}).encode())
    with filled.read() as tx:
        found = rows.read(tx, "T_1", parsed, active_only=False, offset=0, limit=100)
    assert {tuple(row) for row in found} == {tuple(COLUMNS)}
    assert len(found) == len(ROWS)
    assert found[0]["input_shape"] == [1, 224, 224, 3]
    assert {column.name for column in model_metadata.c} == set(COLUMNS)


def test_only_active_rows_are_seen_by_who_may_see_only_those(filled: Database) -> None:
    assert read(filled, active_only=True) == ["1.1.0"]
    assert read(filled, {"status": "eq.testing"}, active_only=True) == []
    assert read(filled, {"or": "(status.eq.testing,status.eq.active)"}, active_only=True) == ["1.1.0"]


def test_no_query_reaches_another_channel(filled: Database) -> None:
    assert read(filled, {"channel_id": "eq.T_2"}) == []
    assert len(read(filled, {"or": "(channel_id.eq.T_2,channel_id.eq.T_1,id.gt.0)"})) == len(ROWS)


HOSTILE = (
    "'; DROP TABLE model_metadata; --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    '" OR ""="',
    "active') UNION SELECT token FROM channels --",
    "$1",
    ":channel_id_1",
    "%(channel_id_1)s",
    "{}{0}",
    "x" * 5000,
    "ключ",
)


def test_a_value_is_never_a_part_of_the_statement(filled: Database) -> None:
    for hostile in HOSTILE:
        quoted = '"' + hostile.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for query in (
            {"status": f"eq.{hostile}"},
            {"status": f"in.({quoted})"},
            {"status": f"like.{hostile.replace('%', '')}"},
            {"or": f"(status.eq.{quoted},version.ilike.{quoted.replace('%', '')})"},
        ):
            assert read(filled, query) == [], query
    assert len(read(filled)) == len(ROWS)
    with filled.read() as tx:
        assert tx.scalar(select(channels.c.token).where(channels.c.id == "T_1")) == "ck_T_1"


def row(path: str, *, channel: str = "T_1", at: datetime = START, sha256: str = "ab" * 32) -> ObjectRow:
    content = Content(
        sha256=sha256,
        size_bytes=3,
        media_type="a/b",
        cache_control="no-cache",
        metadata={"metadata": {"é": [1, None]}},
    )
    return ObjectRow(
        id=f"{channel}/{path}/{at.isoformat()}",
        channel=channel,
        bucket="b",
        path=path,
        content=content,
        created_at=at,
        updated_at=at,
    )


def put(database: Database, *new: ObjectRow, replace: bool = False) -> list[ObjectRow]:
    with database.write() as tx:
        return [objects.put(tx, one, replace=replace) for one in new]


def test_an_object_is_found_as_it_was_put(filled: Database) -> None:
    new = row("a/1.bin")
    assert put(filled, new) == [new]
    with filled.read() as tx:
        assert objects.find(tx, "T_1", "b", "a/1.bin") == new
        assert objects.find(tx, "T_2", "b", "a/1.bin") is None
        assert objects.find(tx, "T_1", "c", "a/1.bin") is None


def test_an_object_is_replaced_only_when_that_is_wanted_and_keeps_its_id_and_age(filled: Database) -> None:
    (first,) = put(filled, row("x"))
    later = row("x", at=START + timedelta(days=1), sha256="cd" * 32)
    with pytest.raises(ConflictError, match="The resource already exists"):
        put(filled, later)
    (second,) = put(filled, later, replace=True)
    with filled.read() as tx:
        assert objects.find(tx, "T_1", "b", "x") == second
    assert (second.id, second.created_at) == (first.id, first.created_at)
    assert (second.updated_at, second.content) == (later.updated_at, later.content)


def test_an_object_of_a_channel_that_is_gone_is_not_written(filled: Database) -> None:
    with pytest.raises(NotFoundError):
        put(filled, row("x", channel="gone"))


def test_objects_are_removed_by_name_in_their_channel_only(filled: Database) -> None:
    put(filled, row("a"), row("b"), row("a", channel="T_2"))
    with filled.write() as tx:
        assert [one.path for one in objects.remove(tx, "T_1", "b", ["b", "a", "none"])] == ["a", "b"]
        assert objects.remove(tx, "T_1", "b", ["a"]) == []
        assert objects.find(tx, "T_2", "b", "a") is not None


def test_an_object_is_copied_and_moved_unless_the_name_is_taken(filled: Database) -> None:
    put(filled, row("a"), row("taken"))
    with filled.write() as tx:
        copied = objects.copy(tx, "T_1", "b", "a", to="copy", at=START + timedelta(days=1))
        moved = objects.move(tx, "T_1", "b", "a", to="moved")
        assert objects.move(tx, "T_1", "b", "moved", to="moved") == moved
        assert objects.find(tx, "T_1", "b", "a") is None
    assert (copied.path, copied.content, copied.created_at) == ("copy", moved.content, START + timedelta(days=1))
    assert (moved.path, moved.created_at) == ("moved", START)
    assert copied.id != moved.id
    for step in (objects.move, lambda *given, **more: objects.copy(*given, at=START, **more)):
        with pytest.raises(ConflictError), filled.write() as tx:
            step(tx, "T_1", "b", "moved", to="taken")
        with pytest.raises(NotFoundError), filled.write() as tx:
            step(tx, "T_1", "b", "none", to="new")


PATHS = ("B/x", "a", "a.b/x", "a/1", "a/2/x", "a/2/y", "a/3", "a0", "b_%/1", "b_%/2", "b__/1")


@pytest.fixture
def listed(filled: Database) -> Database:
    """A bucket with folders, each object older than the one before; and another channel's."""
    put(filled, *(row(path, at=START - timedelta(hours=number)) for number, path in enumerate(PATHS)))
    put(filled, row("a/other", channel="T_2"))
    return filled


def files(database: Database, place: Place, sort: Sort = Sort(), limit: int = 100) -> list[str]:  # noqa: B008
    with database.read() as tx:
        return [one.path for one in objects.files(tx, place, sort, Part(limit=limit))]


def folders(database: Database, place: Place, *, descending: bool = False, limit: int = 100) -> list[str]:
    with database.read() as tx:
        return objects.folders(tx, place, descending=descending, limit=limit)


def place(prefix: str = "", **more: Any) -> Place:
    return Place(channel="T_1", bucket="b", **{"prefix": prefix, "folder": prefix[: prefix.rfind("/") + 1], **more})


def test_a_folder_has_files_and_folders_sorted_as_bytes(listed: Database) -> None:
    assert files(listed, place()) == ["a", "a0"]
    assert folders(listed, place()) == ["B", "a", "a.b", "b_%", "b__"]
    assert folders(listed, place(), descending=True, limit=2) == ["b__", "b_%"]
    assert files(listed, place("a/")) == ["a/1", "a/3"]
    assert folders(listed, place("a/")) == ["2"]
    assert (files(listed, place("none/")), folders(listed, place("none/"))) == ([], [])


def test_a_deep_listing_has_every_file(listed: Database) -> None:
    assert files(listed, place(deep=True)) == sorted(PATHS)
    assert files(listed, place("a/2", folder="", deep=True)) == ["a/2/x", "a/2/y"]


def test_files_are_sorted_by_time_and_limited(listed: Database) -> None:
    oldest_first = Sort(column="created_at")
    assert files(listed, place(deep=True), oldest_first, limit=3) == list(reversed(PATHS))[:3]
    newest_first = Sort(column="updated_at", descending=True)
    assert files(listed, place(deep=True), newest_first, limit=3) == list(PATHS[:3])


def test_a_part_of_a_list_leaves_others_out(listed: Database) -> None:
    with listed.read() as tx:
        part = Part(offset=1, limit=2, without=("a", "none"))
        found = objects.files(tx, place(deep=True), Sort(), part)
    assert [one.path for one in found] == ["a.b/x", "a/1"]


def test_a_search_is_the_beginning_of_a_name_and_no_pattern(listed: Database) -> None:
    assert folders(listed, place(search="B_%")) == ["b_%"]
    assert folders(listed, place(search="b")) == ["B", "b_%", "b__"]
    assert files(listed, place("a/", search="1")) == ["a/1"]
    assert files(listed, place("a/", search="/1")) == []


def test_versions_are_listed_the_newest_first(filled: Database) -> None:
    with filled.read() as tx:
        found = objects.published(tx, "T_1", limit=2)
        assert [version for version, _ in found] == ["1.2.0-RC.1", "1.2.0"]
        assert found[1][1].created_at == START + timedelta(hours=2)
        assert objects.channel_created_at(tx, "T_1") is not None
        assert objects.channel_created_at(tx, "none") is None
