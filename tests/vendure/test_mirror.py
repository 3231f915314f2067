"""What a real Vendure is told of a channel here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from shelfsight.database.tables import channels, vendure_channels
from shelfsight.errors import VendureError
from shelfsight.leases.lease import kept
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.channels import model_fields, set_model_fields
from shelfsight.partners.vendure.client import VendureClient
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.registry.versions import roll_back
from shelfsight.storage import open_storage
from shelfsight.vendure import mirror as mirror_module
from shelfsight.vendure.deploy import deploy
from shelfsight.vendure.deploy_channel import find_channel
from shelfsight.vendure.deploy_check import check_deployed
from shelfsight.vendure.mirror import mirror, model_files, tell
from shelfsight.vendure.versions import list_versions
from shelfsight.vendure.versions import roll_back as roll_back_there
from tests.vendure.connected import CHANNEL, ConnectedShop, make_shop
from tests.vendure.models import model_files as some_model
from tests.vendure.models import written

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.partners.vendure.records import ModelFields
    from tests.vendure.server import VendureServer


_CHANGED = "query($id: ID!) { channel(id: $id) { updatedAt } }"


class Mirrored:
    """A connected channel in which versions are published."""

    def __init__(self, shop: ConnectedShop, folder: Path) -> None:
        """Publish from subfolders of a folder."""
        self.shop = shop
        self._folder = folder
        self._registry = Registry(database=shop.database, storage=shop.storage)
        self._there = find_channel(shop.vendure.admin, shop.there.id)
        self._count = 0

    def publish(self) -> str:
        """Publish another model, and return its version, as it is called there."""
        self._count += 1
        folder = written(self._folder / str(self._count), some_model(self._count))
        return f"v{publish(self._registry, Order(folder=folder, channel=CHANNEL)).version}"

    def roll_back(self) -> str:
        """Go back to the version before, and return it."""
        return f"v{roll_back(self._registry, CHANNEL).version}"

    def set_status(self, status: str) -> None:
        """Let the training of the channel be in a status."""
        with self.shop.database.write() as tx:
            tx.execute(update(channels).where(channels.c.id == CHANNEL).values(model_training_status=status))

    def tell(self) -> None:
        """Do what is due."""
        assert self.is_due
        tell(self.shop, CHANNEL)

    def overwrite(self, **fields: Any) -> None:
        """Let somebody write fields of the channel in Vendure."""
        set_model_fields(self.shop.vendure.admin, self._there, replace(self.fields, **fields))

    def look(self) -> None:
        """Do what is due when it is time to look at Vendure."""
        assert not self.is_due
        self.shop.find_vendure()
        self.tell()
        assert not self.is_due

    @property
    def changed_at(self) -> str:
        """When the channel was last written in Vendure."""
        found = self.shop.vendure.ask(_CHANGED, id=self.shop.there.id)
        return str(found["updatedAt"])

    @property
    def is_due(self) -> bool:
        """Whether there is something to do."""
        return mirror(self.shop).due() == [CHANNEL]

    @property
    def fields(self) -> ModelFields:
        """What Vendure says of the channel."""
        return model_fields(self.shop.vendure.admin, self._there)

    def versions(self) -> list[tuple[str, bool]]:
        """Return the versions that are there, the newest first, and which one is active."""
        found = list_versions(self.shop.vendure.admin, self._there)
        return [(one.version, one.is_active) for one in found]

    def loads(self) -> bool:
        """Return whether what is active there loads, and is what is stable here."""
        [active] = [one for one in list_versions(self.shop.vendure.admin, self._there) if one.is_active]
        deployed = check_deployed(self.shop.vendure.admin, active.files)
        return deployed.metadata == model_files(self.shop.storage, CHANNEL, active.version.removeprefix("v")).metadata


@pytest.fixture
def mirrored(vendure: VendureServer, database: Database, tmp_path: Path) -> Mirrored:
    """A channel whose models are deployed, and which has none yet."""
    shop = make_shop(vendure, database, open_storage(tmp_path / "assets"))
    shop.connect(deploys=True)
    mirrored = Mirrored(shop, tmp_path)
    mirrored.tell()
    return mirrored


def test_after_each_publish_devices_there_load_the_new_version_and_the_one_before_stays(mirrored: Mirrored) -> None:
    assert (mirrored.fields.version, mirrored.is_due) == (None, False)
    versions = []
    for _ in range(3):
        versions.append(mirrored.publish())
        mirrored.tell()
        assert mirrored.fields.version == versions[-1]
        assert mirrored.loads()
        assert not mirrored.is_due
    assert mirrored.versions() == [(versions[2], True), (versions[1], False)]


def test_a_roll_back_here_is_one_there(mirrored: Mirrored) -> None:
    first = mirrored.publish()
    mirrored.tell()
    second = mirrored.publish()
    mirrored.tell()
    assert mirrored.roll_back() == first
    mirrored.tell()
    assert sorted(mirrored.versions()) == [(first, True), (second, False)]


def test_the_status_of_trainings_follows(mirrored: Mirrored) -> None:
    version = mirrored.publish()
    mirrored.tell()
    for status in ("queued", "training", "failed"):
        mirrored.set_status(status)
        mirrored.tell()
        assert (mirrored.fields.status, mirrored.fields.version) == (status, version)


def test_without_deploying_the_fields_say_what_is_stable_here_and_where(mirrored: Mirrored) -> None:
    mirrored.shop.connect(deploys=False)
    version = mirrored.publish()
    mirrored.tell()
    fields = mirrored.fields
    assert (fields.version, fields.model_id) == (version, None)
    assert fields.base_url == f"/assets/ml-models/{CHANNEL}/latest/model.json"
    assert fields.last_trained is not None


def test_without_deploying_a_model_that_a_pipeline_has_deployed_there_stays(mirrored: Mirrored) -> None:
    mirrored.shop.connect(deploys=False)
    admin = mirrored.shop.vendure.admin
    deploy(admin, some_model(9), channel=find_channel(admin, mirrored.shop.there.id), version="9.0.0")
    deployed = mirrored.fields
    mirrored.publish()
    mirrored.set_status("training")
    mirrored.tell()
    assert mirrored.fields == replace(deployed, status="training")


def test_deploying_that_is_switched_on_later_begins_with_what_is_stable(mirrored: Mirrored) -> None:
    mirrored.shop.connect(deploys=False)
    version = mirrored.publish()
    mirrored.tell()
    mirrored.shop.connect(deploys=True)
    mirrored.tell()
    assert mirrored.versions() == [(version, True)]


def test_without_vendure_it_is_noted_and_told_when_it_is_back(mirrored: Mirrored) -> None:
    version = mirrored.publish()
    mirrored.shop.lose_vendure()
    mirrored.tell()
    assert not mirrored.is_due
    assert "cannot be reached" in mirror_error(mirrored)
    mirrored.shop.find_vendure()
    mirrored.tell()
    assert (mirrored.fields.version, mirror_error(mirrored)) == (version, "")


def test_a_version_without_a_model_for_browsers_says_so_and_the_one_before_stays(mirrored: Mirrored) -> None:
    first = mirrored.publish()
    mirrored.tell()
    second = mirrored.publish()
    mirrored.shop.storage.delete([f"ml-models/{CHANNEL}/{second}/model.json"])
    mirrored.tell()
    assert mirrored.versions() == [(first, True)]
    assert "model.json" in mirror_error(mirrored)


def test_what_somebody_deploys_while_the_status_is_written_stays(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored.publish()
    mirrored.tell()
    admin, there = mirrored.shop.vendure.admin, find_channel(mirrored.shop.vendure.admin, mirrored.shop.there.id)

    def read(*given: Any) -> ModelFields:
        before = model_fields(*given)
        set_model_fields(admin, there, replace(before, version="v9", weights_id="99"))
        return before

    monkeypatch.setattr(mirror_module, "model_fields", read)
    mirrored.set_status("training")
    mirrored.tell()
    fields = mirrored.fields
    assert (fields.status, fields.version, fields.weights_id) == ("training", "v9", "99")


def test_who_was_late_tells_what_is_so_by_now(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mirrored.publish()

    def late(*given: Any) -> Any:
        monkeypatch.undo()
        second.append(mirrored.publish())
        mirrored.tell()  # another process
        return kept(*given)

    second: list[str] = []
    monkeypatch.setattr(mirror_module, "kept", late)
    mirrored.tell()
    assert first != second[0] == mirrored.fields.version
    assert mirrored.versions() == [(second[0], True)]


def test_a_channel_that_is_connected_otherwise_meanwhile_is_told_all_of_it(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored.shop.connect(deploys=False)
    version = mirrored.publish()

    def read(*given: Any) -> ModelFields:
        mirrored.shop.connect(deploys=True)
        return model_fields(*given)

    monkeypatch.setattr(mirror_module, "model_fields", read)
    mirrored.tell()
    monkeypatch.undo()
    mirrored.tell()
    assert mirrored.versions() == [(version, True)]


def test_a_clean_up_that_fails_keeps_nothing_from_being_told(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise VendureError("it is featured by 1 Product")

    monkeypatch.setattr(mirror_module, "clean_up", refused)
    version = mirrored.publish()
    mirrored.set_status("failed")
    mirrored.tell()
    assert (mirrored.fields.version, mirrored.fields.status) == (version, "failed")
    assert "featured by 1 Product" in mirror_error(mirrored)


def test_a_bug_of_ours_is_not_tried_again_every_second(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "find_channel", lambda *_, **__: 1 / 0)
    mirrored.set_status("training")
    mirrored.tell()
    assert not mirrored.is_due
    assert mirror_error(mirrored) == "Shelfsight failed (ZeroDivisionError)"


def test_a_field_that_somebody_clears_there_is_set_again(mirrored: Mirrored) -> None:
    version = mirrored.publish()
    mirrored.tell()
    deployed = mirrored.fields
    for lost in ("version", "base_url", "last_trained", "model_id", "weights_id", "metadata_id"):
        mirrored.overwrite(**{lost: None})
        mirrored.look()
        assert mirrored.fields == deployed, lost
    assert mirrored.versions() == [(version, True)]


def test_without_deploying_whatever_somebody_writes_there_is_set_again(mirrored: Mirrored) -> None:
    mirrored.shop.connect(deploys=False)
    mirrored.publish()
    mirrored.tell()
    told = mirrored.fields
    mirrored.overwrite(version="v9", base_url=None, last_trained=None, status="failed")
    mirrored.look()
    assert mirrored.fields == told


@pytest.mark.parametrize("deploys", [True, False])
def test_where_nothing_differs_nothing_is_written(mirrored: Mirrored, deploys: bool) -> None:
    mirrored.shop.connect(deploys=deploys)
    mirrored.publish()
    mirrored.tell()
    before = mirrored.changed_at
    mirrored.look()
    assert mirrored.changed_at == before
    mirrored.overwrite(status="failed")
    mirrored.look()
    assert mirrored.changed_at > before


def test_another_version_that_somebody_makes_active_there_stays(mirrored: Mirrored) -> None:
    first = mirrored.publish()
    mirrored.tell()
    mirrored.publish()
    mirrored.tell()
    admin = mirrored.shop.vendure.admin
    roll_back_there(admin, find_channel(admin, mirrored.shop.there.id))
    mirrored.overwrite(status="training")
    mirrored.look()
    assert (mirrored.fields.version, mirrored.fields.status) == (first, "ready")


def test_a_look_is_one_query(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored.publish()
    mirrored.tell()
    asked: list[str] = []
    query = VendureClient.query

    def counted(self: VendureClient, document: str, *given: Any, **more: Any) -> Any:
        asked.append(document)
        return query(self, document, *given, **more)

    monkeypatch.setattr(VendureClient, "query", counted)
    mirrored.look()
    assert asked == [documents.CHANNEL_MODEL]


def test_a_look_that_fails_is_noted_and_tried_again(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise VendureError("not now")

    version = mirrored.publish()
    mirrored.tell()
    mirrored.overwrite(version=None)
    monkeypatch.setattr(mirror_module, "model_fields", refused)
    mirrored.look()
    assert mirror_error(mirrored) == "not now"
    monkeypatch.undo()
    mirrored.look()
    assert (mirrored.fields.version, mirror_error(mirrored)) == (version, "")


def mirror_error(mirrored: Mirrored) -> str:
    """Return why it could not be told the last time."""
    with mirrored.shop.database.read() as tx:
        return tx.scalar(select(vendure_channels.c.mirror_error)) or ""
