"""Public keys over HTTP: for anybody, from any page, and never more than their public halves."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from tools.config_cases import config, keys_of

from shelfsight.access import keys
from shelfsight.access.key_store import KeyKind
from shelfsight.access.keys import config_keys, key_id_of, url_secrets
from shelfsight.access.limits import RequestLimits
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.signatures import sign, verify
from shelfsight.database.tables import signing_keys

if TYPE_CHECKING:
    from tests.api.conftest import World

PATH = "/v1/keys"  # as it is known, whatever the code calls it


def test_anybody_gets_the_keys_that_are_valid_the_current_one_first(each_world: World) -> None:
    client, database = each_world.client(), each_world.database
    (first,) = client.get(PATH).json()["keys"]  # it makes itself
    assert (first["algorithm"], first["current"]) == ("ES256", True)
    assert first["keyId"] == key_id_of(base64.b64decode(first["publicKey"])) == config_keys(database)[0].id
    assert datetime.fromisoformat(first["createdAt"]) <= datetime.now(UTC)
    second = keys.rotate(database, KeyKind.CONFIG, by=COMMAND_LINE).id
    both = client.get(PATH).json()["keys"]
    assert [(key["keyId"], key["current"]) for key in both] == [(second, True), (first["keyId"], False)]
    keys.retire(database, KeyKind.CONFIG, by=COMMAND_LINE, early=True)
    assert [key["keyId"] for key in client.get(PATH).json()["keys"]] == [second]


def test_they_verify_what_the_service_signs(world: World) -> None:
    told = world.client().get(PATH).json()["keys"]
    document = config(keys=[{"keyId": key["keyId"], "publicKey": key["publicKey"]} for key in told])
    signed = sign(document, config_keys(world.database))
    assert verify(signed, trusted=[key["keyId"] for key in told]) == told[0]["keyId"]


def test_they_are_kept_for_five_minutes_and_read_by_any_page(world: World) -> None:
    answer = world.client().get(PATH, headers={"origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization,apikey"}
    allowed = world.client().options(PATH, headers={"origin": "https://shop.example"} | asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "*")
    assert {one.strip() for one in allowed.headers["access-control-allow-headers"].split(",")} == {
        "*",
        "authorization",
    }


def test_nothing_that_signs_is_told(world: World) -> None:
    url_secrets(world.database)
    text = world.client().get(PATH).text
    with world.database.read() as connection:
        rows = connection.execute(select(signing_keys)).all()
    assert len(rows) == 2
    for row in rows:
        secret = row.private_key[36:68] if row.kind == "config" else row.private_key
        assert base64.b64encode(row.private_key).decode() not in text
        assert base64.b64encode(secret).decode() not in text
        assert secret.hex() not in text
    assert next(row.id for row in rows if row.kind == "url") not in text


def test_who_asks_too_often_waits(world: World) -> None:
    world.app.state.services = replace(world.app.state.services, limits=RequestLimits(2))
    client = world.client()
    answers = [client.get(PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "60"
    assert world.client(address="192.0.2.8").get(PATH).status_code == 200


def test_keys_cannot_be_changed_by_asking(world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert world.client("admin").request(method, PATH).status_code == 405


def test_a_strangers_key_verifies_nothing(world: World) -> None:
    told = {key["keyId"] for key in world.client().get(PATH).json()["keys"]}
    assert told.isdisjoint({key.id for key in keys_of("first", "second", "stranger")})
