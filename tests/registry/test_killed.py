"""A publish, a roll-back and a clean-up, killed before each single thing that they do; and two at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database import clock
from shelfsight.database.tables import leases
from shelfsight.registry import files, latest, layout, store
from shelfsight.registry.cleanup import clean_up
from shelfsight.registry.publish import Order, Registry, publish
from tests.registry import publisher
from tests.registry.publisher import Job, processes, run, run_asleep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.registry.conftest import Place

CHANNEL = "T_1"


@pytest.fixture
def job(registry: Registry, place: Place, tiny_bundles: tuple[Path, Path, Path]) -> Job:
    """The publish of a second version, the first being stable."""
    url = registry.database.engine.url.render_as_string(hide_password=False)
    publish(registry, Order(folder=tiny_bundles[0], channel=CHANNEL, version="1.0.0"))
    return Job(database=url, storage=place.url, options=place.options, bundle=tiny_bundles[1])


def served(registry: Registry) -> str:
    """Return the version that `latest` serves, whole, or fail."""
    version = latest.read(registry.storage, CHANNEL)
    assert version is not None
    files.checked(
        registry.storage,
        layout.version_folder(CHANNEL, version),
        files.read_manifest(registry.storage, CHANNEL, version),
    )
    return version


def check_nothing_is_orphaned(registry: Registry, channel: str = CHANNEL) -> None:
    """Every file in storage belongs to a version that the database knows; only `channel` has any."""
    with registry.database.read() as tx:
        versions = [one.version for one in store.versions(tx, channel)]
        blobs = store.used_blobs(tx)
    wanted = {layout.blob(sha256) for sha256 in blobs}
    for version in versions:
        folder = layout.version_folder(channel, version)
        manifest = files.read_manifest(registry.storage, channel, version)
        wanted |= {f"{folder}/{name}" for name in (*files.public_names(manifest), "report.json")}
    assert {file.path for file in registry.storage.list("")} == wanted


def test_a_publish_killed_anywhere_leaves_a_whole_version_and_a_retry_succeeds(registry: Registry, job: Job) -> None:
    kill_at = 0
    while run(job, kill_at) == "killed":
        before = served(registry)
        assert isinstance(run(job), int), f"retry after a kill at step {kill_at}"
        assert served(registry) > before or before > "1.0.0"
        cleaned = clean_up(registry)
        assert (cleaned.busy, cleaned.broken) == ([], [])
        assert served(registry) == max(found(registry), key=lambda one: int(one.split(".")[-1]))
        check_nothing_is_orphaned(registry)
        kill_at += 1
    assert kill_at > 20


def test_a_publish_of_a_given_version_killed_anywhere_is_retried_under_it(registry: Registry, job: Job) -> None:
    kill_at, minor = 0, 0
    while True:
        minor += 1
        given = replace(job, version=f"1.{minor}.0")
        if run(given, kill_at) != "killed":
            break
        answer = run(given)
        assert isinstance(answer, int) or "exists and never changes" in str(answer)
        clean_up(registry)
        assert served(registry) == f"1.{minor}.0"
        check_nothing_is_orphaned(registry)
        kill_at += 1
    assert kill_at > 20


def test_a_clean_up_killed_anywhere_never_hurts_what_is_served(registry: Registry, job: Job) -> None:
    cleaning = replace(job, bundle=None)
    kill_at = 0
    while True:
        run(job, kill_at=14)  # leaves something to clean up
        if run(cleaning, kill_at) != "killed":
            break
        served(registry)
        clean_up(registry)
        check_nothing_is_orphaned(registry)
        kill_at += 1
    assert kill_at > 5


def test_a_roll_back_killed_anywhere_ends_at_one_of_the_two(registry: Registry, job: Job) -> None:
    run(job)
    kill_at, target = 0, "1.0.0"
    while run(replace(job, back_to=target), kill_at) == "killed":
        assert served(registry) in {"1.0.0", "1.0.1"}
        answer = run(replace(job, back_to=target))
        assert isinstance(answer, int) or "is the stable one already" in str(answer)
        latest.point(registry.database, registry.storage, CHANNEL)
        assert served(registry) == target
        target = "1.0.1" if target == "1.0.0" else "1.0.0"
        kill_at += 1
    assert kill_at > 1


def test_of_two_publishers_at_once_one_wins_and_the_other_is_told(registry: Registry, job: Job) -> None:
    asleep, wake = processes.Event(), processes.Event()
    first = run_asleep(job, asleep, wake)
    assert asleep.wait(30)
    answer = run(job)
    assert "a publish or clean-up of T_1 is running" in str(answer)
    wake.set()
    assert first.recv() == "published"
    assert served(registry) == "1.0.1"


def test_a_publisher_that_slept_too_long_is_refused_and_the_winner_stays(registry: Registry, job: Job) -> None:
    asleep, wake = processes.Event(), processes.Event()
    late = run_asleep(job, asleep, wake)
    assert asleep.wait(30)
    with registry.database.write() as tx:  # a minute later
        tx.execute(update(leases).values(expires_at=clock.now(tx)))
    assert isinstance(run(job), int)
    wake.set()
    assert "has taken over a publish or clean-up of T_1" in late.recv()
    assert served(registry) == "1.0.2"  # 1.0.1 may have been seen in storage: its number is not used again
    assert found(registry) == {"1.0.0", "1.0.2"}
    clean_up(registry)
    check_nothing_is_orphaned(registry)


def found(registry: Registry) -> set[str]:
    with registry.database.read() as tx:
        return {one.version for one in store.versions(tx, CHANNEL)}


def test_the_steps_of_a_publish_are_what_the_tests_believe(registry: Registry, job: Job) -> None:
    assert isinstance(publisher.run(job), int)
    assert served(registry) == "1.0.1"
