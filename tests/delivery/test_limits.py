"""How often anybody may ask, and what asking too often costs the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shelfsight.access.limits import UNKNOWN_TOKENS_PER_MINUTE
from shelfsight.delivery.grants import version_grant
from shelfsight.errors import AuthenticationError
from shelfsight.settings import REQUESTS_PER_MINUTE
from tests.delivery.shop import CALLERS, FILES, Shop, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shelfsight.access.rules import Caller

PATH = "secret/v1.0.0/model.json"


@pytest.fixture
def limited(shop: Shop) -> Iterator[Callable[[int], Shop]]:
    """Opens a shop in which everybody may ask so often a minute; `secret` is a private channel of it."""
    opened: list[Shop] = []

    def open_shop(per_minute: int) -> Shop:
        found = Shop(shop.database, shop.storage, per_minute=per_minute)
        opened.append(found)
        found.add_channel("secret", visibility="private")
        found.publish(channel="secret")
        found.publish()
        return found

    yield open_shop
    for one in opened:
        one.runner.close()


def test_address_that_asks_too_often_waits(limited: Callable[[int], Shop]) -> None:
    shop = limited(3)
    asked = [shop.get("default/v1.0.0/model.json") for _ in range(5)]  # most of them answered from the hot memory
    assert [reply.status for reply in asked] == [200, 200, 200, 429, 429]
    refused = asked[-1]
    assert refused.json["type"] == "urn:shelfsight:problem:too_many_requests"
    assert refused.json["error"] == "too many requests: ask again in 60 seconds"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "retry-after" in refused.headers["access-control-expose-headers"].lower().split(", ")
    assert shop.refusals.noted == [
        ("nobody", "192.0.2.7", "GET", "/assets/ml-models/default/v1.0.0/model.json", 429, "too_many_requests")
    ]
    shop.clock.now_s += 60
    assert shop.get("default/v1.0.0/model.json").status == 200


def test_nothing_gets_around_the_limit(limited: Callable[[int], Shop]) -> None:
    shop = limited(2)
    tag = shop.get("default/v1.0.0/model.json").headers["etag"]
    assert shop.get("default/v1.0.0/model.json", "HEAD").status == 200
    assert shop.get("default/v1.0.0/model.json", if_none_match=tag).status == 429
    assert shop.get("nowhere").status == 429
    assert shop.get(PATH, apikey="ck_secret").status == 429
    assert shop.get("default/v1.0.0/model.json", "POST").status == 429
    assert shop.get("default/v1.0.0/model.json", "OPTIONS").status == 204  # else a browser would not show the 429


def test_who_still_asks_too_often_is_noted_once_a_minute(limited: Callable[[int], Shop]) -> None:
    shop = limited(1)
    for _ in range(3):
        for _ in range(4):
            shop.get("default/v1.0.0/model.json")
        shop.clock.now_s += 60
    assert len(shop.refusals.noted) == 3


def test_token_that_asks_too_often_waits_wherever_it_asks_from(limited: Callable[[int], Shop]) -> None:
    shop = limited(3)
    signed = shop.sign(version_grant(served("secret"), "1.0.0"))
    for query, key in (("", "reader"), (signed, "")):
        statuses = [shop.get(PATH + query, apikey=key, address=f"192.0.2.{number}").status for number in range(1, 6)]
        assert statuses == [200, 200, 200, 429, 429]
        shop.clock.now_s += 60


def test_key_of_a_channel_is_in_every_till_and_not_counted(limited: Callable[[int], Shop]) -> None:
    shop = limited(3)
    found = {shop.get(PATH, apikey="ck_secret", address=f"192.0.2.{number}").status for number in range(1, 20)}
    assert found == {200}


def test_first_download_of_a_shop_full_of_tills_passes(limited: Callable[[int], Shop]) -> None:
    shop = limited(REQUESTS_PER_MINUTE)
    statuses = [
        shop.get(f"secret/v1.0.0/{name}", apikey="ck_secret").status
        for _till in range(100)
        for name in [*FILES] * 4  # a bundle has a dozen files
    ]
    assert set(statuses) == {200}


def test_thousand_wrong_tokens_a_minute_are_sixty_questions(
    limited: Callable[[int], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = limited(2000)
    asked: list[str] = []

    def authenticate(token: str) -> Caller:
        asked.append(token)
        if token not in CALLERS:
            raise AuthenticationError("unknown")
        return CALLERS[token]

    monkeypatch.setattr(shop.published.lookups, "_authenticate", authenticate)
    statuses = [shop.get(PATH, apikey=f"guess-{number}").status for number in range(1000)]
    assert statuses == [401] * UNKNOWN_TOKENS_PER_MINUTE + [429] * (1000 - UNKNOWN_TOKENS_PER_MINUTE)
    assert len(asked) == UNKNOWN_TOKENS_PER_MINUTE
    assert len(shop.refusals.noted) == UNKNOWN_TOKENS_PER_MINUTE + 1
    assert shop.get(PATH, apikey="ck_secret").status == 200  # tills behind the same address go on
    assert shop.get(PATH, apikey="device", address="198.51.100.1").status == 200
    shop.clock.now_s += 60
    assert shop.get(PATH, apikey="device").status == 200


def test_forged_urls_are_guesses_and_expired_ones_are_not(limited: Callable[[int], Shop]) -> None:
    shop = limited(2000)
    expired = shop.sign(version_grant(served("secret"), "1.0.0"), seconds=-1)
    assert {shop.get(PATH + expired).status for _ in range(100)} == {401}
    forged = [shop.get(f"{PATH}?token=a.b.{number}").status for number in range(100)]
    assert forged == [401] * UNKNOWN_TOKENS_PER_MINUTE + [429] * (100 - UNKNOWN_TOKENS_PER_MINUTE)


def test_without_limits_nobody_waits(limited: Callable[[int], Shop]) -> None:
    shop = limited(0)
    assert {shop.get("default/v1.0.0/model.json").status for _ in range(1500)} == {200}


def test_one_token_that_comes_a_hundred_times_at_once_is_one_question(limited: Callable[[int], Shop]) -> None:
    shop = limited(REQUESTS_PER_MINUTE)

    async def all_at_once() -> list[int]:
        replies = await asyncio.gather(*(shop.ask(PATH, apikey="device") for _ in range(100)))
        return [reply.status for reply in replies]

    assert set(shop.runner.run(all_at_once())) == {200}


def test_who_is_known_goes_on_while_others_guess(limited: Callable[[int], Shop]) -> None:
    shop = limited(REQUESTS_PER_MINUTE)
    assert shop.get(PATH, apikey="device").status == 200
    for number in range(UNKNOWN_TOKENS_PER_MINUTE + 1):
        shop.get(PATH, apikey=f"guess-{number}")
    shop.clock.now_s += 2  # what is known of the token is old
    assert shop.get(PATH, apikey="device").status == 200
    assert shop.get(PATH, apikey="reader").status == 429
