"""What is decided about a backfill without asking anybody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.backfill.inventory_fields.keys import KEY_TYPES
from shelfsight.backfill.rules import (
    LARGEST_PAGE,
    SMALLEST_PAGE,
    Checkpoint,
    Pace,
    Strain,
    checkpoint_of,
    document_of,
    expected_s,
    spoken,
)

VALUES = st.dictionaries(
    st.from_regex(r"[a-z]{3}_[a-z]{3}", fullmatch=True), st.none() | st.integers() | st.text(max_size=5), max_size=4
)


@given(phase=st.integers(1, 9), values=VALUES, worked_ms=st.integers(0, 10**9))
def test_a_checkpoint_comes_back_from_its_document(
    phase: int, values: dict[str, int | str | None], worked_ms: int
) -> None:
    at = datetime(2026, 11, 20, 3, 4, 5, 678901, tzinfo=UTC)
    checkpoint = Checkpoint(
        name="backfill_x", phase=phase, values=values, started_at=at, finished_at=at, worked_s=worked_ms / 1000
    )
    assert checkpoint_of(document_of(checkpoint)) == checkpoint


def test_an_older_scripts_document_is_taken_up() -> None:
    old = {"_id": "backfill_inventory_fields", "phase": 1, "last_id": 5000, "last_page": 0, "total_processed": 5000}
    checkpoint = checkpoint_of(old)
    assert (checkpoint.phase, checkpoint.values["last_id"], checkpoint.is_finished) == (1, 5000, False)


@pytest.mark.parametrize("wrong", [{"phase": "supabase"}, {"phase": 0}, {"state": "?"}, {"last_id": {"a": 1}}])
def test_an_alien_document_is_known_as_such(wrong: dict[str, object]) -> None:
    assert checkpoint_of({"_id": "backfill_x", **wrong}) == Checkpoint(name="backfill_x", is_alien=True)


def test_a_page_adds_its_counts_and_moves_the_position() -> None:
    before = Checkpoint(name="x", values={"last_id": 5, "rows": 5})
    assert before.advanced({"last_id": 9}, {"rows": 4, "sent": 3}).values == {"last_id": 9, "rows": 9, "sent": 3}


def test_the_defaults_take_58_minutes_of_sleep_for_three_and_a_half_million_rows() -> None:
    work_s, sleep_s = expected_s(3_500_000, page_size=1000, sleep_s=1.0, rows_per_s=100_000)
    assert (work_s, spoken(sleep_s)) == (35.0, "58 min 19 s")
    assert expected_s(0, page_size=1000, sleep_s=1.0, rows_per_s=100_000) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


@given(took=st.lists(st.floats(0, 100), max_size=60), strains=st.lists(st.sampled_from(Strain), max_size=60))
def test_pages_stay_within_bounds_whatever_happens(took: list[float], strains: list[Strain]) -> None:
    pace = Pace(size=1000, sleep_s=0.5, page_time_s=0.1)
    for seconds, strain in zip(took, strains, strict=False):
        pace = pace.after(seconds, strain)
        assert SMALLEST_PAGE <= pace.size <= LARGEST_PAGE
        assert 0.5 <= pace.pause_s <= 30.5


def test_pages_come_near_to_the_wanted_time_and_stay_there() -> None:
    pace = Pace(size=100, page_time_s=0.1)
    for _ in range(30):
        pace = pace.after(pace.size / 20_000, Strain.NONE)
    assert 1600 <= pace.size <= 2500
    assert pace.after(0.1, Strain.NONE) == pace


def test_who_suffers_gets_smaller_pages_and_rest_once_until_looked_at_again() -> None:
    pace = Pace(size=1000, page_time_s=0.1).after(0.01, Strain.NEW)
    assert (pace.size, pace.pause_s) == (500, 0.5)
    assert pace.after(0.01, Strain.SAME) == pace
    assert (pace.after(0.01, Strain.NEW).size, pace.after(0.01, Strain.NEW).pause_s) == (250, 1.0)
    assert pace.after(0.1, Strain.NONE).pause_s == 0


def test_a_fixed_pace_stays_as_the_operator_said() -> None:
    pace = Pace(size=1000, sleep_s=1.0)
    assert pace.after(60, Strain.NEW) == pace


@pytest.mark.parametrize(
    ("kind", "keys", "others"),
    [
        (
            "bigint",
            ["1", "0", "-5", str(2**63 - 1), str(-(2**63))],
            ["007", "-0", "", "1 ", "٣", "1\n", str(2**63), "x"],
        ),
        ("uuid", ["0d9f5a10-0000-4000-8000-00000000000a"], ["0D9F5A10-0000-4000-8000-00000000000A", "1", ""]),
        ("text", ["a", "1\n2", ""], ["\x00"]),
    ],
)
def test_ids_that_no_row_can_have_are_told_apart(kind: str, keys: list[str], others: list[str]) -> None:
    found = KEY_TYPES[kind].told_apart([*others, *keys, *others])
    assert (list(found[0]), found[1]) == (keys, [*others, *others])
    assert list(KEY_TYPES[kind].told_apart(keys)[0]) == keys
