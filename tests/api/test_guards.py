"""Who gets in, by token and by cookie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database.tables import tokens

if TYPE_CHECKING:
    from tests.api.conftest import World

NOTE = {"text": "hello"}


@pytest.mark.parametrize(
    ("scopes", "channel", "allowed"),
    [
        (("admin",), None, {"device", "read", "write"}),
        (("channel:T_1:write",), None, {"device", "read", "write"}),
        (("channel:T_1:read",), None, {"device", "read"}),
        (("device",), "T_1", {"device"}),
        (("channel:T_2:write",), None, set()),
        (("device",), "T_2", set()),
    ],
)
def test_a_token_opens_what_its_scopes_say(
    world: World, scopes: tuple[str, ...], channel: str | None, allowed: set[str]
) -> None:
    client = world.client(*scopes, channel=channel)
    answers = {
        "device": client.get("/probe/T_1/device"),
        "read": client.get("/probe/T_1/read"),
        "write": client.put("/probe/T_1/write"),
    }
    assert {name for name, answer in answers.items() if answer.status_code == 200} == allowed
    refused = [answer for answer in answers.values() if answer.status_code != 200]
    assert {answer.status_code for answer in refused} <= {403}
    assert {answer.headers["content-type"] for answer in refused} <= {"application/problem+json"}
    assert len(world.audit()) == len(refused)


def test_the_public_key_of_a_channel_opens_what_its_devices_need(world: World) -> None:
    client = world.client()
    key = {"authorization": "Bearer ck_of_t1"}
    assert client.get("/probe/T_1/device", headers=key).json() == "channel:T_1"
    assert client.get("/probe/T_2/device", headers=key).status_code == 403
    assert client.get("/probe/T_1/read", headers=key).status_code == 403
    assert world.refused() == ("channel:T_1", "GET", "/probe/T_1/read", 403, "access")


def test_a_channel_that_is_not_there_looks_like_one_of_somebody_else(world: World) -> None:
    client = world.client("channel:T_1:read")
    assert [client.get(f"/probe/{one}/read").json()["detail"].replace(one, "") for one in ("T_2", "T_9")] == [
        f"{world.refused()[0]} has no right to read on channel : use another token"
    ] * 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "this needs a token or a login"),
        ("Bearer ss_aaaaaaaa_" + "b" * 43, "the token is unknown"),
        ("Bearer ", "the header Authorization must read: Bearer, a space, the token"),
        ("Basic YW5uYTphbm5h", "the header Authorization must read: Bearer, a space, the token"),
    ],
)
def test_who_is_not_known_is_told_why_and_audited(world: World, header: str | None, reason: str) -> None:
    headers = {"authorization": header} if header else {}
    answer = world.client().get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == 'Bearer realm="shelfsight"'
    assert answer.json()["detail"].startswith(reason)
    assert world.refused() == ("nobody", "GET", "/api/v1/me", 401, "authentication")


@pytest.mark.parametrize(("column", "reason"), [("expires_at", "has expired"), ("revoked_at", "has been revoked")])
def test_a_token_that_has_ended_is_refused_and_audited(world: World, column: str, reason: str) -> None:
    client = world.client("admin")
    with world.database.write() as connection:
        connection.execute(update(tokens).values({column: datetime.now(UTC) - timedelta(seconds=1)}))
    answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert reason in answer.json()["detail"]
    assert world.refused()[3:] == (401, "authentication")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://testserver"},
    ],
)
def test_a_page_of_this_server_may_change_things_with_the_cookie(world: World, headers: dict[str, str]) -> None:
    answer = world.browser().post("/probe/notes", json=NOTE, headers=headers)
    assert (answer.status_code, answer.json()["actor"]) == (201, "admin:anna")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://testserver@evil.example"},
        {"origin": "http://[bad"},
    ],
)
def test_a_page_of_another_site_changes_nothing_with_the_cookie(world: World, headers: dict[str, str]) -> None:
    for extra in ({}, {"idempotency-key": "k"}):
        answer = world.browser().post("/probe/notes", json=NOTE, headers={**headers, **extra})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:shelfsight:problem:access")
    assert world.probe.calls == []
    assert world.refused() == ("admin:anna", "POST", "/probe/notes", 403, "access")


def test_reading_with_the_cookie_needs_nothing_else(world: World) -> None:
    answer = world.browser().get("/api/v1/me", headers={"sec-fetch-site": "cross-site"})
    assert answer.json() == {"actor": "admin:anna", "scopes": ["admin"], "channelId": None}


def test_a_token_counts_before_the_cookie(world: World) -> None:
    browser = world.browser()
    answer = browser.get("/probe/T_1/device", headers={"authorization": "Bearer ck_of_t1"})
    assert answer.json() == "channel:T_1"
    assert browser.get("/api/v1/me", headers={"authorization": "Bearer no"}).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_open_lines(world: World) -> None:
    browser = world.browser()
    login = {"name": "anna", "password": "correct horse battery"}
    plain = browser.post("/api/v1/sessions", json=login).headers["set-cookie"]
    secure = browser.post("https://testserver/api/v1/sessions", json=login).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(plain.split("; "))
    assert "Secure" not in plain.split("; ")
    assert "Secure" in secure.split("; ")
