"""Tills on pages of other origins: what they call is open to them, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import World

OPEN = (
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/channels/T_1/sales"),
    ("GET", "/api/v1/channels/T_1/till/products"),
)
ORIGIN = "https://shop.example"


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_a_browser_may_call_from_any_origin_what_a_till_needs(world: World, method: str, path: str) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": method,
             "access-control-request-headers": "authorization, content-type, if-none-match"}  # fmt: skip
    answer = world.client().options(path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_without_a_token_it_is_refused_and_the_page_may_read_why(world: World, method: str, path: str) -> None:
    answer = world.client().request(method, path, json={}, headers={"origin": ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path", ["/api/v1/channels", "/api/v1/channels/T_1", "/api/v1/channels/T_1/sales/x", "/admin"]
)
def test_everything_else_stays_closed(world: World, path: str) -> None:
    answer = world.client("admin").get(path, headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


def test_answers_to_tills_say_how_often_the_config_has_changed(world: World) -> None:
    client = world.client("device", channel="T_1")
    answer = client.get("/api/v1/channels/T_1/till/products", headers={"origin": ORIGIN})
    assert answer.headers["x-shelfsight-sequence"] == "0"
    assert "X-Shelfsight-Sequence" in answer.headers["access-control-expose-headers"]
