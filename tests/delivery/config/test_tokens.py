"""Which channel a request is about, who may have the config of a private one, and how often anybody may ask."""

from __future__ import annotations

import asyncio

import pytest

from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token, revoke_token
from shelfsight.catalog.store import channels
from tests.delivery.config.shop import FUNCTION, ConfigShop, channel_path

NEEDS_A_KEY = (
    "this channel is private: send its key, or a token that may read it, as apikey or as Authorization: Bearer"
)


@pytest.fixture
def shops(shop: ConfigShop) -> ConfigShop:
    """The public channels `default` and `T_1`, and the private one `secret`, each with a version of its own."""
    shop.publish("1.0.0", stable=True)
    for number, (channel, visibility) in enumerate((("T_1", "public"), ("secret", "private"))):
        shop.add_channel(channel, visibility=visibility)
        shop.publish(f"2.{number}.0", channel=channel, stable=True)
    return shop


def token(shop: ConfigShop, *scopes: str, channel: str | None = None) -> str:
    """Return the text of a new token."""
    return create_token(shop.database, NewToken(name="t", scopes=scopes, channel=channel), by=COMMAND_LINE).text


def channel_of(shop: ConfigShop, **headers: str) -> str:
    """Return the channel whose config the function answers with."""
    reply = shop.get(**headers)
    assert reply.status == 200, reply.body
    found: str = reply.json["channelId"]
    return found


def test_key_names_the_channel(shops: ConfigShop) -> None:
    assert channel_of(shops, apikey="ck_T_1") == "T_1"
    assert channel_of(shops, authorization="Bearer ck_T_1") == "T_1"
    assert channel_of(shops, apikey="ck_T_1", authorization="Bearer ck_T_1") == "T_1"
    assert channel_of(shops, apikey="ck_T_1", authorization="Bearer a-session-of-theirs") == "T_1"
    assert channel_of(shops, apikey="a-key-of-before", authorization="Bearer ck_T_1") == "T_1"


def test_token_of_a_device_or_a_reader_names_the_channel(shops: ConfigShop) -> None:
    assert channel_of(shops, apikey=token(shops, "device", channel="secret")) == "secret"
    assert channel_of(shops, apikey=token(shops, "channel:secret:read")) == "secret"


def test_who_names_no_channel_gets_the_default_one(shops: ConfigShop) -> None:
    assert channel_of(shops) == "default"
    assert channel_of(shops, apikey="eyJhbGciOiJIUzI1NiJ9.of.another") == "default"
    assert channel_of(shops, apikey="ss_aaaaaaaa_" + "a" * 43) == "default"
    assert channel_of(shops, apikey="k" * 600) == "default"
    assert channel_of(shops, apikey=token(shops, "admin")) == "default"
    assert channel_of(shops, apikey="\x00\udcff") == "default"


def test_private_channel_needs_its_key(shops: ConfigShop) -> None:
    path = channel_path("secret")
    reader, device = token(shops, "channel:secret:read"), token(shops, "device", channel="secret")
    for headers in (
        {"apikey": "ck_secret"},
        {"authorization": "Bearer ck_secret"},
        {"apikey": reader},
        {"authorization": f"Bearer {device}", "apikey": "nonsense"},
        {"apikey": token(shops, "admin")},
    ):
        reply = shops.get(path, **headers)
        assert (reply.status, reply.json["channelId"]) == (200, "secret")
        assert reply.headers["cache-control"].startswith("private, ")
        assert reply.headers["vary"] == "X-App-Platform, X-Device-Tier, X-Device-Id, apikey, Authorization"
    assert shops.refusals.noted == []


def test_private_channel_is_closed_to_others(shops: ConfigShop) -> None:
    path = channel_path("secret")
    tag = shops.get(path, apikey="ck_secret").headers["etag"]
    for headers in ({}, {"apikey": "wrong"}, {"authorization": "Basic ck_secret"}, {"if_none_match": tag}):
        reply = shops.get(path, **headers)
        assert (reply.status, reply.json) == (401, {"error": NEEDS_A_KEY})
        assert reply.headers["www-authenticate"] == 'Bearer realm="shelfsight"'
        assert reply.headers["access-control-allow-origin"] == "*"
    assert shops.refusals.noted[0] == ("nobody", "192.0.2.7", "GET", path, 401, "authentication")
    other = shops.get(path, apikey="ck_T_1")
    assert (other.status, other.json) == (403, {"error": "this token is not for this channel"})
    assert shops.refusals.noted[-1] == ("channel:T_1", "192.0.2.7", "GET", path, 403, "access")


def test_default_channel_may_be_private(shops: ConfigShop) -> None:
    shops.sql("UPDATE shelfsight.channels SET visibility = 'private' WHERE id = 'default'")
    assert shops.get().status == shops.get(apikey="wrong").status == 401
    assert channel_of(shops, apikey="ck_T_1") == "T_1"


def test_channel_that_becomes_private_is_closed_within_a_second(shops: ConfigShop) -> None:
    path = channel_path("T_1")
    assert shops.get(path).status == 200
    shops.sql("UPDATE shelfsight.channels SET visibility = 'private' WHERE id = 'T_1'")
    assert shops.later().get(path).status == 401


def test_new_key_works_at_once_and_the_old_one_not_much_longer(shops: ConfigShop) -> None:
    assert channel_of(shops, apikey="ck_T_1") == "T_1"
    assert shops.get(channel_path("secret"), apikey="ck_secret").status == 200
    shops.sql("UPDATE shelfsight.channels SET token = 'new' || token")
    assert channel_of(shops, apikey="newck_T_1") == "T_1"
    assert shops.get(channel_path("secret"), apikey="newck_secret").status == 200
    shops.later()
    assert channel_of(shops, apikey="ck_T_1") == "default"
    assert shops.get(channel_path("secret"), apikey="ck_secret").status == 401


def test_revoked_token_is_refused_within_a_second(shops: ConfigShop) -> None:
    reader = token(shops, "channel:secret:read")
    path = channel_path("secret")
    assert shops.get(path, apikey=reader).status == 200
    revoke_token(shops.database, reader.split("_")[1], by=COMMAND_LINE)
    shops.lookups.asked.clear()
    shops.later()
    assert {shops.get(path, apikey=reader).status for _ in range(20)} == {401}
    assert shops.lookups.asked == [reader]  # from then on it is a wrong one as any other


def test_token_made_now_is_known_at_once(shops: ConfigShop) -> None:
    assert shops.get(channel_path("secret"), apikey="wrong").status == 401
    assert shops.get(channel_path("secret"), apikey=token(shops, "channel:secret:read")).status == 200


def test_key_of_a_channel_costs_one_look_up_however_often_it_comes(shops: ConfigShop) -> None:
    for _ in range(20):
        assert channel_of(shops.later(), apikey="ck_T_1") == "T_1"
    assert shops.lookups.asked == ["ck_T_1"]


def test_wrong_token_that_comes_again_and_again_is_looked_up_every_five_seconds(shops: ConfigShop) -> None:
    for _ in range(21):
        assert channel_of(shops, apikey="a-key-of-before") == "default"
        shops.later(1)
    assert shops.lookups.asked == ["a-key-of-before"] * 5


def test_thousand_wrong_tokens_cost_sixty_look_ups_and_a_right_one_still_works(shops: ConfigShop) -> None:
    reader = token(shops, "channel:secret:read")
    path = channel_path("secret")
    assert shops.get(path, apikey=reader).status == 200
    shops.lookups.asked.clear()

    async def guess() -> list[int]:
        asking = (shops.ask(path, headers={"apikey": f"guess-{number}"}) for number in range(1000))
        return [reply.status for reply in await asyncio.gather(*asking)]

    statuses = shops.runner.run(guess())
    assert (statuses.count(401), statuses.count(429)) == (60, 940)
    assert len(shops.lookups.asked) == 60
    refused = shops.get(path, apikey="guess")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert refused.json == {"error": "too many requests with tokens that are not known: try again in 60 seconds"}
    assert refused.headers["access-control-allow-origin"] == "*"
    assert shops.later().get(path, apikey=reader).status == 200
    assert channel_of(shops, apikey="guess", authorization=f"Bearer {reader}") == "secret"
    assert shops.get(path, apikey="ck_secret").status == 200
    shops.later(60)
    assert shops.get(path, apikey="guess").status == 401


def test_many_refusals_are_noted_once_a_minute(shops: ConfigShop) -> None:
    for number in range(70):
        shops.get(apikey=f"guess-{number}")
    assert [noted[4:] for noted in shops.refusals.noted] == [(429, "too_many_requests")]
    shops.later(61)
    for number in range(70):
        shops.get(apikey=f"other-{number}")
    assert len(shops.refusals.noted) == 2


def test_guesses_of_one_address_cost_others_nothing(shops: ConfigShop) -> None:
    for number in range(61):
        shops.get(apikey=f"guess-{number}")

    async def elsewhere() -> int:
        return (await shops.ask(headers={"apikey": "other"}, address="192.0.2.8")).status

    assert shops.runner.run(elsewhere()) == 200


def test_tills_that_all_begin_at_once_are_let_in(shops: ConfigShop) -> None:
    tokens = [token(shops, "device", channel="secret") for _ in range(5)]

    async def morning() -> list[int]:
        tills = [text for text in [*tokens, "ck_secret"] for _ in range(50)]
        return [
            reply.status for reply in await asyncio.gather(*(shops.ask(headers={"apikey": text}) for text in tills))
        ]

    assert set(shops.runner.run(morning())) == {200}
    assert sorted(shops.lookups.asked) == sorted([*tokens, "ck_secret"])


def test_hundred_devices_of_one_shop_may_each_have_a_token(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    tokens = [token(small_shop, "device", channel="default") for _ in range(100)]
    assert {small_shop.get(apikey=text).status for text in tokens} == {200}


def test_address_that_asks_too_often_is_told_when_it_may_again(sqlite_limited: ConfigShop) -> None:
    shop = sqlite_limited
    shop.publish("1.0.0", stable=True)
    assert [shop.get().status for _ in range(5)] == [200] * 5
    shop.later(20)
    refused = shop.get()
    assert (refused.status, refused.headers["retry-after"]) == (429, "40")
    assert refused.json == {"error": "too many requests from this address: try again in 40 seconds"}
    assert refused.headers["cache-control"] == "no-store"
    assert shop.get(FUNCTION, "OPTIONS").status == 204
    assert shop.get("/functions/v1/other").status == 404
    assert shop.later(40).get().status == 200


def test_token_that_comes_too_often_is_refused_from_everywhere(sqlite_limited: ConfigShop) -> None:
    shop = sqlite_limited
    shop.publish("1.0.0", stable=True)
    reader = token(shop, "channel:default:read")

    async def ask(text: str) -> list[int]:
        asking = [shop.ask(headers={"apikey": text}, address=f"192.0.2.{number}") for number in range(7)]
        return [(await one).status for one in asking]

    assert shop.runner.run(ask(reader)) == [200] * 5 + [429] * 2
    with shop.database.read() as tx:
        key = channels.get(tx, "default").token
    assert shop.runner.run(ask(key)) == [200] * 7  # every till of the shop sends it
