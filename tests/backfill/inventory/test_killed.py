"""A run that is killed or ended before each single thing that it does, and goes on: as if nothing had been."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.backfill.rules import Pace
from tests.backfill.inventory.child import Job, run_child
from tests.backfill.inventory.shop import COLLECTION, DOCUMENT, fill, open_shop, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backfill.inventory.shop import Shop
    from tests.servers import MongoServer

ROWS, ONLY_IN_SEARCH, PAGE = 18, 3, 2


@pytest.fixture
def job(empty_shop: Shop, tmp_path: Path) -> Job:
    return Job(
        settings=empty_shop.settings,
        typesense_url=empty_shop.typesense.url,
        store=f"sqlite:///{tmp_path / 'checkpoints.db'}",
        page=PAGE,
    )


def fresh(shop: Shop) -> None:
    """Let the shop be as it was before the backfill was first thought of."""
    open_shop(shop.settings, shop.typesense)
    fill(shop, ROWS, only_in_search=ONLY_IN_SEARCH)


def state(shop: Shop, job: Job) -> tuple[Any, ...]:
    """Return all that both sides and the checkpoint say."""
    store = job.open_store()
    record = store.read(DOCUMENT)
    refused = store.refused(DOCUMENT)
    store.close()
    assert record is not None
    values = {name: value for name, value in record.checkpoint.values.items() if name != "lease"}
    fields = shop.typesense.collections[COLLECTION].fields
    return shop.rows(), shop.documents, fields, values, record.checkpoint.is_finished, refused


def clean(shop: Shop, job: Job) -> tuple[Any, ...]:
    """Return what one run alone comes to."""
    fresh(shop)
    assert run_child(replace(job, store=f"{job.store}.clean"))[0] == "finished 0"
    assert shop.is_done()
    return state(shop, replace(job, store=f"{job.store}.clean"))


def go_on(shop: Shop, job: Job) -> str:
    """Run it here, from where it is, to its end."""
    store = job.open_store()
    report = run(shop, store, pace=Pace(size=job.page), page_size=2)
    store.close()
    return report.outcome


def test_killed_before_each_step_and_started_again_it_comes_to_the_same(shop: Shop, job: Job) -> None:
    wanted, at = clean(shop, job), 0
    while True:
        fresh(shop)
        one = replace(job, store=f"{job.store}.{at}")
        if run_child(one, at)[0] != "killed":
            break
        assert go_on(shop, one) == "finished", f"after a kill at step {at}"
        assert state(shop, one) == wanted, f"after a kill at step {at}"
        at += 1
    assert at > 40
    assert state(shop, one) == wanted


def test_ended_before_each_step_it_stops_with_a_saved_page_and_goes_on(shop: Shop, job: Job) -> None:
    wanted, stopped = clean(shop, job), 0
    for at in range(0, 1000, 3):
        fresh(shop)
        one = replace(job, store=f"{job.store}.{at}")
        outcome, steps = run_child(one, at, signal.SIGTERM)
        assert outcome in {"stopped 143", "finished 0"}
        if outcome == "finished 0" and steps <= at:
            break
        stopped += outcome == "stopped 143"
        assert go_on(shop, one) == "finished"
        assert state(shop, one) == wanted, f"after SIGTERM at step {at}"
    assert stopped > 10


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_on_machine_after_machine_it_comes_to_the_same(
    shop: Shop, job: Job, mongodb: MongoServer, seed: int
) -> None:
    wanted = clean(shop, job)
    fresh(shop)
    chance, one = random.Random(seed), replace(job, store=mongodb.uri, collection=f"seed_{seed}")  # noqa: S311
    store = one.open_store()
    store.claim(DOCUMENT, "gone/1/2:3", lasts_s=0)  # of an earlier machine, and long over
    store.close()
    lives = 0
    ended = ""
    while ended != "finished 0":
        ended, _ = run_child(one, chance.randint(5, 25), chance.choice([signal.SIGKILL, signal.SIGTERM]))
        assert ended in {"killed", "stopped 143", "finished 0"}
        lives += 1
        if lives > 12:
            ended, _ = run_child(one)
    assert lives > 3
    assert state(shop, one)[:5] == wanted[:5]
