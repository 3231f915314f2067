"""A shop with a stable version and two in testing, on both databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from shelfsight.access import audit
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.database.tables import channels, rollouts
from shelfsight.registry import latest
from shelfsight.registry import publish as publish_module
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.rollout import store
from shelfsight.rollout.rules import stage_of
from shelfsight.storage import open_storage
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.rollout.decisions import Standing

STABLE, FIRST, SECOND = "1.0.0", "1.0.1", "1.0.2"


@dataclass(frozen=True)
class Shop:
    """The channel T_1, and a look at what its rows say."""

    registry: Registry

    @property
    def database(self) -> Database:
        return self.registry.database

    def standing(self) -> Standing:
        with self.database.read() as tx:
            return store.standing(tx, "T_1")

    def told(self) -> tuple[str | None, str | None, str | None]:
        """Return what devices are told: the stable version, the candidate and the shadow, with their shares."""
        told = self.standing().assignment
        offers = [
            None if one is None else f"{one.version.version} {one.share_bp / 100:g} %"
            for one in (told.candidate, told.shadow)
        ]
        return (None if told.stable is None else told.stable.version, offers[0], offers[1])

    def statuses(self) -> dict[str, str]:
        return {one.version: one.status.value for one in self.standing().versions}

    def stages(self) -> dict[str, str]:
        """Return the stage of every version that some devices have and that is not stable."""
        return {one.version: str(stage_of(one)) for one in self.standing().versions if stage_of(one) is not None}

    def sequence(self) -> int:
        return self.standing().sequence

    def rollouts(self) -> list[Any]:
        """Return all rows of rollouts, the oldest first."""
        with self.database.read() as tx:
            return list(tx.execute(select(rollouts).where(rollouts.c.channel_id == "T_1").order_by(rollouts.c.id)))

    def audited(self, *, since: int = 0) -> list[tuple[str, str, str | None]]:
        """Return actor, action and subject of what was done to rollouts, the oldest first."""
        with self.database.read() as tx:
            entries = audit.list_entries(tx, channel="T_1", limit=1000)[::-1]
        return [(one.actor, one.action, one.subject) for one in entries if one.action.startswith("rollout_")][since:]

    def latest(self) -> str | None:
        return latest.read(self.registry.storage, "T_1")


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tiny_bundle(folder / str(seed), seed=seed) for seed in (1, 2, 3)]


@pytest.fixture
def make_shop(
    tmp_path: Path, tiny_bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Database], Shop]:
    """What opens T_1 in a database, with 1.0.0, which is stable, and 1.0.1 and 1.0.2, which are in testing."""

    def make(database: Database) -> Shop:
        registry = Registry(database=database, storage=open_storage(tmp_path / "assets"))
        with database.write() as tx:
            tx.execute(insert(channels).values(id="T_1", token="ck_1"))
        for number, bundle in enumerate(tiny_bundles):
            policy = ReleasePolicy.STAGED if number else ReleasePolicy.IMMEDIATE
            publish(registry, Order(folder=bundle, channel="T_1", release=policy))
        return Shop(registry)

    # What a check of a bundle is worth is tested elsewhere; here it would only take time.
    monkeypatch.setattr(publish_module, "check_in_child", lambda *_args, **_more: None)
    return make


@pytest.fixture
def shop(database: Database, make_shop: Callable[[Database], Shop]) -> Shop:
    """One on both kinds of database."""
    return make_shop(database)
