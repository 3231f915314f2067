"""Signed URLs of private channels, and every attempt to get more from one than it grants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shelfsight.access.keys import UrlSecret
from shelfsight.access.url_tokens import Use
from shelfsight.delivery.grants import file_grant, version_grant
from tests.delivery.shop import FILES, SECRET, Shop, served, sha256

if TYPE_CHECKING:
    from shelfsight.access.url_tokens import Grant

HEAD, OTHER_HEAD, BACKBONE = b"head" * 100, b"other head" * 100, b"backbone" * 500
VERSION = version_grant(served("secret"), "1.0.0")
MODEL = file_grant(served("secret"), "1.0.0", "model.json")
OF_VERSION = ("secret/v1.0.0/model.json", f"blobs/{sha256(HEAD)}.bin", f"blobs/{sha256(BACKBONE)}.bin")
ELSEWHERE = (
    "secret/latest/model.json",
    "secret/v1.0.1/model.json",
    "other/v1.0.0/model.json",
    f"blobs/{sha256(OTHER_HEAD)}.bin",
)
FOLDER = "/assets/ml-models"


@pytest.fixture
def secret(shop: Shop) -> Shop:
    """The shop with two private channels; versions of `secret` share a backbone."""
    for channel in ("secret", "other"):
        shop.add_channel(channel, visibility="private")
    shop.publish(channel="other", blobs=[OTHER_HEAD])
    shop.publish(channel="secret", blobs=[HEAD, BACKBONE])
    shop.publish("1.0.1", channel="secret", blobs=[OTHER_HEAD, BACKBONE])
    return shop


@pytest.mark.parametrize("path", OF_VERSION)
def test_signed_version_is_open_with_the_blobs_it_uses(secret: Shop, path: str) -> None:
    reply = secret.get(path + secret.sign(VERSION))
    assert reply.status == 200
    assert reply.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert reply.headers["no-vary-search"] == 'params=("token")'
    assert secret.refusals.noted == []


def test_query_matters_where_a_file_may_change_or_needs_no_token(secret: Shop) -> None:
    secret.publish()
    assert "no-vary-search" not in secret.get("default/v1.0.0/model.json?token=x").headers
    assert "no-vary-search" not in secret.get("secret/latest/model.json?token=ck_secret").headers


@pytest.mark.parametrize("path", ELSEWHERE)
def test_signed_version_opens_nothing_else(secret: Shop, path: str) -> None:
    reply = secret.get(path + secret.sign(VERSION))
    assert (reply.status, reply.json["type"]) == (403, "urn:shelfsight:problem:access")
    assert secret.refusals.noted == [("url:k1", "192.0.2.7", "GET", f"{FOLDER}/{path}", 403, "access")]


def test_signed_file_is_open_alone(secret: Shop) -> None:
    query = secret.sign(MODEL)
    assert secret.get(OF_VERSION[0] + query).body == FILES["model.json"]
    for path in (*OF_VERSION[1:], *ELSEWHERE, "secret/v1.0.0/model.ort"):
        assert secret.get(path + query).status == 403


@pytest.mark.parametrize(
    "grant",
    [
        replace(VERSION, use=Use.UPLOAD),
        replace(VERSION, path="secret/v1.0.0/model.json", use=Use.UPLOAD),
        replace(VERSION, path="secret/v1.0.0/model.json"),
        replace(VERSION, use=Use.FILE),
        replace(VERSION, path="secret/v1.0.0/"),
        replace(VERSION, path="secret/v1.0"),
        replace(VERSION, path="secret"),
        replace(VERSION, path=""),
        replace(VERSION, path="secret/v1.0.0/../v1.0.0"),
        replace(VERSION, bucket="assessment-models"),
        replace(VERSION, channel="other"),
        replace(VERSION, channel="other", path="other/v1.0.0"),
    ],
)
def test_token_of_another_scope_opens_nothing(secret: Shop, grant: Grant) -> None:
    for path in OF_VERSION:
        assert secret.get(path + secret.sign(grant)).status == 403


def test_channel_must_be_the_one_that_uses_the_blob(secret: Shop) -> None:
    query = secret.sign(version_grant(served("other"), "1.0.0"))
    assert secret.get(f"blobs/{sha256(OTHER_HEAD)}.bin{query}").status == 200
    assert secret.get(f"blobs/{sha256(HEAD)}.bin{query}").status == 403


def test_url_that_has_expired_says_so(secret: Shop) -> None:
    for path in OF_VERSION:
        reply = secret.get(path + secret.sign(VERSION, seconds=-1))
        assert (reply.status, reply.json["type"]) == (401, "urn:shelfsight:problem:authentication")
        assert reply.json["error"].startswith("the signed URL has expired, at ")
    assert {noted[0] for noted in secret.refusals.noted} == {"url:k1"}


def test_url_of_a_channel_that_was_deleted_opens_no_later_one_of_its_id(secret: Shop) -> None:
    queries = [secret.sign(one) for one in (VERSION, MODEL)]
    assert [secret.get(OF_VERSION[0] + query).status for query in queries] == [200, 200]
    secret.make_anew("secret")
    secret.publish(channel="secret", blobs=[HEAD, BACKBONE])
    secret.clock.now_s += 2
    asked = [OF_VERSION[0] + query for query in queries] + [path + queries[0] for path in OF_VERSION[1:]]
    for path in asked:
        reply = secret.get(path)
        assert (reply.status, reply.json["type"]) == (401, "urn:shelfsight:problem:authentication")
        assert reply.json["error"] == "the signed URL's channel has been deleted since: ask for another URL"
    assert {noted[0] for noted in secret.refusals.noted} == {"url:k1"}
    assert secret.get(OF_VERSION[0], apikey="ck_secret").status == 200


def test_url_that_was_changed_is_refused(secret: Shop) -> None:
    query = secret.sign(VERSION)
    for changed in (query[:-9] + "A" + query[-8:], query.replace(".", ".A", 1), query[:-1], f"{query}A"):
        reply = secret.get(OF_VERSION[0] + changed)
        assert (reply.status, reply.json["error"]) == (
            401,
            "the signed URL's token is not one of this server's: check that all of the URL was copied",
        )


def test_retired_secret_closes_what_it_signed_in_two_seconds(secret: Shop) -> None:
    query = secret.sign(VERSION)
    assert secret.get(OF_VERSION[0] + query).status == 200
    new = UrlSecret(id="k2", secret=b"2" * 32)
    secret.secrets = (new, SECRET)
    secret.clock.now_s += 2
    assert secret.get(OF_VERSION[0] + query).status == 200
    secret.secrets = (new,)
    secret.clock.now_s += 2
    assert secret.get(OF_VERSION[0] + query).status == 401


def test_token_of_a_url_is_good_beside_others_that_are_not(secret: Shop) -> None:
    query = secret.sign(VERSION)
    for headers in ({"apikey": "wrong"}, {"authorization": "Bearer stranger"}):
        assert secret.get(OF_VERSION[0] + query, **headers).status == 200
    assert secret.get(ELSEWHERE[1] + query, apikey="device").status == 200
    assert secret.get(ELSEWHERE[1] + query, apikey="wrong").status == 403


def test_signed_url_takes_conditions_and_ranges(secret: Shop) -> None:
    query = secret.sign(VERSION)
    tag = f'"{sha256(FILES["model.json"])}"'
    again = secret.get(OF_VERSION[0] + query, if_none_match=tag)
    assert (again.status, again.headers["no-vary-search"]) == (304, 'params=("token")')
    assert secret.get(OF_VERSION[0] + query, range="bytes=0-3").body == FILES["model.json"][:4]


@pytest.mark.parametrize(
    "path",
    [
        "secret/v1.0.0/../v1.0.1/model.json",
        "secret/v1.0.0/%2e%2e/v1.0.1/model.json",
        "secret/v1.0.0/%2e%2e%2fv1.0.1%2fmodel.json",
        "secret/v1.0.0/%252e%252e/v1.0.1/model.json",
        "secret/v1.0.0/..%5cv1.0.1%5cmodel.json",
        "secret/v1.0.0/../../other/v1.0.0/model.json",
        "blobs/../secret/v1.0.1/model.json",
        "secret/v1.0.0/report.json",
        "secret/v1.0.0//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_version(secret: Shop, path: str) -> None:
    reply = secret.get(path + secret.sign(VERSION))
    assert reply.status in {403, 404}
    assert FILES["model.json"] not in reply.body


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token=" + "a." + "b" * 5000 + ".c", {}),
        ("?" + "a=b&" * 5000, {}),
        ("", {"authorization": "Bearer " + "a." + "b" * 60_000 + ".c"}),
        ("", {"apikey": "x" * 60_000}),
        ("?token=%00%ff", {}),
        ("?token=%", {}),
        ("?token=..", {}),
    ],
)
def test_huge_and_malformed_tokens_are_no_tokens(secret: Shop, query: str, headers: dict[str, str]) -> None:
    assert secret.get(OF_VERSION[0] + query, **headers).status == 401


def test_long_query_costs_its_owner_the_token(secret: Shop) -> None:
    padded = secret.sign(VERSION) + "&pad=" + "x" * 7000
    assert secret.get(OF_VERSION[0] + padded).status == 401
