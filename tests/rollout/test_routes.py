"""Rollouts over HTTP: how they stand, who may move them, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from shelfsight.access import tokens
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken
from shelfsight.api.services import Services
from shelfsight.app import build_app
from tests.rollout.conftest import FIRST, SECOND, STABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2 import Response

    from shelfsight.database.engine import Database
    from tests.rollout.conftest import Shop

ROLLOUT = "/api/v1/channels/T_1/rollout"
MOVES = ("", "/advance", "/hold", "/resume", "/rollback")


@pytest.fixture
def shop(sqlite: Database, make_shop: Callable[[Database], Shop]) -> Shop:
    return make_shop(sqlite)


@pytest.fixture
def services(shop: Shop) -> Services:
    return Services(database=shop.database, storage=shop.registry.storage)


@pytest.fixture
def client(services: Services) -> TestClient:
    return TestClient(build_app(services), headers=bearer(services, "channel:T_1:write"))


def bearer(services: Services, *scopes: str) -> dict[str, str]:
    issued = tokens.create_token(services.database, NewToken(name="test", scopes=scopes), by=COMMAND_LINE)
    return {"authorization": f"Bearer {issued.text}"}


def start(client: TestClient, **more: Any) -> Response:
    answer: Response = client.post(ROLLOUT, json={"version": FIRST, **more})
    return answer


def test_before_a_rollout_there_is_the_stable_version_alone(client: TestClient, shop: Shop) -> None:
    answer = client.get(ROLLOUT)
    assert answer.json() == {
        "channelId": "T_1",
        "sequence": shop.sequence(),
        "stable": STABLE,
        "candidate": None,
        "shadow": None,
        "running": None,
    }
    assert answer.headers["etag"] == f'"{shop.sequence()}"'


def test_a_rollout_says_where_it_is_since_when_for_whom_and_what_comes_next(client: TestClient, shop: Shop) -> None:
    wanted = {
        "percentage": 12.5,
        "stages": [20, 60],
        "platforms": ["web", "ios", "web"],
        "tiers": ["high"],
        "threshold": 0.1,
        "minAppVersion": "2.1.0",
        "reason": "new camera",
    }
    answer = start(client, **wanted)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == ROLLOUT
    assert client.get(ROLLOUT).json() == answer.json()
    running = answer.json()["running"]
    rollout = running.pop("rollout")
    assert running == {
        "version": FIRST,
        "state": "rolling",
        "stage": {"shadow": False, "percentage": 12.5},
        "nextStage": {"shadow": False, "percentage": 20},
        "rollbackThreshold": 0.1,
        "minAppVersion": "2.1.0",
    }
    (row,) = shop.rollouts()
    own = {"id": row.id, "version": FIRST, "stages": [20, 60], "platforms": ["web", "ios"], "tiers": ["high"]}
    assert own | {"outcome": "", "reason": "new camera", "heldAt": None, "endedAt": None} == {
        name: value for name, value in rollout.items() if name not in {"startedAt", "startedBy", "stageAt"}
    }
    assert rollout["startedBy"].startswith("token:")
    assert answer.json()["candidate"] == {"version": FIRST, "percentage": 12.5}
    assert row.salt not in answer.text


def test_without_a_share_it_begins_in_shadow_and_goes_through_every_state(client: TestClient) -> None:
    begun = start(client).json()
    assert (begun["running"]["state"], begun["shadow"]) == ("shadow", {"version": FIRST, "percentage": 10})
    for move, state in (("/hold", "held"), ("/resume", "shadow"), ("/advance", "rolling")):
        assert client.post(f"{ROLLOUT}{move}").json()["running"]["state"] == state
    held = client.post(f"{ROLLOUT}/hold", json={"reason": "wait for Monday"}).json()["running"]["rollout"]
    assert (held["reason"], held["heldAt"] is None) == ("wait for Monday", False)
    back = client.post(f"{ROLLOUT}/advance", json={"shadowPercentage": 30}).json()
    assert (back["running"]["state"], back["shadow"]["percentage"]) == ("held", 30)


def test_what_was_is_listed_page_by_page(client: TestClient) -> None:
    for _ in range(3):
        start(client)
        client.post(f"{ROLLOUT}/rollback", json={"reason": "beeps"})
    first = client.get(f"{ROLLOUT}s", params={"limit": 2})
    rest = client.get(f"{ROLLOUT}s", params={"limit": 2, "cursor": first.json()["nextCursor"]}).json()
    found = first.json()["items"] + rest["items"]
    assert [(one["outcome"], one["reason"]) for one in found] == [("rolled_back", "beeps")] * 3
    assert sorted((one["id"] for one in found), reverse=True) == [one["id"] for one in found]
    assert rest["nextCursor"] is None


def test_who_sends_what_they_have_seen_does_not_go_two_stages(client: TestClient, shop: Shop) -> None:
    seen = start(client).headers["etag"]
    first, second = (client.post(f"{ROLLOUT}/advance", headers={"if-match": seen}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 412)
    assert shop.told() == (STABLE, f"{FIRST} 10 %", None)
    for move in ("", "/rollback", "/hold", "/resume"):
        body = {"version": SECOND} if move == "" else {}
        assert client.post(f"{ROLLOUT}{move}", json=body, headers={"if-match": seen}).status_code == 412
    assert client.post(f"{ROLLOUT}/rollback", headers={"if-match": first.headers["etag"]}).status_code == 200


def test_a_repeated_advance_with_the_same_key_goes_one_stage(client: TestClient, shop: Shop) -> None:
    start(client)
    answers = [client.post(f"{ROLLOUT}/advance", headers={"idempotency-key": "a"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert shop.told() == (STABLE, f"{FIRST} 10 %", None)


@pytest.mark.parametrize(
    ("wanted", "status", "detail"),
    [
        ({"version": "9.9.9"}, 404, "T_1 has no version 9.9.9; it has 1.0.2, 1.0.1, 1.0.0"),
        ({"version": STABLE}, 409, "is the stable one"),
        ({}, 422, "version"),
        ({"version": FIRST, "percentage": 0}, 422, "greater than 0"),
        ({"version": FIRST, "percentage": 101}, 422, "less than or equal to 100"),
        ({"version": FIRST, "percentage": 0.001}, 422, "to 0 % of the devices is none"),
        ({"version": FIRST, "percentage": 100}, 422, "100 % at once is no rollout"),
        ({"version": FIRST, "percentage": "10"}, 422, "percentage"),
        ({"version": FIRST, "percentage": 10, "shadowPercentage": 10}, 422, "exclude each other"),
        ({"version": FIRST, "stages": [50, 10]}, 422, "each larger than the one before"),
        ({"version": FIRST, "platforms": ["windows"]}, 422, "platforms"),
        ({"version": FIRST, "tiers": ["huge"]}, 422, "tiers"),
        ({"version": FIRST, "threshold": 5}, 422, "threshold"),
        ({"version": FIRST, "minAppVersion": "new"}, 422, "'new' is no version of an app"),
        ({"version": FIRST, "salt": "mine"}, 422, "salt"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(
    client: TestClient, shop: Shop, wanted: dict[str, Any], status: int, detail: str
) -> None:
    before = shop.standing()
    answer = client.post(ROLLOUT, json=wanted)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert detail in json.dumps(answer.json())
    assert shop.standing() == before


def test_a_move_without_its_rollout_is_refused(client: TestClient) -> None:
    for move in ("/advance", "/hold", "/resume"):
        answer = client.post(f"{ROLLOUT}{move}")
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "nothing is being rolled out in T_1: `shelfsight rollout start T_1 VERSION`",
        )
    start(client)
    assert start(client).status_code == 409
    assert client.post(f"{ROLLOUT}/resume").status_code == 409
    assert client.post(f"{ROLLOUT}/advance", json={"shadowPercentage": 10}).status_code == 409


@pytest.mark.parametrize("scopes", [("channel:default:write",), ("channel:T_1:read",), ("device",), ()])
def test_who_may_not_write_moves_nothing(
    client: TestClient, services: Services, shop: Shop, scopes: tuple[str, ...]
) -> None:
    before = shop.standing()
    headers = {"authorization": "Bearer ss_wrong_token"}
    if scopes == ("device",):
        wanted = NewToken(name="till", scopes=scopes, channel="T_1")
        headers["authorization"] = f"Bearer {tokens.create_token(services.database, wanted, by=COMMAND_LINE).text}"
    elif scopes:
        headers = bearer(services, *scopes)
    for move in MOVES:
        answer = client.post(f"{ROLLOUT}{move}", headers=headers, json={"version": FIRST} if move == "" else {})
        assert answer.status_code == (403 if scopes else 401)
    may_read = scopes == ("channel:T_1:read",)
    for path in (ROLLOUT, f"{ROLLOUT}s"):
        assert client.get(path, headers=headers).is_success is may_read
    assert shop.standing() == before


@pytest.mark.parametrize("path", ["rollout", "rollouts"])
def test_a_channel_that_is_not_there_is_said_so(client: TestClient, services: Services, path: str) -> None:
    admin = bearer(services, "admin")
    assert client.get(f"/api/v1/channels/T_9/{path}", headers=admin).status_code == 404
    if path == "rollout":
        for move in MOVES:
            body = {"version": FIRST} if move == "" else {}
            assert client.post(f"/api/v1/channels/T_9/rollout{move}", headers=admin, json=body).status_code == 404


def test_a_damaged_version_is_refused(client: TestClient, shop: Shop) -> None:
    shop.registry.storage.delete([f"ml-models/T_1/v{FIRST}/model.json"])
    answer = start(client)
    assert (answer.status_code, shop.told()) == (422, (STABLE, None, None))
    assert "model.json is not the file that the manifest names" in answer.json()["detail"]
