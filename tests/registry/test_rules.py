"""Which version is next, which one a roll-back names, and which may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import BundleError, ConflictError, NotFoundError, UsageError
from shelfsight.registry.rules import (
    Retention,
    Status,
    Version,
    check_deprecable,
    check_new,
    check_recorded,
    compare,
    expired,
    newest_first,
    next_version,
    roll_back_target,
    stable_before,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
RELEASED: list[str] = []  # of which nobody knows what was stable


def version(number: str, *, days: int = 0, status: Status = Status.DEPRECATED, stable: bool = False) -> Version:
    moment = NOW - timedelta(days=days)
    return Version(
        channel="T_1",
        version=number,
        status=Status.ACTIVE if stable else status,
        is_stable=stable,
        rollout_percentage=100 if stable else 0,
        shadow_mode=False,
        shadow_percentage=0,
        rollback_threshold=0.05,
        min_app_version=None,
        created_at=moment,
        updated_at=moment,
        deprecated_at=None,
        trained_at=moment,
        product_count=3,
        image_count=9,
        training_duration=1.0,
        accuracy=0.9,
        file_path="",
        file_size_bytes=1,
        checksum_sha256="ab",
        architecture="tiny",
        quantization="INT8",
    )


@pytest.mark.parametrize(
    ("taken", "following"),
    [
        ((), "1.0.0"),
        (("1.0.0",), "1.0.1"),
        (("1.0.9", "1.0.10"), "1.0.11"),
        (("2.1.0", "10.0.0", "9.9.9"), "10.0.1"),
        (("2.0.0-rc.1", "1.9.9"), "2.0.0"),
        (("2.0.0-rc.1", "2.0.0"), "2.0.1"),
    ],
)
def test_the_next_version_counts_the_patch_of_the_highest_up(taken: tuple[str, ...], following: str) -> None:
    assert next_version(taken) == following


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), max_size=8))
def test_the_next_version_is_never_taken_and_always_the_highest(numbers: list[tuple[int, int, int]]) -> None:
    taken = [".".join(map(str, number)) for number in numbers]
    following = next_version(taken)
    assert tuple(map(int, following.split("."))) > max(numbers, default=(0, 0, 0))


def test_a_row_or_folder_whose_name_is_no_version_stands_in_nobodys_way() -> None:
    odd = version("1.0.01")  # typed into the table
    history = [version("1.0.0"), odd, version("1.0.1", stable=True)]
    assert roll_back_target(history, ["1.0.0", "1.0.1"], None, "T_1").version == "1.0.0"
    assert newest_first(history)[-1] == odd
    assert next_version(["1.0.1", "1.0.1.bak", "1.0.01", ""]) == "1.0.2"
    assert next_version(["old"]) == "1.0.0"


def test_a_version_that_exists_is_not_published_again() -> None:
    assert check_new("1.0.1", {"1.0.0"}, "T_1") == "1.0.1"
    with pytest.raises(ConflictError, match=r"version 1\.0\.0 of T_1 exists and never changes"):
        check_new("1.0.0", {"1.0.0"}, "T_1")


@pytest.mark.parametrize(
    ("releases", "before"),
    [
        ((), None),
        (("1.0.0",), None),
        (("1.0.0", "1.0.1", "1.0.2"), "1.0.1"),
        (("1.0.0", "1.0.1", "1.0.2", "1.0.1"), "1.0.0"),  # rolled back once: further back
        (("1.0.0", "1.0.1", "1.0.0", "1.0.2"), "1.0.0"),  # 1.0.1 was bad, and 1.0.2 came after it
        (("1.0.0", "9.9.9", "1.0.1"), "1.0.0"),  # 9.9.9 is cleaned up
        (("1.0.0", "1.0.1", "1.0.0", "1.0.1"), "1.0.0"),  # and forward again
    ],
)
def test_a_roll_back_names_what_was_stable_before_and_not_rolled_back_from(
    releases: tuple[str, ...], before: str | None
) -> None:
    assert stable_before(releases, {"1.0.0", "1.0.1", "1.0.2"}) == before


def test_a_roll_back_does_not_name_a_version_in_testing() -> None:
    history = [version("1.0.0"), version("1.0.1", status=Status.TESTING), version("1.0.2", stable=True)]
    releases = ["1.0.0", "1.0.1", "1.0.2"]  # somebody has put 1.0.1 back into testing
    assert roll_back_target(history, releases, None, "T_1").version == "1.0.0"


@pytest.mark.parametrize(
    ("wanted", "error", "reason"),
    [
        ("9.9.9", NotFoundError, r"has no version 9\.9\.9; it has 1\.2\.0, 1\.1\.0, 1\.0\.0"),
        ("1.1.0", ConflictError, "is the stable one already"),
        ("1.2.0", ConflictError, "is in testing and never was stable: release it"),
    ],
)
def test_a_roll_back_to_what_makes_no_sense_is_refused(wanted: str, error: type[Exception], reason: str) -> None:
    history = [version("1.0.0"), version("1.1.0", stable=True), version("1.2.0", status=Status.TESTING)]
    assert roll_back_target(history, [], "1.0.0", "T_1").version == "1.0.0"
    with pytest.raises(error, match=reason):
        roll_back_target(history, [], wanted, "T_1")


@pytest.mark.parametrize("history", [[], [version("1.0.0", stable=True)], [version("1.0.0")]])
def test_without_an_older_version_there_is_nothing_to_roll_back_to(history: list[Version]) -> None:
    with pytest.raises(NotFoundError):
        roll_back_target(history, [one.version for one in history], None, "T_1")


def test_where_all_others_were_rolled_back_from_they_are_named() -> None:
    history = [version("1.0.0", stable=True), version("1.0.1"), version("1.5.0")]
    releases = ["1.0.0", "1.0.1", "1.5.0", "1.0.1", "1.0.0"]
    with pytest.raises(NotFoundError, match=r"rolled back from \(1\.0\.1, 1\.5\.0\): name the one you want"):
        roll_back_target(history, releases, None, "T_1")


def test_the_stable_version_is_not_deprecated() -> None:
    check_deprecable(version("1.0.0"))
    with pytest.raises(ConflictError, match="roll back or release another first"):
        check_deprecable(version("1.0.0", stable=True))


def test_a_row_whose_checksum_no_file_has_is_found() -> None:
    check_recorded(version("1.0.0"), {"ab", "cd"})
    check_recorded(replace(version("1.0.0"), checksum_sha256=""), {"cd"})
    with pytest.raises(BundleError, match="model_metadata"):
        check_recorded(version("1.0.0"), {"cd"})


def test_old_versions_expire_and_new_or_young_ones_do_not() -> None:
    history = [version(f"1.0.{n}", days=100 - 10 * n) for n in range(10)]
    history[-1] = version("1.0.9", days=10, stable=True)
    assert [one.version for one in expired(history, RELEASED, Retention(keep=3), NOW)] == [
        f"1.0.{n}" for n in range(7)
    ]
    assert [one.version for one in expired(history, RELEASED, Retention(keep=2, days=45), NOW)] == [
        f"1.0.{n}" for n in range(6)
    ]


def test_after_a_roll_back_the_stable_version_and_the_one_before_it_stay() -> None:
    history = [version(f"1.0.{n}", days=90, stable=n == 3) for n in range(8)]
    releases = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.2", "1.0.1", "1.0.3"]  # 1.0.2 was rolled back from
    gone = {one.version for one in expired(history, releases, Retention(keep=2), NOW)}
    assert gone == {"1.0.0", "1.0.2", "1.0.4", "1.0.5"}


@pytest.mark.parametrize(
    "use",
    [
        {"status": Status.ACTIVE},
        {"status": Status.TESTING, "rollout_percentage": 1.0},
        {"status": Status.TESTING, "shadow_mode": True},
        {"status": Status.TESTING, "shadow_percentage": 10.0},
    ],
)
def test_what_a_rollout_uses_never_expires(use: dict[str, object]) -> None:
    used = replace(version("0.9.0", days=400), **use)  # type: ignore[arg-type]
    history = [used, *(version(f"1.0.{n}", days=90, stable=n == 5) for n in range(6))]
    assert used not in expired(history, RELEASED, Retention(keep=2), NOW)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 100), st.sampled_from(Status)), unique_by=lambda one: one[0]
    ),
    st.integers(2, 6),
    st.integers(0, 60),
    st.integers(0, 40),
)
def test_retention_always_leaves_what_devices_may_need(
    rows: list[tuple[int, int, Status]], keep: int, days: int, stable: int
) -> None:
    history = [
        version(f"1.0.{patch}", days=age, status=status, stable=patch == stable) for patch, age, status in rows
    ]
    releases = [one.version for one in history]
    gone = expired(history, releases, Retention(keep=keep, days=days), NOW)
    left = [one for one in newest_first(history) if one not in gone]
    assert newest_first(history)[:keep] == left[:keep]
    assert all(not one.is_in_use and one.created_at < NOW - timedelta(days=days) for one in gone)
    assert stable_before(releases, {one.version for one in history}) in {None, *(one.version for one in left)}


@pytest.mark.parametrize(("keep", "days"), [(1, 30), (0, 30), (5, -1)])
def test_a_retention_that_would_delete_what_is_needed_is_refused(keep: int, days: int) -> None:
    with pytest.raises(UsageError):
        Retention(keep=keep, days=days)


def test_a_comparison_says_what_a_device_has_to_load() -> None:
    old, new = version("1.0.0"), replace(version("1.1.0"), accuracy=0.95, image_count=12)
    labels = {"1.0.0": ("apple", "pear"), "1.1.0": ("apple", "plum")}
    parts = {"1.0.0": {"backbone": 4_000, "old head": 10}, "1.1.0": {"backbone": 4_000, "new head": 12}}
    found = compare(old, new, labels, parts)
    assert (found.products_added, found.products_removed) == (("plum",), ("pear",))
    assert (found.new_download_bytes, found.image_gain) == (12, 3)
    assert found.accuracy_gain == pytest.approx(0.05)
