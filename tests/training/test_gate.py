"""The gate: a clearly worse version is held back, an equal one is not, and what cannot be compared is let through."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from fractions import Fraction
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import BundleError
from shelfsight.training.gate import GateVerdict, judge
from shelfsight.training.report import HeldOutQuality, ProductQuality, Report, ThresholdQuality, TrainingImage
from shelfsight.training.rules import Comparison, HeldOutAnswer, compare_answers, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PRODUCTS = tuple(f"p{number}" for number in range(30))
QUALITY = HeldOutQuality(
    basis="scenes",
    images=1,
    answers=1,
    accuracy=1,
    accuracy_interval=(0, 1),
    top3=1,
    accuracy_at_80_coverage=1,
    calibration_error=0,
    reliability=(),
)


def report(version: str, answers: Sequence[str | None], products: Sequence[str] = PRODUCTS, **changes: Any) -> bytes:
    """Return a report in which photo n shows product n modulo 30, and was taken for the n-th answer."""
    images = tuple(
        TrainingImage(file=f"{n}.jpg", product=PRODUCTS[n % 30], sha256=f"{n:064x}", answer=answer)
        for n, answer in enumerate(answers)
        if PRODUCTS[n % 30] in products
    )
    values: dict[str, Any] = {
        "channel_id": "T_1",
        "version": version,
        "trained_at": datetime(2026, 11, 20, tzinfo=UTC),
        "training_duration": 1.0,
        "backbone": "tiny",
        "head": "lda",
        "settings": {},
        "product_count": len(products),
        "image_count": len(images),
        "held_out": QUALITY,
        "threshold": ThresholdQuality(value=0.5),
        "products": tuple(
            ProductQuality(product=name, images=10, held_out=10, right=9, too_few_images=False) for name in products
        ),
        "confusions": (),
        "skipped": (),
        "notes": (),
        "images": images,
    }
    return Report(**values | changes).to_json()


def answered(right: Sequence[bool], wrong: str = "p0") -> list[str]:
    """Return answers that are right or wrong as asked; p0 and p1 stand in for each other."""
    return [
        PRODUCTS[n % 30] if is_right else wrong if PRODUCTS[n % 30] != wrong else "p1"
        for n, is_right in enumerate(right)
    ]


def pattern(photos: int, *wrong: range) -> list[bool]:
    return [not any(n in some for some in wrong) for n in range(photos)]


def test_a_version_that_is_clearly_worse_is_refused_with_the_figures() -> None:
    active = report("1.0.0", answered(pattern(300, range(30))))
    new = report("1.0.1", answered(pattern(300, range(2, 70))))
    assert judge(new, active) == GateVerdict(
        agrees=False,
        reason=(
            "1.0.1 is clearly worse than 1.0.0: of 300 photos held out in both, 77.3% right against 90.0% "
            "(2 better, 40 worse, p = 2.1e-10)."
        ),
        compared_photos=300,
        better=2,
        worse=40,
        p_value=mcnemar(2, 40),
    )


def test_a_version_that_is_better_or_as_good_is_let_through() -> None:
    active = report("1.0.0", answered(pattern(300, range(40))))
    verdict = judge(report("1.0.1", answered(pattern(300, range(5, 43)))), active)
    assert verdict.agrees
    assert verdict.reason == (
        "1.0.1 is not clearly worse than 1.0.0: of 300 photos held out in both, 87.3% right against 86.7% "
        "(5 better, 3 worse, p = 0.86)."
    )


def test_a_difference_below_two_points_is_none_however_sure() -> None:
    active = report("1.0.0", answered(pattern(3000)))
    verdict = judge(report("1.0.1", answered(pattern(3000, range(40)))), active)
    assert verdict.p_value < 1e-11
    assert verdict.agrees


def test_too_little_evidence_is_no_reason_to_refuse() -> None:
    active = report("1.0.0", answered(pattern(12)))
    verdict = judge(report("1.0.1", answered(pattern(12, range(6)))), active)
    assert (verdict.agrees, verdict.better, verdict.worse) == (True, 0, 6)
    assert verdict.p_value == pytest.approx(1 / 64)


def test_without_an_active_version_there_is_nothing_to_compare_with() -> None:
    assert judge(report("1.0.0", answered([True] * 9)), None) == GateVerdict(
        agrees=True, reason="There is no other version to compare it with."
    )


@pytest.mark.parametrize("active", [b"", b"{}", b"[1]", b"\xff", b'{"version": "1.0.0"}'])
def test_a_report_that_is_none_of_ours_is_not_comparable(active: bytes) -> None:
    verdict = judge(report("1.0.1", answered([True] * 9)), active)
    assert verdict == GateVerdict(
        agrees=True, reason="Not comparable: the active version has no quality report of ours."
    )


def test_a_report_from_before_answers_were_kept_is_not_comparable() -> None:
    document = json.loads(report("1.0.0", [None] * 300))
    document["formatVersion"] = "1.0"
    assert all("answer" not in image for image in document["images"])
    verdict = judge(report("1.0.1", answered(pattern(300, range(200)))), json.dumps(document).encode())
    assert verdict == GateVerdict(agrees=True, reason="Not comparable: no held-out photo is known of 1.0.0.")


def test_a_new_version_without_a_report_is_an_error() -> None:
    with pytest.raises(BundleError, match=r"report\.json"):
        judge(b"{}", None)


def test_what_was_measured_on_views_is_not_compared_with_scenes() -> None:
    views = QUALITY.model_copy(update={"basis": "views"})
    active = report("1.0.0", answered(pattern(300)), held_out=views)
    new = report("1.0.1", answered(pattern(300, range(200))))
    assert judge(new, active).reason == ("Not comparable: 1.0.1 was measured on scenes, 1.0.0 on views.")
    assert not judge(report("1.0.1", answered(pattern(300, range(200))), held_out=views), active).agrees


def test_half_of_the_products_gone_is_no_fault() -> None:
    active = report("1.0.0", answered(pattern(300, range(40))))
    new = report("1.0.1", answered(pattern(300, range(40))), PRODUCTS[:15])
    verdict = judge(new, active)
    assert verdict.agrees
    assert verdict.compared_photos == 150
    assert verdict.reason.endswith("; 15 products of 1.0.0 no longer trained on, no fault of 1.0.1.")


def test_all_products_new_leave_nothing_to_compare() -> None:
    new = report("1.0.1", answered(pattern(300)), PRODUCTS[:15])
    active = report("1.0.0", answered(pattern(300)), PRODUCTS[15:])
    assert judge(new, active) == GateVerdict(
        agrees=True,
        reason=(
            "No photo was held out in both 1.0.1 and 1.0.0; "
            "15 products of 1.0.0 no longer trained on, no fault of 1.0.1."
        ),
    )


def test_a_shop_that_grows_tenfold_is_not_refused_for_being_harder() -> None:
    active = report("1.0.0", answered(pattern(300), "p0"))
    grown = [*PRODUCTS, *(f"new{n}" for n in range(270))]
    verdict = judge(report("1.0.1", answered(pattern(300, range(45)), "new7"), grown), active)
    assert verdict.agrees
    assert verdict.compared_photos == 255
    assert "45 more left out" in verdict.reason


def test_one_new_product_that_swallows_the_others_is_seen() -> None:
    active = report("1.0.0", answered(pattern(300)))
    verdict = judge(report("1.0.1", answered(pattern(300, range(45)), "shelf"), [*PRODUCTS, "shelf"]), active)
    assert not verdict.agrees
    assert verdict.compared_photos == 290  # one product in 31 explains ten of them


def test_a_photo_that_moved_to_another_product_is_not_compared() -> None:
    moved = {"a": HeldOutAnswer(product="x", answer="x")}
    other = {"a": HeldOutAnswer(product="y", answer="y")}
    found = compare_answers(moved, other, products={"x", "y"}, active_products={"x", "y"})
    assert found == Comparison(photos=0, right=0, active_right=0, better=0, worse=0, left_out=0)


verdicts = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), max_size=60)


@given(verdicts, st.integers(1, 4), st.integers(1, 4))
def test_figures_belong_together(photos: list[tuple[int, int, int]], ours: int, theirs: int) -> None:
    """Photos of products 0..3 are answered with 0..4; the versions know the first few and the last few products."""
    products, active_products = set(map(str, range(ours + 1))), set(map(str, range(5 - theirs - 1, 5)))
    new = {str(n): HeldOutAnswer(product=str(p), answer=str(a)) for n, (p, a, _) in enumerate(photos)}
    active = {str(n): HeldOutAnswer(product=str(p), answer=str(b)) for n, (p, _, b) in enumerate(photos)}
    found = compare_answers(new, active, products=products, active_products=active_products)
    shared = sum(str(p) in products & active_products for p, _, _ in photos)
    assert found.photos + found.left_out == shared
    assert found.right - found.active_right == found.better - found.worse
    assert found.better + found.worse <= found.photos
    assert 0 <= found.p_value <= 1
    assert not (found.clearly_worse and found.better >= found.worse)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_p_value_is_that_of_coin_tosses(better: int, worse: int) -> None:
    tosses = better + worse
    exact = Fraction(sum(comb(tosses, heads) for heads in range(worse, tosses + 1)), 2**tosses)
    assert mcnemar(better, worse) == pytest.approx(float(exact), rel=1e-9)


def test_equally_good_versions_are_refused_in_one_of_a_hundred_cases_at_most_however_many_photos_differ() -> None:
    for tosses in range(300):
        refused = sum(comb(tosses, worse) for worse in range(tosses + 1) if mcnemar(tosses - worse, worse) < 0.01)
        assert Fraction(refused, 2**tosses) <= Fraction(1, 100)


def refused(trials: int, photos: int, better: float, worse: float) -> float:
    """Return the share of versions that are refused, of those with such shares of better and worse answers."""
    random = np.random.default_rng(4)
    drawn = random.multinomial(photos, [better, worse, 1 - better - worse], size=trials)
    found = [
        Comparison(photos=photos, right=0, active_right=0, better=b, worse=w, left_out=0).clearly_worse
        for b, w, _ in drawn.tolist()
    ]
    return sum(found) / trials


CHANCE = (0.01 * 0.99 / 4000) ** 0.5
"""Standard deviation of one in a hundred among 4,000 trials."""


@pytest.mark.parametrize("photos", [10, 30, 100, 300, 1000, 3000])
@pytest.mark.parametrize("unsteady", [0.02, 0.04, 0.1, 0.3])
def test_a_version_of_equal_quality_is_refused_in_one_of_a_hundred_cases_at_most(
    photos: int, unsteady: float
) -> None:
    assert refused(4000, photos, unsteady / 2, unsteady / 2) <= 0.01 + 3 * CHANCE


@pytest.mark.parametrize("lucky", [0.0, 0.02, 0.04])
def test_a_version_ten_points_worse_on_three_hundred_photos_is_refused(lucky: float) -> None:
    """Trainings that differ by seed alone have 2 % lucky photos on either side: measured on real photos."""
    assert refused(4000, 300, lucky, lucky + 0.1) >= 0.95


def test_two_trainings_on_the_same_photos_are_as_good_as_each_other(demo_bundle: Path, tmp_path: Path) -> None:
    from shelfsight.settings import cache_dir
    from shelfsight.training.train import TrainingOptions, train
    from tests.conftest import CORNER_SHOP

    options = TrainingOptions(channel="demo", version="1.0.1", seed=5)
    train(CORNER_SHOP, tmp_path / "out", cache_dir=cache_dir(), options=options)
    new, active = (folder / "report.json" for folder in (tmp_path / "out", demo_bundle))
    verdict = judge(new.read_bytes(), active.read_bytes())
    assert verdict.agrees
    held_out = json.loads(active.read_bytes())["heldOut"]
    assert verdict.compared_photos == held_out["images"]
    assert f"{held_out['accuracy']:.1%}" in verdict.reason


def test_the_report_has_the_answer_to_every_photo_that_was_held_out(demo_bundle: Path) -> None:
    document = json.loads((demo_bundle / "report.json").read_bytes())
    answers = [(image["product"], image["answer"]) for image in document["images"] if "answer" in image]
    assert len(answers) == document["heldOut"]["images"]
    assert sum(p == a for p, a in answers) == sum(product["right"] for product in document["products"])
