"""Changes, whoever makes them, reach the devices; what is older than what they had never does."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shelfsight.access import keys
from shelfsight.access.key_store import KeyKind
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.signatures import accept
from shelfsight.delivery.config.keep import Bounds
from shelfsight.delivery.config.rules import LIFE, validity
from shelfsight.storage import open_storage
from tests.delivery.config.shop import FUNCTION, ConfigShop, channel_path

if TYPE_CHECKING:
    from typing import Any

    from shelfsight.database.engine import Database
    from tests.delivery.shop import Reply

HALF = LIFE / 2


@pytest.fixture
def rolling(shop: ConfigShop) -> ConfigShop:
    """The shop with a stable version and a candidate for 10 %."""
    shop.publish("1.0.0", stable=True)
    shop.publish("1.1.0", rollout_percentage=10)
    return shop


@pytest.mark.parametrize(
    ("statement", "field", "value"),
    [
        ("UPDATE model_metadata SET rollout_percentage = 50 WHERE version = 'v1.1.0'", "rolloutBasisPoints", 5000),
        ("UPDATE shelfsight.rollouts SET salt = 'another'", "salt", "another"),
        ("UPDATE model_metadata SET min_app_version = '9.0' WHERE version = 'v1.1.0'", "minAppVersion", "9.0"),
    ],
)
def test_change_in_sql_arrives_within_a_second(
    rolling: ConfigShop, statement: str, field: str, value: object
) -> None:
    before = rolling.accepted(rolling.get())
    rolling.sql(statement)
    after = rolling.accepted(rolling.later(1).get(), before.trust)
    assert after.document["candidate"][field] == value
    assert after.document["sequence"] > before.document["sequence"]


def test_way_of_a_version_from_testing_to_everybody_and_back(shop: ConfigShop) -> None:
    shop.publish("1.0.0", stable=True)
    shop.publish("1.1.0")
    trust = shop.trust()

    def told() -> tuple[str, int | None, float | None]:
        nonlocal trust
        found = shop.accepted(shop.later().get(), trust)
        trust = found.trust
        document = found.document
        share = document.get("candidate", {}).get("rolloutBasisPoints")
        return document["activeModelVersion"], share, document.get("shadowPercentage")

    assert told() == ("v1.0.0", None, None)
    shop.set_version("1.1.0", shadow_mode=True, shadow_percentage=10)
    assert told() == ("v1.0.0", None, 10)
    shop.set_version("1.1.0", shadow_mode=False, rollout_percentage=10)
    assert told() == ("v1.0.0", 1000, None)
    shop.set_version("1.1.0", rollout_percentage=50)
    assert told() == ("v1.0.0", 5000, None)
    shop.set_version("1.1.0", status="active", rollout_percentage=100, is_stable=True)
    assert told() == ("v1.1.0", None, None)
    shop.set_version("1.0.0", status="active", is_stable=True)
    assert told() == ("v1.0.0", None, None)


def test_new_key_signs_beside_the_old_one_until_that_is_retired(rolling: ConfigShop) -> None:
    old = rolling.trust()
    first = rolling.accepted(rolling.get(), old).document
    keys.rotate(rolling.database, KeyKind.CONFIG, by=COMMAND_LINE)
    both = rolling.accepted(rolling.later().get(), old)
    assert "previousSignature" in both.document
    assert [key["keyId"] for key in both.document["keys"]][1:] == [key["keyId"] for key in first["keys"]]
    keys.retire(rolling.database, KeyKind.CONFIG, by=COMMAND_LINE, early=True)
    last = rolling.accepted(rolling.later().get(), both.trust).document
    assert "previousSignature" not in last
    assert last["signature"]["keyId"] == both.document["signature"]["keyId"]


def test_database_is_asked_once_a_second_however_many_ask(rolling: ConfigShop) -> None:
    async def ask_for(seconds: int) -> None:
        for _ in range(seconds):
            replies = await asyncio.gather(*(rolling.ask(headers={"x_device_id": f"{n}"}) for n in range(100)))
            assert {reply.status for reply in replies} == {200}
            rolling.later(1)

    rolling.get()
    asking = rolling.asking()
    rolling.runner.run(ask_for(5))
    assert asking.questions == 4  # in the first second it is known from before


def test_one_question_is_about_all_channels_that_are_asked_for(rolling: ConfigShop) -> None:
    paths = [FUNCTION]
    for number in range(50):
        rolling.add_channel(f"T_{number}")
        paths.append(channel_path(f"T_{number}"))

    async def ask_all() -> set[int]:
        return {reply.status for reply in await asyncio.gather(*(rolling.ask(path) for path in paths))}

    assert rolling.runner.run(ask_all()) == {200, 404}
    rolling.later()
    asking = rolling.asking()
    assert rolling.runner.run(ask_all()) == {200, 404}
    assert asking.questions <= 2  # one that is on its way already, and one about all who came meanwhile


def test_nobody_asks_about_channels_that_nobody_asks_for(rolling: ConfigShop) -> None:
    rolling.get()
    asking = rolling.asking()
    rolling.later(3600)
    assert asking.questions == 0


def test_servers_that_know_nothing_of_each_other_send_the_same_bytes(rolling: ConfigShop) -> None:
    rolling.set_version("1.1.0", shadow_mode=True, shadow_percentage=3)
    rolling.trust()
    keys.rotate(rolling.database, KeyKind.CONFIG, by=COMMAND_LINE)
    wanted = [("web", "low", "till-1"), ("ios", "any", "till-2"), ("universal", "any", "")]

    def bodies() -> list[bytes]:
        return [rolling.get(x_app_platform=p, x_device_tier=t, x_device_id=d).body for p, t, d in wanted]

    first = bodies()
    rolling.app = rolling.server()
    rolling.wall.at += timedelta(hours=1)
    assert bodies() == first


def test_config_is_signed_again_when_half_of_its_life_is_over(rolling: ConfigShop) -> None:
    now = rolling.wall.at
    again_at = validity("default", now).sign_again_at
    before = rolling.get()
    rolling.wall.at = again_at - timedelta(seconds=10)
    assert rolling.later().get(if_none_match=before.headers["etag"]).status == 304
    rolling.wall.at = again_at
    after = rolling.later().get(if_none_match=before.headers["etag"])
    old, new = rolling.accepted(before).document, rolling.accepted(after).document
    changed = {name for name in new if new[name] != old[name]}
    assert changed == {"expiresAt", "etag", "signature"}
    assert after.headers["etag"] != before.headers["etag"]
    rolling.wall.at = again_at + timedelta(days=365)
    assert rolling.accepted(rolling.later().get()).expires_at > rolling.wall.at + HALF


def test_sequence_that_goes_back_in_the_database_never_reaches_a_device(rolling: ConfigShop) -> None:
    rolling.set_version("1.1.0", rollout_percentage=15)
    before = rolling.get()
    rolling.sql("UPDATE shelfsight.channels SET sequence = 1 WHERE id = 'default'")
    for _ in range(3):
        assert rolling.later().get().body == before.body
    rolling.set_version("1.1.0", rollout_percentage=20)
    assert rolling.sequence() < before.json["sequence"]
    assert rolling.later().get().body == before.body
    rolling.sql("UPDATE shelfsight.channels SET sequence = 1000 WHERE id = 'default'")
    assert rolling.later().get().json["candidate"]["rolloutBasisPoints"] == 2000


def test_older_sequence_is_refused_even_when_the_newer_config_is_forgotten(sqlite: Database) -> None:
    shop = ConfigShop(sqlite, open_storage("memory://"), bounds=Bounds(channels=1))
    shop.publish("1.0.0", stable=True)
    assert shop.get().status == 200
    shop.add_channel("T_1")
    shop.get(channel_path("T_1"))  # for which the other one goes
    shop.sql("UPDATE shelfsight.channels SET sequence = 0 WHERE id = 'default'")
    assert shop.get().status == 500
    shop.close()


def test_channel_that_is_deleted_is_gone_and_one_of_its_name_begins_anew(rolling: ConfigShop) -> None:
    rolling.add_channel("T_1")
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        rolling.publish(version, channel="T_1", stable=True)
    path = channel_path("T_1")
    assert rolling.get(path).json["sequence"] >= 3
    rolling.sql("DELETE FROM model_metadata WHERE channel_id = 'T_1'")
    for table in ("releases", "rollouts", "channels"):
        column = "id" if table == "channels" else "channel_id"
        rolling.sql(f"DELETE FROM shelfsight.{table} WHERE {column} = 'T_1'")
    assert rolling.later().get(path).status == 404
    time.sleep(0.002)  # SQLite's times are to the millisecond
    rolling.add_channel("T_1")
    rolling.publish("1.0.0", channel="T_1", stable=True)
    assert rolling.get(path).json["sequence"] == 1


def test_no_device_sees_a_lower_sequence_while_others_change_it(rolling: ConfigShop) -> None:
    started = time.monotonic()
    rolling.clock.now_s = 0
    stop = threading.Event()

    def change(start: int) -> None:
        for share in range(start, start + 2000, 2):
            rolling.set_version("1.1.0", rollout_percentage=share % 99 + 1)
            if stop.is_set():
                return

    async def device(number: int) -> list[int]:
        seen = []
        for _ in range(40):
            rolling.clock.now_s = 100 * (time.monotonic() - started)  # a second of theirs is a hundredth of ours
            reply = await rolling.ask(headers={"x_device_id": f"{number}"} if number % 2 else {})
            seen.append(accept(reply.body, rolling.trust(), rolling.wall.at).document["sequence"])
        return seen

    async def devices() -> list[list[int]]:
        return await asyncio.gather(*(device(number) for number in range(10)))

    changing = [threading.Thread(target=change, args=(start,)) for start in (0, 1)]
    for thread in changing:
        thread.start()
    try:
        seen = rolling.runner.run(devices())
    finally:
        stop.set()
        for thread in changing:
            thread.join()
    assert all(sequences == sorted(sequences) for sequences in seen)
    assert len({sequence for sequences in seen for sequence in sequences}) > 5
    rolling.clock.now_s += 1000
    last = rolling.get().json
    assert last["sequence"] == rolling.sequence()


def test_rows_and_sequence_are_of_one_moment(rolling: ConfigShop) -> None:
    """Each change counts the sequence up by one, so that a share belongs to a sequence."""
    base = rolling.sequence()
    done = threading.Event()

    def change() -> None:
        for share in range(1, 80):
            rolling.set_version("1.1.0", rollout_percentage=share)
        done.set()

    thread = threading.Thread(target=change)
    seen: list[Any] = []
    thread.start()
    while not done.is_set():
        seen.append(rolling.later().get().json)
    thread.join()
    for document in [*seen, rolling.later().get().json]:
        share = document["candidate"]["rolloutBasisPoints"] // 100
        assert document["sequence"] == base + (share if (share, document["sequence"]) != (10, base) else 0)


def test_channels_that_nobody_asks_for_are_forgotten(sqlite: Database) -> None:
    shop = ConfigShop(sqlite, open_storage("memory://"), bounds=Bounds(channels=3, replies=8))
    for number in range(6):
        shop.add_channel(f"T_{number}")
        shop.publish("1.0.0", channel=f"T_{number}", stable=True)

    def ask(number: int, **headers: str) -> Reply:
        return shop.get(channel_path(f"T_{number}"), **headers)

    for number in range(6):
        for platform in ("web", "ios", "android", "desktop"):
            assert ask(number, x_app_platform=platform).status == 200
    held = shop.app._keeper._held
    assert list(held) == ["T_3", "T_4", "T_5"]
    assert sum(len(one.replies) for one in held.values()) <= 8
    assert ask(0).json["channelId"] == "T_0"
    shop.close()


def test_channels_that_push_each_other_out_are_all_answered(sqlite: Database) -> None:
    shop = ConfigShop(sqlite, open_storage("memory://"), bounds=Bounds(channels=2))
    for number in range(12):
        shop.add_channel(f"T_{number}")
        shop.publish("1.0.0", channel=f"T_{number}", stable=True)

    async def ask_all() -> list[int]:
        asking = (shop.ask(channel_path(f"T_{number}")) for number in range(12))
        return [reply.status for reply in await asyncio.gather(*asking)]

    for _ in range(5):
        assert shop.runner.run(ask_all()) == [200] * 12
        shop.later()
    shop.close()


def test_strange_channels_and_headers_leave_nothing_behind(small_shop: ConfigShop) -> None:
    small_shop.publish("1.0.0", stable=True)
    for number in range(300):
        small_shop.get(channel_path(f"nobody-{number}"))
        small_shop.get(x_app_platform=f"p{number}", x_device_tier=f"t{number}", x_device_id=f"d{number}")
        small_shop.get("/functions/v1/" + "x" * number)
    held = small_shop.app._keeper._held
    assert list(held) == ["default"]
    assert len(held["default"].replies) <= 2
