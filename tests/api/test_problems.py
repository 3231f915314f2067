"""Refusals and failures, as documents and in the audit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import structlog

from shelfsight.api.refusals import PER_MINUTE, PER_MINUTE_AND_ADDRESS, RefusalLog, is_refusal

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from tests.api.conftest import World


@pytest.mark.parametrize(
    ("kind", "status", "code", "detail"),
    [
        ("missing", 404, "not_found", "product p1 does not exist"),
        ("conflict", 409, "conflict", "it is there already"),
        ("busy", 503, "unavailable", "the queue is full: try again"),
        ("partner", 502, "vendure_access", "Vendure does not know us: log in there"),
    ],
)
def test_an_error_of_ours_is_a_problem_with_its_sentence(
    world: World, kind: str, status: int, code: str, detail: str
) -> None:
    answer = world.client().get(f"/probe/errors/{kind}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    document = answer.json()
    assert (document["type"], document["status"]) == (f"urn:shelfsight:problem:{code}", status)
    assert document["detail"] == detail
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("retry-after") == ("5" if status == 503 else None)


@pytest.mark.parametrize(("kind", "status"), [("bug", 500), ("output", 500), ("database", 503)])
def test_a_failure_tells_an_id_and_the_log_tells_the_rest(world: World, kind: str, status: int) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = world.client().get(f"/probe/errors/{kind}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert not re.search(r"hunter2|10\.0|/home|KeyError|Traceback", answer.text)
    [entry] = [entry for entry in logs if entry["event"] == "request_failed"]
    assert entry["id"] == answer.json()["instance"]
    assert answer.headers["x-content-type-options"] == "nosniff"  # it passed all that answers pass


def test_what_is_not_there_and_what_cannot_be_done_are_problems_too(world: World) -> None:
    client = world.client()
    missing, wrong = client.get("/nothing"), client.put("/healthz")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:shelfsight:problem:not_found")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["type"] == "urn:shelfsight:problem:method_not_allowed"
    assert client.put("/api/v1/tokens").headers["allow"] == "GET, POST"


def test_wrong_input_is_named_field_by_field_and_never_repeated(world: World) -> None:
    body = {"text": 5, "times": "2", "more": "hunter2"}
    answer = world.client("admin").post("/probe/notes", json=body)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"body.text", "body.times", "body.more"}
    assert "hunter2" not in answer.text
    assert world.refused()[3:] == (422, "invalid_request")


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b'{"text": "\\u0000"}', b'{"text": "\\ud800"}', b"nul"]
)
def test_a_body_that_makes_no_sense_is_refused(world: World, body: bytes) -> None:
    answer = world.client("admin").post("/probe/notes", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert world.refused()[1:4] == ("POST", "/probe/notes", answer.status_code)


@pytest.mark.parametrize(
    "path", ["/api/v1/../../etc/passwd", "/%2e%2e/secret", "/a/%252e%252e/b", "/a/..%5cb", "/x%5c..", "/api/%00"]
)
def test_a_path_that_climbs_is_audited_as_it_was_sent(world: World, path: str) -> None:
    refusals = RefusalLog(world.database)
    refusals.note("nobody", "192.0.2.1", "GET", path, 404, "not_found")
    assert world.refused() == ("nobody", "GET", path, 404, "not_found")


def test_a_plain_404_is_not_audited(world: World) -> None:
    assert world.client().get("/a..b/nothing").status_code == 404
    assert world.audit() == []


def test_a_climbing_request_to_the_server_is_audited(world: World) -> None:
    assert world.client().get("/api/%2e%2e/%2e%2e/etc/passwd").status_code == 404
    assert world.refused() == ("nobody", "GET", "/api/%2e%2e/%2e%2e/etc/passwd", 404, "not_found")


def test_a_path_of_files_that_climbs_is_audited_once(world: World) -> None:
    assert world.client().get("/assets/ml-models/T_1/latest/..%2f..%2fsecret").status_code in {400, 404}
    assert len(world.audit()) == 1


def test_a_nul_in_path_or_query_is_refused_before_a_database_sees_it(world: World) -> None:
    client = world.client("admin")
    for path in ("/api/v1/tokens/%00", "/api/v1/audit?channel=%00"):
        assert client.get(path).status_code == 422
    assert len(world.audit()) == 2


def test_successes_and_plain_conflicts_are_no_refusals() -> None:
    assert [is_refusal(status, "/x") for status in (200, 304, 404, 409, 412, 500, 503)] == [False] * 7
    assert all(is_refusal(status, "/x") for status in (400, 401, 403, 413, 415, 422, 429))


def test_one_address_cannot_fill_the_disk_with_refusals(world: World) -> None:
    client = world.client()
    for _ in range(PER_MINUTE_AND_ADDRESS + 20):
        assert client.get("/api/v1/me").status_code == 401
    assert len(world.audit()) == PER_MINUTE_AND_ADDRESS
    world.client(address="192.0.2.99").get("/api/v1/me")
    assert len(world.audit()) == PER_MINUTE_AND_ADDRESS + 1


def test_many_addresses_cannot_either(sqlite: Database) -> None:
    class Counted(RefusalLog):
        def __init__(self) -> None:
            super().__init__(sqlite)
            self.written = 0

        def _write(self, *_args: object) -> None:
            self.written += 1

    refusals = Counted()
    for number in range(PER_MINUTE + 50):
        refusals.note("nobody", f"10.0.{number // 250}.{number % 250}", "GET", "/x", 401, "authentication")
    assert refusals.written == PER_MINUTE


def test_odd_characters_and_long_paths_reach_the_audit_shortened_and_printable(each_world: World) -> None:
    refusals = RefusalLog(each_world.database)
    refusals.note("nobody", None, "GET", "/\x00\x1b[31m\n" + "x" * 5000, 400, "bad_request")
    path = each_world.audit()[0].details["path"]
    assert path.startswith("/\\x00\\x1b[31m\\nxxx")
    assert path.isprintable()
    assert len(path) < 220


def test_a_database_that_is_away_does_not_change_the_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shelfsight.errors import DatabaseError

    def away(**_options: object) -> object:
        raise DatabaseError("away")

    monkeypatch.setattr(world.database, "write", away)
    assert world.client().get("/api/v1/me").status_code == 401
