"""The training job by itself: the gate, force, and the real thing from photos to a version."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from shelfsight.access import audit
from shelfsight.catalog.images import Upload, add_images
from shelfsight.catalog.rules import ChannelValues, ProductDetails, ReleasePolicy, Stamp
from shelfsight.catalog.store import channels, products
from shelfsight.jobs import store
from shelfsight.jobs import training as training_module
from shelfsight.jobs.outcome import outcome
from shelfsight.jobs.training import Trainer
from shelfsight.jobs.trainings import Reason, Training, TrainingState
from shelfsight.registry import latest
from shelfsight.registry import store as versions
from shelfsight.registry.publish import Registry
from shelfsight.registry.rules import Status
from shelfsight.rollout import moves
from shelfsight.rollout import store as rollouts
from shelfsight.rollout.moves import Operator
from shelfsight.rollout.rules import EVERYBODY, Plan
from shelfsight.storage import open_storage
from shelfsight.training.gate import GateVerdict
from shelfsight.training.process import Order, Outcome
from tests.conftest import CORNER_SHOP
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from shelfsight.jobs.job import Job
    from shelfsight.training.progress import Step

ANNA = Stamp(actor="anna", at=datetime(2026, 5, 4, 12, tzinfo=UTC))


@dataclass
class OnlyOnce:
    """A job whose every step is done, once, here."""

    payload: dict[str, Any]
    steps: list[str] = field(default_factory=list)

    def step(self, name: str, function: Callable[[], Any], **_more: Any) -> Any:
        self.steps.append(name)
        return function()

    def should_stop(self) -> bool:
        return False


@pytest.fixture
def registry(sqlite: Database, tmp_path: Path) -> Registry:
    """A registry with the channel T_1, which sells two products of the example shop with ten photos each."""
    registry = Registry(database=sqlite, storage=open_storage(tmp_path / "assets"))
    with sqlite.write() as tx:
        channels.create(tx, "T_1", ChannelValues(), ANNA)
    for product in ("banana", "garlic"):
        with sqlite.write() as tx:
            products.add(tx, "T_1", product, ProductDetails(name=product), ANNA)
        photos = [
            Upload(name=path.name, data=path.read_bytes()) for path in sorted((CORNER_SHOP / product).iterdir())
        ]
        add_images(registry, "T_1", product, photos, ANNA)
    return registry


def train(registry: Registry, trainer: Trainer, *, forced: bool = False) -> Training:
    with registry.database.write() as tx:
        asked = store.request(tx, "T_1", reason=Reason.PERSON, requested_by="anna", forced=forced, now=ANNA.at)
    trainer.run(cast("Job", OnlyOnce({"training": asked.id})))
    with registry.database.read() as tx:
        return store.get(tx, asked.id)


def test_photos_become_a_version_with_what_was_measured(registry: Registry, tmp_path: Path) -> None:
    done = train(registry, Trainer(registry=registry, storage_url=str(tmp_path / "assets")))
    assert (done.status, done.version, done.product_count, done.image_count) == (TrainingState.READY, "1.0.0", 2, 20)
    assert done.gate == "There is no other version to compare it with."
    assert done.accuracy is not None
    assert done.started_at is not None
    assert latest.read(registry.storage, "T_1") == "1.0.0"
    with registry.database.read() as tx:
        settings = channels.get(tx, "T_1").settings
    assert (settings.model_version, settings.model_training_status) == ("v1.0.0", "ready")
    again = train(registry, Trainer(registry=registry, storage_url=str(tmp_path / "assets")))
    assert again.version == "1.0.1"
    assert "1.0.1 is not clearly worse than 1.0.0" in again.gate


@pytest.mark.parametrize(
    ("agrees", "forced", "status"),
    [(True, False, Status.ACTIVE), (False, False, Status.TESTING), (False, True, Status.ACTIVE)],
)
def test_a_clearly_worse_version_is_published_and_not_released_unless_it_is_forced(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agrees: bool, forced: bool, status: Status
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")

    def stand_in(order: Order, _tell: Callable[[Step], None], _should_stop: Callable[[], bool]) -> Outcome:
        shutil.copytree(bundle, order.out)
        return Outcome.TRAINED

    trainer = Trainer(registry=registry, storage_url="", train=stand_in)
    monkeypatch.setattr(training_module, "judge", lambda *_: GateVerdict(agrees=True, reason="first"))
    train(registry, trainer)
    monkeypatch.setattr(training_module, "judge", lambda *_: GateVerdict(agrees=agrees, reason="20 points worse"))
    with capture_logs() as log:
        done = train(registry, trainer, forced=forced)
    told = [(entry["event"], entry["channel"]) for entry in log]
    assert told == [("training_began", "T_1"), ("training_ended", "T_1")]
    assert (log[-1]["state"], log[-1]["version"]) == ("ready", "1.0.1")
    assert (done.status, done.gate, done.version) == (TrainingState.READY, "20 points worse", "1.0.1")
    with registry.database.read() as tx:
        published = versions.version(tx, "T_1", "1.0.1")
    assert (published.status, published.is_stable) == (status, status is Status.ACTIVE)
    assert latest.read(registry.storage, "T_1") == ("1.0.1" if published.is_stable else "1.0.0")


@dataclass
class Stand:
    """A trainer with a stand-in, in a channel whose policy is `staged`; the gate says what it is told to."""

    registry: Registry
    trainer: Trainer
    agrees: bool = True

    def train(self, *, forced: bool = False) -> Training:
        return train(self.registry, self.trainer, forced=forced)

    def said(self, training: Training) -> str:
        """Return how a training stands."""
        with self.registry.database.read() as tx:
            return outcome(tx, training)

    def told(self) -> tuple[str | None, str | None, str | None]:
        """Return the stable version, the candidate and the shadow."""
        with self.registry.database.read() as tx:
            told = rollouts.standing(tx, "T_1").assignment
        offers = [None if one is None else one.version.version for one in (told.candidate, told.shadow)]
        return (None if told.stable is None else told.stable.version, offers[0], offers[1])

    def log(self, training: Training) -> list[str]:
        with self.registry.database.read() as tx:
            return [entry.line for entry in store.log_of(tx, training.id)]


@pytest.fixture
def staged(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    bundle = write_tiny_bundle(tmp_path / "bundle")

    def stand_in(order: Order, _tell: Callable[[Step], None], _should_stop: Callable[[], bool]) -> Outcome:
        shutil.copytree(bundle, order.out)
        return Outcome.TRAINED

    made = Stand(registry, Trainer(registry=registry, storage_url="", train=stand_in))
    with registry.database.write() as tx:
        channels.change(tx, "T_1", ChannelValues(release_policy=ReleasePolicy.STAGED), stamp=ANNA)
    monkeypatch.setattr(
        training_module, "judge", lambda *_: GateVerdict(agrees=made.agrees, reason="What the gate says.")
    )
    return made


def test_where_the_policy_is_staged_the_first_version_is_stable_and_the_next_the_candidate(staged: Stand) -> None:
    first = staged.train()
    assert (staged.told(), staged.said(first)) == (("1.0.0", None, None), "Version 1.0.0 is live.")
    second = staged.train()
    assert staged.told() == ("1.0.0", None, "1.0.1")
    said = "Version 1.0.1 is being rolled out: it runs in shadow on 10 % of the devices."
    assert (staged.said(second), said in staged.log(second)) == (said, True)
    assert latest.read(staged.registry.storage, "T_1") == "1.0.0"
    with staged.registry.database.read() as tx:
        (rollout,) = rollouts.running(tx, "T_1")
        started = [one for one in audit.list_entries(tx, limit=100) if one.action == "rollout_started"]
    assert rollout.started_by == "anna"
    assert [(one.actor, one.channel, one.subject) for one in started] == [("anna", "T_1", "v1.0.1")]


def test_while_a_version_is_rolled_out_a_newer_training_waits_and_says_so(staged: Stand) -> None:
    staged.train()
    staged.train()
    third = staged.train()
    assert staged.told() == ("1.0.0", None, "1.0.1")
    said = "Version 1.0.2 is trained, and waits: 1.0.1 is being rolled out. What the gate says."
    assert (staged.said(third), said in staged.log(third)) == (said, True)
    moves.roll_back(staged.registry, "T_1", by=Operator(actor="anna"))
    assert staged.said(third) == "Version 1.0.2 is trained, and waits to be released. What the gate says."


def test_a_clearly_worse_version_is_not_rolled_out(staged: Stand) -> None:
    staged.train()
    staged.agrees = False
    worse = staged.train()
    assert staged.told() == ("1.0.0", None, None)
    assert staged.said(worse) == "Version 1.0.1 is trained, and waits to be released. What the gate says."
    forced = staged.train(forced=True)
    assert (staged.told(), staged.said(forced)) == (("1.0.2", None, None), "Version 1.0.2 is live.")


def test_what_becomes_of_a_candidate_is_said_of_its_training(staged: Stand) -> None:
    staged.train()
    second = staged.train()
    anna = Operator(actor="anna", reason="It beeps at bananas.")
    moves.advance(staged.registry, "T_1", by=anna)
    assert staged.said(second) == "Version 1.0.1 is being rolled out: 10 % of the devices have it."
    moves.roll_back(staged.registry, "T_1", by=anna)
    assert staged.said(second) == "Version 1.0.1 was taken back from the devices. It beeps at bananas."
    moves.start(staged.registry, "T_1", "1.0.1", Plan(), by=anna)
    assert "is being rolled out" in staged.said(second)
    moves.advance(staged.registry, "T_1", EVERYBODY, by=anna)
    assert staged.said(second) == "Version 1.0.1 is live."
    moves.roll_back(staged.registry, "T_1", by=anna)
    assert staged.said(second) == "Version 1.0.1 was trained; version 1.0.0 is live."


def test_a_training_whose_worker_died_after_the_publish_is_rolled_out_once(
    staged: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.train()
    with monkeypatch.context() as patch:
        patch.setattr(latest, "point", _die)  # what comes after the transaction of the publish
        with pytest.raises(KeyboardInterrupt):
            staged.train()
    with staged.registry.database.read() as tx:
        (last, *_), _ = store.page(tx, "T_1", limit=1)
    staged.trainer.run(cast("Job", OnlyOnce({"training": last.id})))
    assert staged.told() == ("1.0.0", None, "1.0.1")
    with staged.registry.database.read() as tx:
        assert len(rollouts.page(tx, "T_1", limit=10)[0]) == 1
        assert store.get(tx, last.id).status is TrainingState.READY


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_pictures_that_cannot_be_read_are_no_failure_but_said(registry: Registry, tmp_path: Path) -> None:
    for file in list(registry.storage.list("images/T_1")):
        registry.storage.put(file.path, b"decayed")
    done = train(registry, Trainer(registry=registry, storage_url=str(tmp_path / "assets")))
    assert (done.status, done.error) == (TrainingState.IDLE, "Add a second product with photos.")


def test_who_cancels_while_it_is_published_is_heard(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")

    def cancelled_at_the_end(
        order: Order, _tell: Callable[[Step], None], _should_stop: Callable[[], bool]
    ) -> Outcome:
        shutil.copytree(bundle, order.out)
        with registry.database.write() as tx:
            store.cancel(tx, store.page(tx, "T_1", limit=1)[0][0].id, ANNA.at)
        return Outcome.TRAINED

    monkeypatch.setattr(training_module, "judge", lambda *_: GateVerdict(agrees=True, reason=""))
    done = train(registry, Trainer(registry=registry, storage_url="", train=cancelled_at_the_end))
    assert (done.status, done.version) == (TrainingState.CANCELLED, None)
    assert latest.read(registry.storage, "T_1") is None
    assert list(registry.storage.folders("ml-models/T_1")) == []
