"""`latest` follows what the database says, soon, whoever said it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from shelfsight.errors import ConflictError, DatabaseError, StorageError
from shelfsight.registry import latest
from shelfsight.registry.follow import Follower, following
from shelfsight.registry.publish import Order, Registry, publish
from tests.registry.test_publish import Failing

if TYPE_CHECKING:
    from pathlib import Path

Bundles = tuple["Path", "Path", "Path"]


@pytest.fixture
def two(registry: Registry, tiny_bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The channel T_1 with the versions 1.0.0 and 1.0.1, which is stable."""
    monkeypatch.setattr("shelfsight.registry.publish.check_in_child", lambda *_args, **_more: None)
    for bundle in tiny_bundles[:2]:
        publish(registry, Order(folder=bundle, channel="T_1"))
    return registry


def release_in_sql(registry: Registry, version: str) -> None:
    with registry.database.engine.begin() as connection:
        row = {"version": version}
        stable = "UPDATE model_metadata SET status = 'active', is_stable = 1 WHERE version = :version"
        connection.execute(text(stable), row)


def test_a_release_in_sql_is_followed_and_then_nothing_is_done(two: Registry) -> None:
    follower = Follower(two)
    with capture_logs() as log:
        follower.look()
        assert log == []  # of what was live before nothing is told
        release_in_sql(two, "v1.0.0")
        follower.look()
    told = {"event": "version_live", "log_level": "info", "channel": "T_1", "version": "1.0.0", "before": "1.0.1"}
    assert log == [told]
    assert latest.read(two.storage, "T_1") == "1.0.0"
    two.storage.point("ml-models/T_1/latest", "v1.0.1")
    follower.look()  # the database has not changed: nobody looks at storage
    assert latest.read(two.storage, "T_1") == "1.0.1"


def test_the_first_version_of_a_channel_is_told_of(registry: Registry, two: Registry, tiny_bundles: Bundles) -> None:
    follower = Follower(two)
    follower.look()
    with registry.database.write() as tx:
        tx.execute(text("INSERT INTO channels (id, token) VALUES ('T_7', 'ck_7')"))
    publish(registry, Order(folder=tiny_bundles[0], channel="T_7"))
    with capture_logs() as log:
        follower.look()
    assert [(one["event"], one["channel"], one["version"], one["before"]) for one in log] == [
        ("version_live", "T_7", "1.0.0", None)
    ]


def test_the_first_look_is_at_what_was_left_by_a_publish_that_was_killed(two: Registry) -> None:
    two.storage.point("ml-models/T_1/latest", "v1.0.0")
    Follower(two).look()
    assert latest.read(two.storage, "T_1") == "1.0.1"


def test_what_cannot_follow_is_looked_at_again(two: Registry) -> None:
    failing: Any = Failing(two.storage, "point", 0)
    follower = Follower(Registry(database=two.database, storage=failing))
    release_in_sql(two, "v1.0.0")
    follower.look()
    assert latest.read(two.storage, "T_1") == "1.0.1"
    with pytest.raises(StorageError):
        failing.point("a", "b")
    failing._left = 1
    follower.look()
    assert latest.read(two.storage, "T_1") == "1.0.0"


def test_nothing_ends_the_following_but_the_end_of_the_server(two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    release_in_sql(two, "v1.0.0")
    failures = [ConflictError("refused"), DatabaseError("away"), ZeroDivisionError("a bug")]
    has_followed = threading.Event()
    looking = Follower.look

    def look(follower: Follower) -> None:
        if failures:
            raise failures.pop(0)
        looking(follower)
        has_followed.set()

    monkeypatch.setattr(Follower, "look", look)
    with following(two, every_s=0.01):
        assert has_followed.wait(30)
    assert latest.read(two.storage, "T_1") == "1.0.0"


def test_a_server_follows_while_it_runs(two: Registry) -> None:
    with following(two, every_s=0.01):
        release_in_sql(two, "v1.0.0")
        for _ in range(10_000):
            if latest.read(two.storage, "T_1") == "1.0.0":
                break
    assert latest.read(two.storage, "T_1") == "1.0.0"
