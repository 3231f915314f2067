"""`/rest/v1`: which rows of model_metadata whom it shows, and in which form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database.tables import channels
from shelfsight.delivery.supabase.columns import COLUMNS
from tests.delivery.shop import FILES, sha256

if TYPE_CHECKING:
    from tests.delivery.supabase.world import World

ONE = "application/vnd.pgrst.object+json"


@pytest.fixture
def rows(world: World) -> World:
    """T_1 has an active version and one that is being tested."""
    world.publish("T_1", "1.1.0", status="testing")
    return world


def versions(world: World, key: str = "") -> list[str]:
    return [row["version"] for row in world.select("select=version&order=id", key=key).json]


def test_every_key_sees_what_it_may_of_its_channel(rows: World) -> None:
    reader = rows.token("channel:T_1:read")
    device = rows.token("device", channel="T_1")
    assert versions(rows, "ck_T_1") == ["v1.0.0"]
    assert versions(rows, device) == ["v1.0.0"]
    assert versions(rows, reader) == ["v1.0.0", "v1.1.0"]
    assert versions(rows, rows.service["T_1"]) == ["v1.0.0", "v1.1.0"]
    assert versions(rows) == ["v1.0.0"]
    assert versions(rows, "ck_secret") == ["v1.0.0"]


def test_a_row_says_all_there_is_in_postgrests_way(rows: World) -> None:
    (row,) = rows.select("select=*", key="ck_T_1").json
    assert list(row) == list(COLUMNS)
    assert row["channel_id"] == "T_1"
    assert row["checksum_sha256"] == sha256(FILES["model.ort"])
    assert row["input_shape"] == [1, 224, 224, 3]
    assert row["rollback_threshold"] == 0.05
    assert row["created_at"].endswith("+00:00")
    assert row["deprecated_at"] is None


def test_a_private_channel_shows_nothing_without_its_key(rows: World) -> None:
    with rows.database.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "default").values(visibility="private"))
    rows.later()
    reply = rows.select("select=version")
    assert (reply.status, reply.json["code"]) == (403, "42501")
    assert versions(rows, "ck_default") == ["v1.0.0"]


def test_an_order_without_end_is_refused_in_postgrests_way(rows: World) -> None:
    reply = rows.select(f"order={','.join(['id'] * 3000)}", key="ck_T_1")
    assert (reply.status, reply.json["code"]) == (400, "PGRST100")


def test_a_token_of_the_whole_service_is_about_the_default_channel(rows: World) -> None:
    assert versions(rows, rows.token("admin", "channel:T_1:read")) == ["v1.0.0"]


def test_one_row_alone_is_an_object(rows: World) -> None:
    key = rows.service["T_1"]
    reply = rows.select("select=version&version=eq.v1.1.0", key=key, accept=ONE)
    assert (reply.status, reply.json) == (200, {"version": "v1.1.0"})
    assert reply.headers["content-type"].startswith(ONE)
    for query, count in (("version=eq.v9.0.0", 0), ("select=version", 2)):
        reply = rows.select(query, key=key, accept=ONE)
        assert (reply.status, reply.json["code"]) == (406, "PGRST116")
        assert reply.json["details"] == f"The result contains {count} rows"


def test_a_count_comes_with_the_rows_or_alone(rows: World) -> None:
    key = rows.service["T_1"]
    reply = rows.select("select=version&limit=1", key=key, prefer="count=exact")
    assert (reply.status, reply.headers["content-range"], len(reply.json)) == (206, "0-0/2", 1)
    assert rows.select("select=version", key=key).headers["content-range"] == "0-1/*"
    head = rows.select("select=*", key=key, method="HEAD", prefer="count=planned")
    assert (head.status, head.headers["content-range"], head.body) == (200, "0-1/2", b"")
    empty = rows.select("version=eq.none", key=key, prefer="count=exact")
    assert (empty.status, empty.headers["content-range"], empty.json) == (200, "*/0", [])
    reply = rows.select("offset=3", key=key, prefer="count=exact")
    assert (reply.status, reply.json["code"]) == (416, "PGRST103")
    ranged = rows.select("select=version&order=id", key=key, range="1-1", range_unit="items")
    assert [row["version"] for row in ranged.json] == ["v1.1.0"]


def test_a_head_that_is_refused_says_why_in_a_header(rows: World) -> None:
    reply = rows.select("select=none", method="HEAD")
    assert (reply.status, reply.body, reply.headers["proxy-status"]) == (400, b"", "PostgREST; error=42703")


def test_what_is_wrong_is_told_in_postgrests_four_fields(rows: World) -> None:
    reply = rows.select("select=none", key="ck_T_1")
    assert (reply.status, reply.json) == (
        400,
        {
            "code": "42703",
            "details": None,
            "hint": None,
            "message": "column model_metadata.none does not exist",
        },
    )
    assert rows.select("", key="ck_T_1", accept="text/csv").json["code"] == "PGRST107"
    assert rows.select("", key="ck_T_1", accept_profile="shelfsight").json["code"] == "PGRST106"
    assert rows.select("", key="ss_aaaaaaaa_" + "A" * 43).json["code"] == "PGRST301"


@pytest.mark.parametrize(
    "name", ["channels", "tokens", "trainings", "shelfsight.channels", "rpc/rollback", "", "%2e%2e/x"]
)
def test_no_other_table_is_to_be_had(rows: World, name: str) -> None:
    for key in ("ck_T_1", rows.service["T_1"], rows.token("admin")):
        reply = rows.ask("GET", f"/rest/v1/{name}?select=*", key=key)
        assert reply.status == 404
        assert reply.json["code"] in {"PGRST205", "PGRST202"}


def test_writing_is_refused_and_says_where_to_go(rows: World) -> None:
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        for key, status, code in (
            ("", 403, "42501"),
            ("ck_T_1", 403, "42501"),
            (rows.token("channel:T_1:read"), 403, "42501"),
            (rows.service["T_1"], 405, "PGRST117"),
        ):
            reply = rows.ask(method, "/rest/v1/model_metadata?version=eq.v1.0.0", b'{"status":"testing"}', key=key)
            assert (reply.status, reply.json["code"]) == (status, code)
            assert "/api/v1" in reply.json["hint"]
    assert versions(rows, "ck_T_1") == ["v1.0.0"]
