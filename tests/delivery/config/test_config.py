"""What a device gets that asks for its config, and what it gets when it asks again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.rollout.buckets import is_in
from tests.delivery.config.shop import FILES, FUNCTION, PHONE_FILES, ConfigShop, channel_path
from tests.delivery.shop import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTH_WAYS = (FUNCTION, channel_path("default"))
ALLOWED = {
    "authorization", "apikey", "x-client-info", "content-type", "x-app-platform", "x-device-tier", "x-locale",
    "x-device-id", "if-none-match", "x-region", "cache-control", "pragma",
}  # fmt: skip
VARY = "X-App-Platform, X-Device-Tier, X-Device-Id"
BY_KEY = f"{VARY}, apikey, Authorization"


def assert_any_origin_may_read(headers: Mapping[str, str]) -> None:
    """Check what a browser asks of an answer of another origin."""
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-expose-headers"] == "ETag, Retry-After"


@pytest.mark.parametrize("path", BOTH_WAYS)
def test_device_accepts_what_it_gets(shop: ConfigShop, path: str) -> None:
    shop.publish("1.0.0", stable=True, min_app_version="2.1.0")
    reply = shop.get(path, x_app_platform="web", x_device_tier="low")
    document = shop.accepted(reply).document
    assert (document["channelId"], document["platform"], document["deviceTier"]) == ("default", "web", "low")
    assert (document["activeModelVersion"], document["rolloutPercentage"]) == ("v1.0.0", 100)
    assert (document["rollbackThreshold"], document["minAppVersion"]) == (0.05, "2.1.0")
    assert document["sequence"] == shop.sequence()
    assert document["files"]["v1.0.0"] == {
        "baseUrl": "/assets/ml-models/default/v1.0.0/",
        "manifest": {"size": len(shop.manifest("1.0.0")), "sha256": sha256(shop.manifest("1.0.0"))},
        "model": "model.shards.json",
    }
    assert "candidate" not in document
    assert "shadowModelVersion" not in document


@pytest.mark.parametrize(("path", "vary"), [(FUNCTION, BY_KEY), (channel_path("default"), VARY)])
def test_headers_are_those_that_devices_and_caches_go_by(shop: ConfigShop, path: str, vary: str) -> None:
    shop.publish("1.0.0", stable=True)
    reply = shop.get(path)
    tag = reply.json["etag"]
    assert reply.headers == {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        "x-content-type-options": "nosniff",
        "etag": tag,
        "cache-control": "public, max-age=21600, stale-while-revalidate=86400",
        "vary": vary,
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "ETag, Retry-After",
    }
    unchanged = shop.get(path, if_none_match=tag)
    assert (unchanged.status, unchanged.body) == (304, b"")
    left_out = {"content-type", "content-length", "x-content-type-options"}
    assert unchanged.headers == {name: value for name, value in reply.headers.items() if name not in left_out}


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_every_method_gets_the_same(small_shop: ConfigShop, method: str) -> None:
    small_shop.publish("1.0.0", stable=True)
    wanted = small_shop.get()
    reply = small_shop.get(FUNCTION, method)
    assert (reply.status, reply.headers) == (200, wanted.headers)
    assert reply.body == (b"" if method == "HEAD" else wanted.body)
    assert small_shop.get(FUNCTION, method, if_none_match=wanted.headers["etag"]).status == 304


def test_device_that_has_it_is_told_so_however_it_says_which(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    tag = small_shop.get().headers["etag"]
    for tags in (tag, f"W/{tag}", f'"other", {tag}', f'W/"a",W/{tag}', "*"):
        assert small_shop.get(if_none_match=tags).status == 304
    for tags in ('"other"', tag.strip('"'), tag.upper(), "", '"' * 4000):
        assert small_shop.get(if_none_match=tags).status == 200


@pytest.mark.parametrize(
    ("platform", "tier", "name"),
    [
        ("web", "any", "model.shards.json"),
        ("universal", "any", "model.shards.json"),
        ("ios", "any", "model.ort"),
        ("android", "low", "model.ort"),
        ("desktop", "low", "model.int8.onnx"),
        ("desktop", "high", "model.onnx"),
    ],
)
def test_every_device_is_told_of_its_own_model(small_shop: ConfigShop, platform: str, tier: str, name: str) -> None:
    small_shop.publish("1.0.0", stable=True)
    document = small_shop.accepted(small_shop.get(x_app_platform=platform, x_device_tier=tier)).document
    assert document["files"]["v1.0.0"]["model"] == name


def test_device_without_a_file_for_it_has_no_model(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", PHONE_FILES, stable=True)
    small_shop.publish("1.1.0", FILES, rollout_percentage=50)
    assert small_shop.get(x_app_platform="web").status == 404
    phone = small_shop.accepted(small_shop.get(x_app_platform="ios")).document
    assert (phone["activeModelVersion"], phone["candidate"]["version"]) == ("v1.0.0", "v1.1.0")


@pytest.mark.parametrize("path", [*BOTH_WAYS, channel_path("nobody")])
def test_without_a_model_the_answer_is_what_apps_look_for(shop: ConfigShop, path: str) -> None:
    shop.publish("1.0.0", rollout_percentage=50)  # a candidate alone is none
    for headers in ({}, {"x_device_id": "till-1"}, {"if_none_match": "*"}):
        reply = shop.get(path, **headers)
        assert (reply.status, reply.json) == (404, {"error": "No active model found"})
        assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")
        assert_any_origin_may_read(reply.headers)


def test_rollout_and_shadow_are_told_with_their_shares_and_salts(shop: ConfigShop) -> None:
    shop.publish("1.0.0", stable=True)
    shop.publish("1.1.0", rollout_percentage=12.5, min_app_version="3.0.0")
    shop.publish("1.2.0", shadow_mode=True, shadow_percentage=10)
    document = shop.accepted(shop.get(x_app_platform="web")).document
    candidate = document["candidate"]
    assert (candidate["version"], candidate["rolloutBasisPoints"]) == ("v1.1.0", 1250)
    assert candidate["minAppVersion"] == "3.0.0"
    assert (document["shadowModelVersion"], document["shadowPercentage"]) == ("v1.2.0", 10)
    assert len({candidate["salt"], document["shadowSalt"], ""}) == 3
    assert set(document["files"]) == {"v1.0.0", "v1.1.0", "v1.2.0"}


def test_rollout_for_some_platforms_is_told_to_those(shop: ConfigShop) -> None:
    shop.publish("1.0.0", stable=True)
    shop.publish("1.1.0", rollout_percentage=10)
    shop.sql("""UPDATE shelfsight.rollouts SET platforms = '["ios"]', tiers = '["high"]'""")
    for platform, tier, is_told in (("ios", "high", True), ("ios", "any", False), ("web", "high", False)):
        document = shop.accepted(shop.get(x_app_platform=platform, x_device_tier=tier)).document
        assert ("candidate" in document) is is_told


def test_server_decides_for_a_device_as_the_device_would(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    small_shop.publish("1.1.0", rollout_percentage=40)
    small_shop.publish("1.2.0", shadow_mode=True, shadow_percentage=60)
    told = small_shop.accepted(small_shop.get()).document
    tags: dict[tuple[bool, bool], set[str]] = {}
    for number in range(60):
        device = f"till-{number}"
        reply = small_shop.get(x_device_id=device)
        document = small_shop.accepted(reply).document
        in_rollout = is_in(told["candidate"]["salt"], device, 4000)
        in_shadow = is_in(told["shadowSalt"], device, 6000)
        assert document.get("candidate", {}).get("rolloutBasisPoints") == (10_000 if in_rollout else None)
        assert document.get("shadowPercentage") == (100 if in_shadow else None)
        assert set(document["files"]) == {"v1.0.0", *(["v1.1.0"] * in_rollout), *(["v1.2.0"] * in_shadow)}
        assert reply.headers["cache-control"].startswith("private, ")
        tags.setdefault((in_rollout, in_shadow), set()).add(reply.headers["etag"])
    assert len(tags) == 4
    assert all(len(same) == 1 for same in tags.values())
    assert len(set().union(*tags.values())) == 4


def test_only_as_much_is_signed_as_can_differ(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    small_shop.publish("1.1.0", rollout_percentage=50)
    for number in range(40):
        small_shop.get(x_device_id=f"till-{number}")
        small_shop.get(x_app_platform=f"strange-{number}", x_locale=f"{number}")
    held = small_shop.app._keeper.fresh("default")
    assert held is not None
    assert len(held.replies) == 3  # in, out, and who does not say


def test_id_that_is_too_long_is_none(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    reply = small_shop.get(x_device_id="d" * 201)
    assert reply.headers["cache-control"].startswith("public, ")


@pytest.mark.parametrize(
    ("path", "methods"), [(FUNCTION, "GET, POST, HEAD, OPTIONS"), (channel_path("T_1"), "GET, HEAD, OPTIONS")]
)
def test_browsers_may_ask_with_every_header_of_a_client(small_shop: ConfigShop, path: str, methods: str) -> None:
    reply = small_shop.get(path, "OPTIONS", origin="https://till.example", access_control_request_method="POST")
    assert (reply.status, reply.body) == (204, b"")
    assert set(reply.headers["access-control-allow-headers"].split(", ")) == ALLOWED
    assert reply.headers["access-control-allow-methods"] == methods
    assert reply.headers["access-control-allow-origin"] == "*"
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        refused = small_shop.get(path, method)
        assert (refused.status, refused.headers["allow"]) == (405, methods)
        assert_any_origin_may_read(refused.headers)
    assert (small_shop.get(path, "POST").status == 405) is (path != FUNCTION)


@pytest.mark.parametrize("path", ["/functions/v1/other", "/v1/channels/T_1", "/v1/", "/functions/v1/a/../b"])
def test_other_functions_are_not_there(small_shop: ConfigShop, path: str) -> None:
    reply = small_shop.get(path, "POST")
    assert (reply.status, reply.json) == (404, {"error": "there is no such function"})
    assert_any_origin_may_read(reply.headers)


def test_nothing_of_a_request_is_in_its_answer(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    mark = "s3cr3t-m4rk"
    headers = dict.fromkeys(
        ("x_app_platform", "x_device_tier", "x_locale", "x_device_id", "apikey", "if_none_match", "x_region"), mark
    )
    for path in (FUNCTION, channel_path(mark), f"/functions/v1/{mark}"):
        reply = small_shop.get(path, **headers, authorization=f"Bearer {mark}")
        assert mark not in f"{reply.headers}{reply.body!r}"
