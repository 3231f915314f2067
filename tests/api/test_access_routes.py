"""Logging in, administrators, tokens and the audit over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.access.administrators import issue_setup_link
from tests.api.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.api.conftest import World

SAME_SITE = {"sec-fetch-site": "same-origin"}


def test_a_setup_link_makes_an_administrator_who_logs_in_and_out(each_world: World) -> None:
    client = each_world.client()
    setup = {"token": issue_setup_link(each_world.database), "name": "anna", "password": PASSWORD}
    assert client.post("/api/v1/setup", json=setup).json() == {"name": "anna"}
    assert client.post("/api/v1/setup", json=setup).status_code == 401
    answer = client.post("/api/v1/sessions", json={"name": "anna", "password": PASSWORD})
    assert answer.json()["administrator"] == "anna"
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/api/v1/me").json()["actor"] == "admin:anna"
    kept = dict(client.cookies)
    assert client.delete("/api/v1/sessions/current", headers=SAME_SITE).status_code == 204
    assert client.get("/api/v1/me").status_code == 401
    client.cookies.update(kept)
    assert client.get("/api/v1/me").json()["detail"] == "the session has ended: log in again"


def test_too_many_logins_are_refused_with_when_to_come_back_and_audited(world: World) -> None:
    client = world.client()
    wrong = {"name": "anna", "password": "wrong horse battery"}
    statuses = [client.post("/api/v1/sessions", json=wrong).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    last = client.post("/api/v1/sessions", json=wrong)
    assert last.headers["retry-after"] == "60"
    assert world.refused() == ("nobody", "POST", "/api/v1/sessions", 429, "too_many_requests")
    assert "wrong horse" not in repr(world.audit())


def test_an_administrator_invites_another(world: World) -> None:
    admin = world.client("admin")
    link = admin.post("/api/v1/administrators", json={"name": "bob"}).json()
    assert link["path"] == f"/setup?token={link['token']}"
    setup = {"token": link["token"], "name": "bob", "password": PASSWORD}
    assert world.client().post("/api/v1/setup", json=setup).status_code == 201
    assert [one["name"] for one in admin.get("/api/v1/administrators").json()["items"]] == ["bob"]
    assert admin.post("/api/v1/administrators", json={"name": "bob"}).status_code == 409
    assert admin.delete("/api/v1/administrators/bob").status_code == 409  # the last one


def test_a_password_is_changed_by_who_knows_the_present_one(world: World) -> None:
    browser = world.browser()
    path, new = "/api/v1/me/password", "another horse battery"
    wrong = browser.put(path, json={"password": "no", "newPassword": new}, headers=SAME_SITE)
    short = browser.put(path, json={"password": PASSWORD, "newPassword": "short"}, headers=SAME_SITE)
    right = browser.put(path, json={"password": PASSWORD, "newPassword": new}, headers=SAME_SITE)
    assert [answer.status_code for answer in (wrong, short, right)] == [401, 422, 204]
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.post("/api/v1/sessions", json={"name": "anna", "password": new}).status_code == 201
    as_token = world.client("admin").put(path, json={"password": new, "newPassword": PASSWORD})
    assert as_token.status_code == 409


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(world: World) -> None:
    admin = world.client("admin")
    wanted = {"name": "till 1", "scopes": ["device"], "channelId": "T_1", "expiresAt": "2999-01-01T00:00:00Z"}
    made = admin.post("/api/v1/tokens", json=wanted).json()
    till = world.client()
    till.headers["authorization"] = f"Bearer {made['token']}"
    assert till.get("/api/v1/me").json() == {
        "actor": f"token:{made['id']}",
        "scopes": ["device"],
        "channelId": "T_1",
    }
    listed = admin.get("/api/v1/tokens").json()["items"]
    assert listed[0]["name"] == "till 1"
    assert "token" not in listed[0]
    assert admin.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert till.get("/api/v1/me").json()["detail"].startswith("the token has been revoked")
    assert admin.delete("/api/v1/tokens/nothing").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": ["admins"]},
        {"scopes": []},
        {"scopes": ["device"]},
        {"scopes": "admin"},
        {"expiresAt": "2001-01-01T00:00:00Z"},
        {"expiresAt": "2999-01-01T00:00:00"},
        {"extra": 1},
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(world: World, wrong: dict[str, object]) -> None:
    admin = world.client("admin")
    answer = admin.post("/api/v1/tokens", json={"name": "x", "scopes": ["admin"], **wrong})
    assert (answer.status_code, len(admin.get("/api/v1/tokens").json()["items"])) == (422, 1)


def test_lists_link_to_their_next_page(world: World) -> None:
    admin = world.client("admin")
    for number in range(4):
        admin.post("/api/v1/tokens", json={"name": str(number), "scopes": ["admin"]})
    path, names = "/api/v1/tokens?limit=2", []
    while path:
        answer = admin.get(path)
        names += [one["name"] for one in answer.json()["items"]]
        link = answer.headers.get("link")
        assert (link is None) == (answer.json()["nextCursor"] is None)
        path = link.removesuffix('>; rel="next"').removeprefix("<") if link else ""
    assert names == ["3", "2", "1", "0", "test"]
    for wrong in ("cursor=x", "limit=0", "limit=1001", "limit=x"):
        assert admin.get(f"/api/v1/tokens?{wrong}").status_code == 422


def test_the_audit_says_who_did_what_from_where(world: World) -> None:
    admin = world.client("admin")
    made = admin.post("/api/v1/tokens", json={"name": "till", "scopes": ["device"], "channelId": "T_1"}).json()
    [entry] = admin.get("/api/v1/audit?channel=T_1").json()["items"]
    assert (entry["action"], entry["subject"], entry["address"]) == ("token_created", made["id"], "192.0.2.7")
    assert entry["actor"].startswith("token:")
    assert made["token"] not in str(entry)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/x"),
        ("GET", "/api/v1/administrators"),
        ("POST", "/api/v1/administrators"),
        ("DELETE", "/api/v1/administrators/x"),
        ("PUT", "/api/v1/me/password"),
        ("GET", "/api/v1/audit"),
    ],
)
def test_access_is_the_business_of_administrators(world: World, method: str, path: str) -> None:
    body = {"name": "x", "scopes": ["admin"]} if method in {"POST", "PUT"} else None
    for client, status in ((world.client("channel:T_1:write"), 403), (world.client(), 401)):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert world.refused()[1:4] == (method, path, status)
