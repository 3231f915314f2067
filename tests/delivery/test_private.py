"""Files of private channels, and who gets them."""

from __future__ import annotations

import pytest

from tests.delivery.shop import FILES, Shop, sha256

MODEL = FILES["model.json"]
BLOB = b"\0" * 8 + b"head" * 100


@pytest.fixture
def secret(shop: Shop) -> Shop:
    """The shop with the private channel `secret`, and a model in it."""
    shop.add_channel("secret", visibility="private")
    shop.publish(channel="secret", blobs=[BLOB])
    return shop


SECRET_PATHS = ("secret/v1.0.0/model.json", "secret/latest/model.json", f"blobs/{sha256(BLOB)}.bin")


@pytest.mark.parametrize("path", SECRET_PATHS)
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token=ck_secret", {}),
        ("", {"apikey": "ck_secret"}),
        ("", {"authorization": "Bearer ck_secret"}),
        ("", {"authorization": "Bearer reader"}),
        ("", {"apikey": "device"}),
        ("?token=ck_secret", {"authorization": "Bearer stranger", "apikey": "nonsense"}),
    ],
)
def test_who_may_read_a_private_channel_gets_its_files(
    secret: Shop, path: str, query: str, headers: dict[str, str]
) -> None:
    reply = secret.get(path + query, **headers)
    assert reply.status == 200
    assert reply.headers["cache-control"].startswith("private, ")
    assert reply.headers["vary"] == "Accept-Encoding, Authorization, apikey"


@pytest.mark.parametrize("path", [*SECRET_PATHS, "secret/v9.9.9/model.json", "secret/latest/none"])
def test_without_a_token_a_private_channel_is_closed(secret: Shop, path: str) -> None:
    secret.get(path, apikey="ck_secret")  # what one client was given is not given to the next
    for headers in ({}, {"apikey": "wrong"}, {"authorization": "Bearer "}, {"authorization": "Basic ck_secret"}):
        reply = secret.get(path, **headers)
        assert (reply.status, reply.headers["content-type"]) == (401, "application/problem+json")
    url = f"/assets/ml-models/{path}"
    assert secret.refusals.noted[0] == ("nobody", "192.0.2.7", "GET", url, 401, "authentication")


@pytest.mark.parametrize("path", SECRET_PATHS)
def test_token_of_another_channel_is_refused(secret: Shop, path: str) -> None:
    reply = secret.get(path, authorization="Bearer stranger")
    assert (reply.status, reply.json["type"]) == (403, "urn:shelfsight:problem:access")
    assert secret.refusals.noted == [
        ("token:stranger", "192.0.2.7", "GET", f"/assets/ml-models/{path}", 403, "access")
    ]


def test_client_that_has_a_private_file_must_still_show_its_token(secret: Shop) -> None:
    tag = f'"{sha256(MODEL)}"'
    assert secret.get("secret/v1.0.0/model.json", if_none_match=tag).status == 401
    assert secret.get("secret/v1.0.0/model.json", if_none_match=tag, apikey="device").status == 304


def test_blob_that_a_public_channel_uses_too_is_public(secret: Shop) -> None:
    secret.publish(blobs=[BLOB])
    reply = secret.get(f"blobs/{sha256(BLOB)}.bin")
    assert (reply.status, reply.body) == (200, BLOB)
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
