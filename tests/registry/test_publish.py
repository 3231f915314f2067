"""Publishing and what comes after, on both databases and both storages; and when something fails on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from datetime import timedelta
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text, update

from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.database.tables import audit, channels, model_metadata, trainings
from shelfsight.errors import (
    BundleError,
    BusyError,
    ConflictError,
    DatabaseError,
    NotFoundError,
    StorageError,
)
from shelfsight.leases import store as leases
from shelfsight.leases.lease import Lease, held
from shelfsight.registry import cleanup, files, latest, layout, store, versions
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.registry.rules import SWEEP, Retention, Status, publish_lease
from shelfsight.storage import open_storage
from tests.registry.test_killed import check_nothing_is_orphaned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage
    from tests.registry.conftest import Place
    from tests.servers import S3Server

Bundles = tuple["Path", "Path", "Path"]


@pytest.fixture(autouse=True)
def _trusting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of the bundles but where a test asks for it: it is tested elsewhere, and takes a second each time."""
    if "checking" not in request.fixturenames:
        monkeypatch.setattr("shelfsight.registry.publish.check_in_child", lambda *_args, **_more: None)


@pytest.fixture
def checking() -> None:
    """Let bundles be checked."""


@pytest.fixture
def registry(database: Database, place: Place) -> Registry:
    """A registry with the channels `default` and `T_1`, on both databases."""
    with database.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    return Registry(database=database, storage=open_storage(place.url, options=place.options))


@pytest.fixture
def local(sqlite: Database, tmp_path: Path) -> Registry:
    """A registry on SQLite and a local folder."""
    with sqlite.write() as tx:
        tx.execute(insert(channels).values(id="T_1", token="ck_1"))
    return Registry(database=sqlite, storage=open_storage(tmp_path / "assets"))


def order(folder: Path, **more: Any) -> Order:
    return Order(folder=folder, channel="T_1", **more)


def one(registry: Registry, column: Any) -> Any:
    with registry.database.read() as tx:
        return tx.execute(select(column)).scalars().all()


def test_a_publish_becomes_stable_and_is_served(registry: Registry, tiny_bundles: Bundles, checking: None) -> None:
    first = publish(registry, order(tiny_bundles[0], actor="admin:anna"))
    assert (first.version, first.status, first.is_stable, first.rollout_percentage) == ("1.0.0", "active", True, 100)
    second = publish(registry, order(tiny_bundles[1]))
    assert (second.version, second.is_stable) == ("1.0.1", True)
    assert latest.read(registry.storage, "T_1") == "1.0.1"
    with registry.database.read() as tx:
        assert store.version(tx, "T_1", "1.0.0").status is Status.DEPRECATED
        channel = tx.execute(select(channels).where(channels.c.id == "T_1")).mappings().one()
        assert list(tx.scalars(select(trainings.c.version))) == ["v1.0.0", "v1.0.1"]
        assert set(tx.scalars(select(audit.c.actor).where(audit.c.subject == "v1.0.0"))) == {"admin:anna", "system"}
    assert channel["model_version"] == "v1.0.1"
    assert channel["model_base_url"] == "/assets/ml-models/T_1/latest"
    assert channel["model_training_status"] == "ready"
    assert channel["model_last_trained"] == second.trained_at
    check_nothing_is_orphaned(registry)


def test_the_files_are_stamped_with_channel_and_version_and_the_bundle_stays_as_it_was(
    local: Registry, tiny_bundles: Bundles
) -> None:
    before = {path: path.read_bytes() for path in tiny_bundles[0].rglob("*") if path.is_file()}
    publish(local, order(tiny_bundles[0], version="2.3.4"))
    metadata = json.loads(local.storage.get("ml-models/T_1/v2.3.4/metadata.json"))
    assert (metadata["channelId"], metadata["version"]) == ("T_1", "2.3.4")
    description = json.loads(local.storage.get("ml-models/T_1/v2.3.4/T_1_v2.3.4.json"))
    assert description["version"] == "v2.3.4"
    with local.database.read() as tx:
        row = tx.execute(select(model_metadata)).mappings().one()
    assert row["file_path"] == "models/T_1_v2.3.4.ort"
    assert row["checksum_sha256"] == description["checksumSha256"]
    assert row["input_shape"] == [1, 224, 224, 3]
    assert {path: path.read_bytes() for path in tiny_bundles[0].rglob("*") if path.is_file()} == before


def test_two_versions_share_the_blob_of_their_backbone(local: Registry, tiny_bundles: Bundles) -> None:
    for bundle in tiny_bundles:
        publish(local, order(bundle))
    assert len(list(local.storage.list(layout.BLOBS))) == 1 + 3  # one backbone, three heads


def test_a_staged_channel_gets_a_candidate_which_is_released_by_hand(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0]))
    with local.database.write() as tx:
        tx.execute(update(channels).values(release_policy="staged"))
    candidate = publish(local, order(tiny_bundles[1]))
    assert (candidate.status, candidate.is_stable, candidate.rollout_percentage) == ("testing", False, 0)
    assert latest.read(local.storage, "T_1") == "1.0.0"
    assert versions.release(local, "T_1", "1.0.1").is_stable
    assert latest.read(local.storage, "T_1") == "1.0.1"
    forced = publish(local, order(tiny_bundles[2], release=ReleasePolicy.IMMEDIATE))
    assert forced.is_stable


def test_a_roll_back_points_to_the_older_version_and_ends_the_rollout(
    registry: Registry, tiny_bundles: Bundles
) -> None:
    for bundle in tiny_bundles[:2]:
        publish(registry, order(bundle))
    candidate = publish(registry, order(tiny_bundles[2], release=ReleasePolicy.STAGED))
    with registry.database.write() as tx:
        row = model_metadata.c.version == f"v{candidate.version}"
        tx.execute(update(model_metadata).where(row).values(rollout_percentage=10, shadow_mode=True))
    sequence = one(registry, channels.c.sequence)
    files_before = sorted(file.path for file in registry.storage.list(""))
    back = versions.roll_back(registry, "T_1", actor="admin:anna")
    assert (back.version, back.is_stable, back.status) == ("1.0.0", True, "active")
    assert latest.read(registry.storage, "T_1") == "1.0.0"
    assert max(one(registry, channels.c.sequence)) > max(sequence)
    assert sorted(file.path for file in registry.storage.list("")) == files_before
    with registry.database.read() as tx:
        found = {each.version: each for each in store.versions(tx, "T_1")}
    assert (found["1.0.1"].status, found["1.0.1"].is_stable) == ("deprecated", False)
    assert (found["1.0.2"].rollout_percentage, found["1.0.2"].shadow_mode) == (0, False)
    assert versions.roll_back(registry, "T_1", "1.0.1").is_stable  # and forward again


def test_republishing_brings_an_older_model_back_as_a_newer_version(local: Registry, tiny_bundles: Bundles) -> None:
    first = publish(local, order(tiny_bundles[0]))
    publish(local, order(tiny_bundles[1]))
    again = versions.republish(local, "T_1", actor="admin:anna")
    assert (again.version, again.is_stable) == ("1.0.2", True)
    assert again.trained_at > first.trained_at
    old, new = (files.read_manifest(local.storage, "T_1", version) for version in ("1.0.0", "1.0.2"))
    assert old.blobs == new.blobs
    assert files.read_metadata(local.storage, "T_1", "1.0.2").trained_at == again.trained_at


def test_versions_of_a_channel_are_compared(local: Registry, tiny_bundles: Bundles) -> None:
    for bundle in tiny_bundles[:2]:
        publish(local, order(bundle))
    found = versions.compare(local, "T_1", "1.0.0", "1.0.1")
    assert (found.products_added, found.products_removed, found.image_gain) == ((), (), 1)
    backbone = files.read_manifest(local.storage, "T_1", "1.0.0").blobs[0]
    whole = sum(blob.size for blob in files.read_manifest(local.storage, "T_1", "1.0.1").blobs)
    assert found.new_download_bytes < whole + 10_000 - backbone.size + 10_000


def test_a_published_version_is_verified_and_damage_is_found(registry: Registry, tiny_bundles: Bundles) -> None:
    publish(registry, order(tiny_bundles[0]))
    version, manifest = versions.verify(registry, "T_1")
    assert (version.version, manifest.version) == ("1.0.0", "1.0.0")
    registry.storage.put("ml-models/T_1/v1.0.0/weights.bin", b"not these")
    with pytest.raises(BundleError, match=r"T_1/v1\.0\.0/weights\.bin is not the file"):
        versions.verify(registry, "T_1")


@pytest.mark.parametrize("damage", ["missing", "changed", "row"])
def test_what_is_damaged_is_not_rolled_back_to(local: Registry, tiny_bundles: Bundles, damage: str) -> None:
    for bundle in tiny_bundles[:2]:
        publish(local, order(bundle))
    path = "ml-models/T_1/v1.0.0/model.onnx"
    match damage:
        case "missing":
            local.storage.delete([path])
        case "changed":
            local.storage.put(path, local.storage.get(path)[:-1] + b"?")
        case _:
            with local.database.write() as tx:
                row = model_metadata.c.version == "v1.0.0"
                tx.execute(update(model_metadata).where(row).values(checksum_sha256="00"))
    with pytest.raises(BundleError):
        versions.roll_back(local, "T_1")
    assert latest.read(local.storage, "T_1") == "1.0.1"


def test_the_stable_version_is_not_deprecated_and_others_are(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0]))
    publish(local, order(tiny_bundles[1], release=ReleasePolicy.STAGED))
    assert versions.deprecate(local, "T_1", "1.0.1").deprecated_at is not None
    with pytest.raises(ConflictError):
        versions.deprecate(local, "T_1", "1.0.0")


def test_a_version_is_never_published_twice(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0], version="1.2.0"))
    with pytest.raises(ConflictError, match="never changes"):
        publish(local, order(tiny_bundles[1], version="1.2.0"))
    assert publish(local, order(tiny_bundles[1])).version == "1.2.1"


def test_a_channel_that_is_not_there_is_said_so(local: Registry, tiny_bundles: Bundles) -> None:
    for act in (
        lambda: publish(local, Order(folder=tiny_bundles[0], channel="nowhere")),
        lambda: versions.roll_back(local, "nowhere"),
        lambda: versions.verify(local, "nowhere"),
        lambda: clean_up(local, channel="nowhere"),
    ):
        with pytest.raises(NotFoundError, match="no channel 'nowhere'"):
            act()


def test_a_bundle_that_is_damaged_is_refused_and_leaves_nothing(
    local: Registry, tiny_bundles: Bundles, tmp_path: Path, checking: None
) -> None:
    broken = shutil.copytree(tiny_bundles[0], tmp_path / "broken")
    (broken / "model.ort").write_bytes(b"half")
    with pytest.raises(BundleError):
        publish(local, order(broken))
    with pytest.raises(BundleError, match="is no folder"):
        publish(local, order(tmp_path / "nothing"))
    assert list(local.storage.list("")) == []
    assert one(local, model_metadata.c.version) == []


def test_a_second_publish_of_a_channel_is_refused_while_one_runs(registry: Registry, tiny_bundles: Bundles) -> None:
    with held(registry.database, publish_lease("T_1")):
        with pytest.raises(BusyError, match="a publish or clean-up of T_1 is running on"):
            publish(registry, order(tiny_bundles[0]))
        publish(registry, Order(folder=tiny_bundles[0], channel="default"))  # another channel is free
    assert publish(registry, order(tiny_bundles[0])).is_stable


def test_a_publish_waits_while_shared_files_are_cleaned_up(
    local: Registry, tiny_bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(local.database, SWEEP) as sweep, monkeypatch.context() as patch:
        patch.setattr("shelfsight.registry.publish._SWEEP_WITHIN_S", 0.3)
        with pytest.raises(ConflictError, match="publish again in a minute"):
            publish(local, order(tiny_bundles[0]))
        patch.setattr("shelfsight.registry.publish._SWEEP_WITHIN_S", 30)
        Timer(0.5, lambda: _release(local, sweep)).start()
        assert publish(local, order(tiny_bundles[0])).version == "1.0.0"


def _release(registry: Registry, lease: Lease) -> None:
    with registry.database.write() as tx:
        leases.release(tx, name=lease.work.name, token=lease.token)


def test_a_clean_up_spares_the_blobs_of_a_running_publish(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0]))
    with held(local.database, publish_lease("default")), local.database.write() as tx:
        store.claim_blobs(tx, "default", "1.0.0", ["ab" * 32])
    local.storage.put(layout.blob("ab" * 32), b"just uploaded")
    local.storage.put(layout.blob("cd" * 32), b"nobody's")
    with held(local.database, publish_lease("default")):
        cleaned = clean_up(local)
    assert (cleaned.blobs, cleaned.busy) == (["cd" * 32], ["default"])
    assert local.storage.exists(layout.blob("ab" * 32))


def test_old_versions_are_deleted_and_those_in_use_are_kept(registry: Registry, tiny_bundles: Bundles) -> None:
    for number in range(5):
        publish(registry, order(tiny_bundles[number % 3]))
    with registry.database.write() as tx:
        tx.execute(text("UPDATE model_metadata SET created_at = '2020-01-01T00:00:00.000000Z'"))
        row = model_metadata.c.version == "v1.0.1"
        tx.execute(update(model_metadata).where(row).values(status="testing", rollout_percentage=10))
    cleaned = clean_up(registry, channel="T_1", retention=Retention(keep=2), actor="admin:anna")
    assert cleaned.versions == ["T_1 1.0.0", "T_1 1.0.2"]
    left = {file.path.split("/")[2] for file in registry.storage.list("ml-models/T_1")}
    assert left == {"v1.0.1", "v1.0.3", "v1.0.4"}
    assert latest.read(registry.storage, "T_1") == "1.0.4"
    clean_up(registry)
    check_nothing_is_orphaned(registry)
    assert len(one(registry, trainings.c.id)) == 5  # the history stays


def test_files_of_a_channel_that_is_gone_are_removed(
    registry: Registry, tiny_bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "_IMAGES_WAIT", timedelta(seconds=-10))  # as if it were tomorrow
    publish(registry, order(tiny_bundles[0]))
    publish(registry, Order(folder=tiny_bundles[1], channel="default"))
    registry.storage.put("ml-models/old_shop/v1.0.0/model.json", b"{}")
    registry.storage.point("ml-models/old_shop/latest", "v1.0.0")
    registry.storage.put("images/old_shop/ab/abcd", b"a photo")
    cleaned = clean_up(registry)
    assert cleaned.channels == ["old_shop"]
    assert {file.path.split("/")[1] for file in registry.storage.list("")} == {"T_1", "default", "blobs"}
    assert registry.storage.pointer("ml-models/old_shop/latest") is None
    assert latest.read(registry.storage, "T_1") == "1.0.0"


def test_a_stable_version_chosen_in_sql_becomes_latest(registry: Registry, tiny_bundles: Bundles) -> None:
    for bundle in tiny_bundles[:2]:
        publish(registry, order(bundle))
    with registry.database.write() as tx:
        row = model_metadata.c.version == "v1.0.0"
        tx.execute(update(model_metadata).where(row).values(status="active", is_stable=True))
    assert latest.point(registry.database, registry.storage, "T_1") == "1.0.0"
    assert latest.read(registry.storage, "T_1") == "1.0.0"


def test_that_latest_could_not_follow_is_said_and_a_clean_up_lets_it(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0]))
    failing = Registry(database=local.database, storage=Failing(local.storage, "point", 0))
    with pytest.raises(StorageError, match=r"T_1 1\.0\.1 is what counts, .* `shelfsight cleanup T_1`"):
        publish(failing, order(tiny_bundles[1]))
    assert latest.read(local.storage, "T_1") == "1.0.0"
    clean_up(local, channel="T_1")
    assert latest.read(local.storage, "T_1") == "1.0.1"


def test_a_row_without_files_never_becomes_latest(local: Registry, tiny_bundles: Bundles) -> None:
    publish(local, order(tiny_bundles[0]))
    with local.database.write() as tx:
        row = {"version": "v9.0.0", "file_path": "", "channel_id": "T_1", "status": "active", "is_stable": True}
        tx.execute(insert(model_metadata).values(row))
    with pytest.raises(BundleError, match=r"v9\.0\.0/manifest\.json is missing"):
        latest.point(local.database, local.storage, "T_1")
    assert latest.read(local.storage, "T_1") == "1.0.0"
    assert len(clean_up(local).broken) == 1
    assert latest.read(local.storage, "T_1") == "1.0.0"
    assert local.storage.exists("ml-models/T_1/v1.0.0/model.json")


class Failing:
    """A storage that fails at one call of a method, as a full disk or a lost network does."""

    def __init__(self, storage: Storage, method: str, at: int) -> None:
        self._storage, self._method, self._left = storage, method, at

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._storage, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise StorageError("no space left: make room")
            return getattr(self._storage, name)(*args, **kwargs)

        return call


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("method", ["put_file", "move_folder", "point", "get"])
def test_a_storage_that_fails_loses_nothing_and_a_retry_succeeds(
    local: Registry, tiny_bundles: Bundles, method: str, at: int
) -> None:
    if at and method in {"move_folder", "point"}:
        return  # they are called once
    publish(local, order(tiny_bundles[0]))
    failing = Registry(database=local.database, storage=Failing(local.storage, method, at))
    with pytest.raises(StorageError):
        publish(failing, order(tiny_bundles[1]))
    assert latest.read(local.storage, "T_1") == "1.0.0"
    publish(local, order(tiny_bundles[1]))
    versions.verify(local, "T_1")
    clean_up(local)
    check_nothing_is_orphaned(local)


def _refuse_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def gone(*_args: Any, **_more: Any) -> None:
        raise DatabaseError("the database does not answer")

    monkeypatch.setattr(leases if name == "renew" else store, name, gone)


@pytest.mark.parametrize("at", ["claim_blobs", "insert_version", "make_stable", "note_place", "renew"])
def test_a_database_that_goes_in_the_middle_loses_nothing(
    local: Registry, tiny_bundles: Bundles, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(local, order(tiny_bundles[0]))
    with monkeypatch.context() as patch:
        _refuse_at(patch, at)
        with pytest.raises(DatabaseError):
            publish(local, order(tiny_bundles[1]))
    assert latest.read(local.storage, "T_1") == "1.0.0"
    assert publish(local, order(tiny_bundles[1])).is_stable
    clean_up(local)
    check_nothing_is_orphaned(local)


def test_a_postgresql_that_ends_its_connections_in_the_middle_is_survived(
    postgresql: Database, tiny_bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(database=postgresql, storage=open_storage(tmp_path / "assets"))
    publish(registry, Order(folder=tiny_bundles[0], channel="default"))
    real: Callable[..., None] = store.insert_version

    def cut(tx: Any, *args: Any) -> None:
        real(tx, *args)
        with postgresql.engine.connect() as other:
            mine = "pid <> pg_backend_pid() AND datname = current_database()"
            other.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))

    with monkeypatch.context() as patch:
        patch.setattr(store, "insert_version", cut)
        with pytest.raises(DatabaseError):
            publish(registry, Order(folder=tiny_bundles[1], channel="default"))
    assert latest.read(registry.storage, "default") == "1.0.0"
    assert publish(registry, Order(folder=tiny_bundles[1], channel="default")).is_stable


def test_a_storage_that_may_only_be_read_refuses_a_publish_in_one_sentence(
    sqlite: Database, s3: S3Server, tiny_bundles: Bundles
) -> None:
    url = f"{s3.url}/{uuid.uuid4().hex}"
    publish(
        Registry(database=sqlite, storage=open_storage(url, options=s3.options)),
        Order(folder=tiny_bundles[0], channel="default"),
    )
    reading = Registry(database=sqlite, storage=open_storage(url, options=s3.reader_options))
    with pytest.raises(StorageError):
        publish(reading, Order(folder=tiny_bundles[1], channel="default"))
    assert latest.read(reading.storage, "default") == "1.0.0"


def test_a_disk_that_is_full_refuses_a_publish_and_serves_on(
    sqlite: Database, tiny_bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = sum(path.stat().st_size // 4096 + 2 for path in tiny_bundles[0].rglob("*"))
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={pages * 4096}"  # room for one version
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], capture_output=True, check=False)
    registry = Registry(database=sqlite, storage=open_storage(disk / "assets"))
    try:
        publish(registry, Order(folder=tiny_bundles[0], channel="default"))
        if mounted.returncode:  # not allowed to mount: say what a full disk says
            monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
        with pytest.raises(StorageError, match="full"):
            publish(registry, Order(folder=tiny_bundles[1], channel="default"))
        monkeypatch.undo()
        assert latest.read(registry.storage, "default") == "1.0.0"
        versions.verify(registry, "default")
        clean_up(registry)
        check_nothing_is_orphaned(registry, "default")
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", disk], check=True)
