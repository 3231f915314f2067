"""Publishing, rolling back and cleaning up at the same time, and waking up too late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import channels as channel_store
from shelfsight.database.tables import channels, leases, model_metadata, version_blobs
from shelfsight.errors import BusyError, ConflictError
from shelfsight.leases import store as lease_store
from shelfsight.leases.lease import held
from shelfsight.registry import layout, store
from shelfsight.registry.cleanup import Cleaned, _sweep_blobs, clean_up
from shelfsight.registry.publish import Registry
from shelfsight.registry.rules import SWEEP, Status, publish_lease
from shelfsight.storage import open_storage
from tests.registry.test_publish import one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.leases.rules import Exclusive
    from shelfsight.storage import Storage


@pytest.fixture
def local(sqlite: Database, tmp_path: Path) -> Registry:
    """A registry with the channels `default` and `T_1`, on SQLite and a local folder."""
    with sqlite.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    return Registry(database=sqlite, storage=open_storage(tmp_path / "assets"))


class Interrupting:
    """A storage during one of whose calls something else happens."""

    def __init__(self, storage: Storage, method: str, during: Callable[[], None]) -> None:
        self._storage, self._method, self._during = storage, method, during

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._method = ""
            self._during()
        return getattr(self._storage, name)


def _take_over(registry: Registry, work: Exclusive, during: Callable[[Any], None]) -> None:
    """Let a lease run out, do something, and leave it to another holder."""
    with registry.database.write() as tx:
        tx.execute(
            update(leases).where(leases.c.name == work.name).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
    with registry.database.write() as tx:
        during(tx)


def test_a_clean_up_that_was_too_slow_leaves_a_new_publish_alone(local: Registry) -> None:
    local.storage.put("ml-models/T_1/v1.0.5/model.json", b"of a publish that was killed, or of one that runs now")

    def publish_begins(tx: Any) -> None:
        name = publish_lease("T_1").name
        lease_store.take(tx, name=name, holder="another", instead_of=None, lasts_s=60)
        store.claim_blobs(tx, "T_1", "1.0.5", ["ab" * 32])

    slow = Interrupting(local.storage, "folders", lambda: _take_over(local, publish_lease("T_1"), publish_begins))
    cleaned = clean_up(Registry(database=local.database, storage=slow), channel="T_1")
    assert (cleaned.busy, cleaned.folders) == (["T_1"], [])
    assert local.storage.exists("ml-models/T_1/v1.0.5/model.json")
    assert one(local, version_blobs.c.sha256) == ["ab" * 32]


def test_a_sweep_that_was_too_slow_spares_a_blob_that_a_publish_has_claimed_since(local: Registry) -> None:
    local.storage.put(layout.blob("ab" * 32), b"nobody's until now")

    def claim(tx: Any) -> None:
        store.claim_blobs(tx, "T_1", "1.0.0", ["ab" * 32])

    slow = Interrupting(local.storage, "list", lambda: _take_over(local, SWEEP, claim))
    registry = Registry(database=local.database, storage=slow)
    with local.database.write() as tx:
        tx.execute(insert(channels).values(id="T_9", token="ck_9"))
    cleaned = Cleaned()
    _sweep_blobs(registry, cleaned)
    assert cleaned.blobs == []
    assert local.storage.exists(layout.blob("ab" * 32))


def test_a_clean_up_asks_only_for_the_channels_that_are_gone(local: Registry) -> None:
    local.storage.put("ml-models/T_1/v1.0.0/model.json", b"{}")
    with held(local.database, publish_lease("T_1")):
        assert clean_up(local).busy == ["T_1"]


def test_what_came_into_use_since_it_was_looked_up_is_not_deleted(database: Database) -> None:
    with database.write() as tx:
        for version, rolling in (("v1.0.0", 0), ("v1.0.1", 10)):
            row = {"version": version, "file_path": "", "channel_id": "default", "rollout_percentage": rolling}
            tx.execute(insert(model_metadata).values(row))
    with database.write() as tx:
        assert not store.delete_version(tx, "default", "1.0.1")
        assert store.delete_version(tx, "default", "1.0.0")
        assert not store.delete_version(tx, "default", "1.0.0")


def test_of_a_publish_and_a_roll_back_at_once_the_later_one_is_stable_and_the_only_active(
    postgresql: Database,
) -> None:
    with postgresql.write() as tx:
        for version, stable in (("v1.0.0", False), ("v1.0.1", True)):
            status = "active" if stable else "deprecated"
            row = {"version": version, "file_path": "", "channel_id": "default", "status": status}
            tx.execute(insert(model_metadata).values(**row, is_stable=stable))

    def roll_back() -> None:
        with postgresql.write() as other:
            store.make_stable(other, "default", "1.0.0")

    with ThreadPoolExecutor(1) as pool:
        with postgresql.write() as tx:
            tx.execute(insert(model_metadata).values(version="v1.0.2", file_path="", channel_id="default"))
            rolled = pool.submit(roll_back)
            with suppress(TimeoutError):
                rolled.result(0.5)  # it waits for the publish
            store.make_stable(tx, "default", "1.0.2")
        rolled.result(10)
    with postgresql.read() as tx:
        found = {each.version: (each.status, each.is_stable) for each in store.versions(tx, "default")}
    assert found == {
        "1.0.0": ("active", True),
        "1.0.1": ("deprecated", False),
        "1.0.2": ("deprecated", False),
    }


def test_who_changes_versions_at_once_waits_in_line_and_not_for_each_other(postgresql: Database) -> None:
    for number in range(4):
        row = {"version": f"v1.0.{number}", "file_path": "", "channel_id": "default"}
        with postgresql.write() as tx:
            tx.execute(insert(model_metadata).values(row))

    def change(number: int) -> None:
        version = f"1.0.{number % 4}"
        for act in (store.make_stable, store.deprecate, store.make_stable):
            with suppress(ConflictError), postgresql.write() as tx:  # the stable one is not deprecated
                act(tx, "default", version)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(60)))  # a deadlock would be a DatabaseError
    with postgresql.read() as tx:
        assert sum(each.status is Status.ACTIVE for each in store.versions(tx, "default")) <= 1


def test_a_publish_that_slept_through_the_end_of_its_channel_is_refused_in_the_next_one(local: Registry) -> None:
    with held(local.database, publish_lease("T_1")) as asleep:
        with local.database.write() as tx:
            channel_store.delete(tx, "T_1")
        with local.database.write() as tx:
            channel_store.create(tx, "T_1", {}, Stamp(actor="anna", at=datetime.now(UTC)))
        with held(local.database, publish_lease("T_1")) as awake:
            with pytest.raises(BusyError, match="taken over"):
                asleep.renew()
            awake.renew()


def test_a_picture_of_a_channel_that_is_made_anew_survives_the_clean_up_of_the_old_one(local: Registry) -> None:
    local.storage.put("ml-models/old_shop/v1.0.0/model.json", b"{}")
    made_anew = Interrupting(
        local.storage, "delete_folder", lambda: local.storage.put("images/old_shop/ab/abcd", b"a photo")
    )
    cleaned = clean_up(Registry(database=local.database, storage=made_anew))
    assert cleaned.channels == ["old_shop"]
    assert local.storage.exists("images/old_shop/ab/abcd")
