"""A device is in or out, stays so as the share grows, and is dealt anew by every release."""

from __future__ import annotations

import json
import math
import uuid
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.rollout.buckets import BUCKETS, bucket, is_in
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "buckets.json").read_text("utf-8"))
DEVICES = 20_000
COLUMNS = 20
LIKELY_SD = 4.0
"""Chance alone makes a chi-square statistic so many standard deviations larger than expected once in 30,000 times."""

IDS: dict[str, Callable[[int], str]] = {
    "UUIDs": lambda n: str(uuid.uuid5(uuid.NAMESPACE_DNS, f"till {n}")),
    "numbers in sequence": str,
    "names that are alike": lambda n: f"shop-of-the-corner-till-{n:06}",
    "names with a long tail in common": lambda n: f"{n:x}" + "-the-same-for-every-till" * 4,
}
SALTS = sorted({case["salt"] for case in VECTORS["buckets"]})

texts = st.text(st.characters(exclude_categories=["Cs"]))
shares = st.integers(0, BUCKETS)


@pytest.mark.parametrize("case", VECTORS["buckets"], ids=lambda case: case["sentence"])
def test_a_device_has_the_bucket_that_every_language_gives_it(case: dict[str, Any]) -> None:
    assert bucket(case["salt"], case["device"]) == case["bucket"]


@pytest.mark.parametrize("case", VECTORS["shares"], ids=lambda case: case["sentence"])
def test_a_device_is_in_where_every_language_has_it_in(case: dict[str, Any]) -> None:
    assert is_in(case["salt"], case["device"], case["shareBasisPoints"]) is case["in"]


@given(salt=texts, device=texts, share=shares, more=shares)
def test_who_is_in_stays_in_as_the_share_grows(salt: str, device: str, share: int, more: int) -> None:
    small, large = sorted((share, more))
    assert is_in(salt, device, small) <= is_in(salt, device, large)


@given(salt=texts, device=texts)
def test_as_the_share_grows_a_device_comes_in_once_and_never_leaves(salt: str, device: str) -> None:
    answers = [is_in(salt, device, share) for share in range(0, BUCKETS + 1, 50)]
    assert sum(now != before for before, now in pairwise(answers)) == 1
    assert answers == sorted(answers)


@given(salt=texts, device=texts, share=shares)
def test_the_answer_is_always_the_same(salt: str, device: str, share: int) -> None:
    assert {is_in(salt, device, share) for _ in range(3)} == {bucket(salt, device) < share}


@given(salt=texts, device=texts)
def test_nobody_is_in_at_nothing_and_everybody_at_everything(salt: str, device: str) -> None:
    assert not is_in(salt, device, 0)
    assert is_in(salt, device, BUCKETS)


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("salt", SALTS[:4], ids=range(4))
def test_buckets_are_equally_full(kind: str, salt: str) -> None:
    counts = np.bincount(dealt(kind, salt) * 100 // BUCKETS, minlength=100)
    expected = np.full(100, DEVICES / 100)
    assert surprise_sd(counts, expected, degrees=99) < LIKELY_SD


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("pair", list(pairwise(SALTS)), ids=range(len(SALTS) - 1))
def test_two_salts_deal_independently(kind: str, pair: tuple[str, str]) -> None:
    assert dependence_sd(*(dealt(kind, salt) for salt in pair)) < LIKELY_SD


@pytest.mark.parametrize("kind", IDS)
def test_salts_that_differ_in_one_letter_deal_independently(kind: str) -> None:
    assert dependence_sd(dealt(kind, "release-1"), dealt(kind, "release-2")) < LIKELY_SD


@pytest.mark.parametrize("share", [100, 1000, 5000])
@pytest.mark.parametrize("kind", IDS)
def test_a_share_is_met(kind: str, share: int) -> None:
    inside = int((dealt(kind, SALTS[-1]) < share).sum())
    p = share / BUCKETS
    assert abs(inside - DEVICES * p) < LIKELY_SD * math.sqrt(DEVICES * p * (1 - p))


def test_the_check_sees_buckets_that_depend_on_each_other() -> None:
    first = dealt("UUIDs", SALTS[0])
    nearly = np.where(np.arange(DEVICES) % 20 == 0, first, dealt("UUIDs", SALTS[1]))  # one in twenty the same
    assert dependence_sd(first, nearly) > 2 * LIKELY_SD


def test_the_check_sees_buckets_that_are_not_equally_full() -> None:
    counts = np.bincount(dealt("UUIDs", SALTS[0]) * 100 // BUCKETS, minlength=100)
    counts[0] += 120  # beside the 200 that belong there
    assert surprise_sd(counts, np.full(100, counts.sum() / 100), degrees=99) > LIKELY_SD


@cache
def dealt(kind: str, salt: str) -> NDArray[np.int64]:
    """Return the bucket of every device."""
    return np.array([bucket(salt, IDS[kind](n)) for n in range(DEVICES)])


def dependence_sd(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return how surprising the table of both is if neither tells anything about the other."""
    width = BUCKETS // COLUMNS
    table = np.bincount(first // width * COLUMNS + second // width, minlength=COLUMNS**2).reshape(COLUMNS, COLUMNS)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return surprise_sd(table.ravel(), expected.ravel(), degrees=(COLUMNS - 1) ** 2)


def surprise_sd(counts: NDArray[np.int64], expected: NDArray[np.float64], *, degrees: int) -> float:
    """Return Pearson's chi-square in standard deviations above its mean (Wilson and Hilferty, 1931)."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    spread = 2 / (9 * degrees)
    return float(((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))
