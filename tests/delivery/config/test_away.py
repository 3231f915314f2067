"""Files that are missing, and a database or a storage that is away."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.delivery.config import store
from shelfsight.delivery.config.keep import CHECK_BROKEN_AFTER_S, CHECK_FILES_AFTER_S
from shelfsight.delivery.config.rules import validity
from shelfsight.errors import DatabaseError, StorageError
from tests.delivery.config.shop import FILES, FUNCTION, ConfigShop, channel_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.delivery.shop import Reply

TRY_AGAIN = {"error": "the config is not to be had at the moment: try again"}


def cut(shop: ConfigShop, patch: pytest.MonkeyPatch) -> None:
    """Put a database that refuses every connection in the place of the shop's."""
    nobody = "postgresql+psycopg://nobody@127.0.0.1:1/none" if shop.database.is_postgresql else "sqlite:////none/none"
    patch.setattr(shop.database, "engine", create_engine(nobody))


def published(shop: ConfigShop) -> ConfigShop:
    """Return the shop with two versions, the second one stable in the database and for `latest` the first."""
    shop.publish("1.0.0", stable=True)
    shop.publish("1.1.0")
    shop.set_version("1.0.0", status="deprecated", is_stable=False, rollout_percentage=0)
    return shop


def active(reply: Reply) -> str:
    """Return the version that a reply calls active."""
    assert reply.status == 200, reply.body
    found: str = reply.json["activeModelVersion"]
    return found


DAMAGES: dict[str, Callable[[ConfigShop], object]] = {
    "no manifest": lambda shop: shop.storage.delete(["ml-models/default/v1.1.0/manifest.json"]),
    "a file is missing": lambda shop: shop.storage.delete(["ml-models/default/v1.1.0/weights.bin"]),
    "a file is too short": lambda shop: shop.storage.put("ml-models/default/v1.1.0/weights.bin", b"w"),
    "another checksum": lambda shop: shop.set_version("1.1.0", checksum_sha256="0" * 64),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_stable_version_that_is_not_whole_is_not_served(shop: ConfigShop, damage: str) -> None:
    published(shop)
    DAMAGES[damage](shop)
    shop.sql("UPDATE model_metadata SET status = 'active', is_stable = true WHERE version <> 'v1.0.0'")
    with capture_logs() as log:
        for _ in range(3):
            assert active(shop.later().get()) == "v1.0.0"
    told = [entry for entry in log if entry["event"] == "stable_version_not_served"]
    assert [(entry["channel"], entry["instead"]) for entry in told] == [("default", "1.0.0")]


@pytest.mark.parametrize("strange", ["1.1.0+build", "1/../v1.1.0"])
def test_version_that_no_device_could_load_is_not_served(small_shop: ConfigShop, strange: str) -> None:
    published(small_shop)
    if "/" not in strange:
        small_shop.put(strange)
    small_shop.sql("UPDATE model_metadata SET version = :it WHERE version = 'v1.1.0'", it=f"v{strange}")
    small_shop.make_stable(strange)
    assert active(small_shop.get()) == "v1.0.0"


def test_without_a_stand_in_there_is_no_model(shop: ConfigShop) -> None:
    shop.add_row("1.0.0", stable=True)
    assert shop.get().status == 404
    shop.storage.point("ml-models/default/latest", "v1.0.0")
    assert shop.later(CHECK_BROKEN_AFTER_S).get().status == 404
    shop.storage.point("ml-models/default/latest", "v9.9.9")
    assert shop.later(CHECK_BROKEN_AFTER_S).get().status == 404


def test_files_that_come_later_are_found(shop: ConfigShop) -> None:
    published(shop)
    shop.add_row("1.2.0")
    shop.make_stable("1.2.0")
    assert active(shop.get()) == "v1.0.0"
    shop.put("1.2.0")
    assert active(shop.later(CHECK_BROKEN_AFTER_S).get()) == "v1.2.0"


def test_files_that_go_later_are_missed(small_shop: ConfigShop) -> None:
    shop = published(small_shop)
    shop.make_stable("1.1.0")
    assert active(shop.get()) == "v1.1.0"
    shop.storage.delete(["ml-models/default/v1.1.0/model.json"])
    assert active(shop.later(CHECK_FILES_AFTER_S - 2).get()) == "v1.1.0"
    shop.later(2).get()
    assert active(shop.get()) == "v1.0.0"


def test_manifest_that_has_changed_is_not_signed(small_shop: ConfigShop) -> None:
    shop = published(small_shop)
    shop.make_stable("1.1.0")
    assert active(shop.get()) == "v1.1.0"
    shop.put("1.1.0", FILES | {"weights.bin": b"poison!"})  # whole, of the right version, and another one
    with capture_logs() as log:
        assert active(shop.later(CHECK_FILES_AFTER_S).get()) == "v1.0.0"
        shop.later(CHECK_BROKEN_AFTER_S).get()
    assert [entry["event"] for entry in log].count("manifest_changed") == 1


def test_look_at_the_files_that_finds_nothing_new_signs_nothing_anew(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    small_shop.get()
    before = small_shop.app._keeper._held["default"]
    small_shop.later(CHECK_FILES_AFTER_S).get()
    after = small_shop.app._keeper._held["default"]
    assert after is not before
    assert after.replies is before.replies


def test_candidate_and_shadow_that_are_not_whole_are_not_told(shop: ConfigShop) -> None:
    shop.publish("1.0.0", stable=True)
    shop.add_row("1.1.0", rollout_percentage=10, shadow_mode=True, shadow_percentage=10)
    document = shop.accepted(shop.get()).document
    assert not {"candidate", "shadowModelVersion", "shadowSalt"} & set(document)
    shop.put("1.1.0")
    document = shop.accepted(shop.later(CHECK_BROKEN_AFTER_S).get()).document
    assert document["candidate"]["version"] == document["shadowModelVersion"] == "v1.1.0"


def test_devices_get_what_they_had_while_the_database_is_away(
    shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish("1.0.0", stable=True)
    shop.add_channel("secret", visibility="private")
    shop.publish("1.0.0", channel="secret", stable=True)
    before, key = shop.get(), {"apikey": "ck_secret"}
    assert shop.get(channel_path("secret"), **key).status == shop.get(**key).status == 200
    with monkeypatch.context() as patch, capture_logs() as log:
        cut(shop, patch)
        for _ in range(3):
            assert shop.later().get().body == before.body
            assert shop.get(if_none_match=before.headers["etag"]).status == 304
            assert shop.get(x_app_platform="ios").json["platform"] == "ios"  # nobody had asked for that
            assert shop.get(channel_path("secret"), **key).status == shop.get(**key).status == 200
            assert shop.get(channel_path("secret")).status == 401
        assert [entry["event"] for entry in log].count("config_not_current") == 1
    shop.set_version("1.0.0", min_app_version="3.0")
    assert shop.later().get().json["minAppVersion"] == "3.0"


def test_config_that_expires_while_the_database_is_away_is_not_sent(
    small_shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shop.publish("1.0.0", stable=True)
    expires_at = small_shop.accepted(small_shop.get()).expires_at
    assert expires_at == validity("default", small_shop.wall.at).expires_at
    with monkeypatch.context() as patch:
        cut(small_shop, patch)
        small_shop.wall.at = expires_at - timedelta(seconds=10)
        assert small_shop.later().get().status == 200
        small_shop.wall.at = expires_at
        for _ in range(3):
            reply = small_shop.later().get()
            assert (reply.status, reply.json, reply.headers["retry-after"]) == (500, TRY_AGAIN, "5")
            assert reply.headers["access-control-allow-origin"] == "*"
            assert small_shop.get().status == 500
    assert small_shop.later().get().status == 200


def test_without_anything_prepared_the_device_is_told_to_try_again(
    shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish("1.0.0", stable=True)
    with monkeypatch.context() as patch:
        cut(shop, patch)
        for headers in ({}, {"apikey": "ck_T_1"}):
            for _ in range(3):
                reply = shop.get(FUNCTION, "POST", **headers)
                assert (reply.status, reply.json, reply.headers["retry-after"]) == (500, TRY_AGAIN, "5")
    assert shop.later().get().status == 200


def test_database_that_hangs_holds_nobody_up_for_long(
    small_shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shop.publish("1.0.0", stable=True)
    before = small_shop.get()
    hangs, asked = threading.Event(), []
    real = store.channel_rows

    def hang(*arguments: Any) -> Any:
        asked.append(arguments)
        hangs.wait(30)
        return real(*arguments)

    async def ask_often() -> list[bytes]:
        bodies = []
        for _ in range(4):
            small_shop.later()
            bodies += [reply.body for reply in await asyncio.gather(*(small_shop.ask() for _ in range(50)))]
        hangs.set()
        return bodies

    monkeypatch.setattr(store, "channel_rows", hang)
    assert set(small_shop.runner.run(ask_often())) == {before.body}
    assert len(asked) == 1


def test_database_that_is_away_is_asked_once_a_second(
    small_shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shop.publish("1.0.0", stable=True)
    small_shop.get()
    asked = []

    def fail(*arguments: Any) -> None:
        asked.append(arguments)
        raise DatabaseError("no")

    async def ask() -> set[int]:
        paths = [channel_path(f"nobody-{number}") for number in range(20)]
        return {reply.status for reply in [await small_shop.ask(path) for path in (FUNCTION, *paths)]}

    monkeypatch.setattr(store, "channel_rows", fail)
    for _ in range(3):
        small_shop.later()
        assert small_shop.runner.run(ask()) == {200, 500}
    assert len(asked) == 3


def test_tokens_that_were_right_are_believed_while_the_database_hangs(
    small_shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shop.add_channel("secret", visibility="private")
    small_shop.publish("1.0.0", channel="secret", stable=True)
    new = NewToken(name="t", scopes=("device",), channel="secret")
    token = create_token(small_shop.database, new, by=COMMAND_LINE).text
    assert small_shop.get(apikey=token).status == 200
    hangs, asked = threading.Event(), []

    def hang(*arguments: Any) -> Any:
        asked.append(arguments)
        hangs.wait(30)
        raise DatabaseError("no")

    async def ask_often() -> list[int]:
        statuses = []
        for _ in range(4):
            small_shop.later()
            asking = (small_shop.ask(headers={"apikey": token}) for _ in range(20))
            statuses += [reply.status for reply in await asyncio.gather(*asking)]
        hangs.set()
        return statuses

    monkeypatch.setattr(store, "channel_rows", hang)
    monkeypatch.setattr(small_shop.app._callers, "_authenticate", hang)
    assert set(small_shop.runner.run(ask_often())) == {200}
    assert len(asked) == 2


def test_one_strange_row_holds_no_other_channel_up(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    small_shop.publish("1.1.0", rollout_percentage=1)
    small_shop.add_channel("T_1")
    small_shop.sql("UPDATE shelfsight.channels SET created_at = 'yesterday', sequence = 'x' WHERE id = 'T_1'")

    async def both() -> Any:
        asking = (small_shop.ask(path) for path in (FUNCTION, channel_path("T_1")))
        return (await asyncio.gather(*asking))[0].json["candidate"]["rolloutBasisPoints"]

    for share in range(2, 5):
        small_shop.set_version("1.1.0", rollout_percentage=share)
        assert small_shop.runner.run(both()) == 100 * share
        small_shop.later()


def test_storage_that_is_away_keeps_a_change_back_and_nothing_else(
    shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish("1.0.0", stable=True)
    before = shop.get()
    shop.publish("1.1.0", rollout_percentage=10)

    def fail(*_arguments: object) -> None:
        raise StorageError("s3://bucket at 10.0.0.1: no")

    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(shop.storage, "head", fail)
        for _ in range(3):
            assert shop.later().get().body == before.body
        reply = shop.get(channel_path("nobody"))
        assert reply.status == 404
        assert [entry["event"] for entry in log].count("config_not_current") == 1
    assert shop.later().get().json["candidate"]["version"] == "v1.1.0"


def test_what_nobody_expected_is_500_without_a_word_of_it(
    small_shop: ConfigShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("of s3cr3t")

    monkeypatch.setattr(store, "channel_rows", fail)
    with capture_logs() as log:
        reply = small_shop.get()
    assert (reply.status, reply.json) == (500, TRY_AGAIN)
    assert any(entry["event"] == "config_not_served" for entry in log)
