"""Compare a new version with the active one, by the quality reports of both, before it becomes stable.

Each report says what its version took every photo for when a head answered that had not seen the photo. A photo that
was held out in both is a pair: McNemar's exact test asks whether those on which only the active version is right are
more than chance makes them.

What was held out differs between the versions. Both hold scenes out whole, but the seed deals them into other folds
as soon as a product comes or goes, and a new photo may join two scenes. So the heads that answered were each fitted
on some other four fifths of the photos. That adds pairs on which one or the other is right by luck, evenly on both
sides: a real difference is seen a little later, and none is seen where there is none.

Photos of one burst are no independent trials, so that chance may be larger than the test believes. On real ones it
was not: of 1,260 pairs of trainings that differ by seed alone, on shops of some 300 photos drawn in bursts from the
Grocery Store data, four were refused; and all of 25 that see less of each photo, which costs 11 points, were. On all
2,936 photos p is below 0.01 for one pair in fourteen, and the two points that a version must be worse besides let all
of them through.

Plain Python, for the server decides in its own process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.bundle.documents import parse_document
from shelfsight.errors import BundleError
from shelfsight.training.report import Report
from shelfsight.training.rules import HeldOutAnswer, compare_answers

if TYPE_CHECKING:
    from shelfsight.training.rules import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Whether a new version may become stable by itself.

    Attributes:
        reason: one sentence, with the figures.
        compared_photos: 0 where the versions cannot be compared.
        better: photos that only the new version answered right; `worse` only the active one.
        p_value: how often chance alone makes an equally good version look this much worse, one-sided.
    """

    agrees: bool
    reason: str
    compared_photos: int = 0
    better: int = 0
    worse: int = 0
    p_value: float = 1.0


def judge(new: bytes, active: bytes | None) -> GateVerdict:
    """Return whether the new version is anything but clearly worse than the active one.

    Args:
        new: its `report.json`.
        active: the active version's; None where there is no active version, or it has no report. An unreadable one,
            such as that of a bundle made elsewhere, is no reason to refuse.

    Raises:
        BundleError: `new` is no quality report.
    """
    report = parse_document(new, "report.json", Report)
    if active is None:
        return GateVerdict(agrees=True, reason="There is no other version to compare it with.")
    try:
        other = parse_document(active, "report.json", Report)
    except BundleError:
        return GateVerdict(agrees=True, reason="Not comparable: the active version has no quality report of ours.")
    return _judge(report, other)


def _judge(new: Report, active: Report) -> GateVerdict:
    ours, theirs = _answers(new), _answers(active)
    basis = [one.held_out.basis if one.held_out else None for one in (new, active)]
    silent = [one.version for one, answers in ((new, ours), (active, theirs)) if not answers]
    if silent:
        return GateVerdict(agrees=True, reason=f"Not comparable: no held-out photo is known of {silent[-1]}.")
    if basis[0] != basis[1]:
        ways = f"{new.version} was measured on {basis[0]}, {active.version} on {basis[1]}"
        return GateVerdict(agrees=True, reason=f"Not comparable: {ways}.")
    products, active_products = _products(new), _products(active)
    found = compare_answers(ours, theirs, products=products, active_products=active_products)
    return GateVerdict(
        agrees=not found.clearly_worse,
        reason=_reason(new, active, found),
        compared_photos=found.photos,
        better=found.better,
        worse=found.worse,
        p_value=found.p_value,
    )


def _answers(report: Report) -> dict[str, HeldOutAnswer]:
    return {
        image.sha256: HeldOutAnswer(product=image.product, answer=image.answer)
        for image in report.images
        if image.answer is not None
    }


def _products(report: Report) -> set[str]:
    return {product.product for product in report.products}


def _reason(new: Report, active: Report, found: Comparison) -> str:
    gone = len(_products(active) - _products(new))
    vanished = f"; {_counted(gone, 'product')} of {active.version} no longer trained on, no fault of {new.version}"
    vanished *= bool(gone)
    if not found.photos:
        return f"No photo was held out in both {new.version} and {active.version}{vanished}."
    verdict = "clearly worse" if found.clearly_worse else "not clearly worse"
    left_out = f", {found.left_out} more left out" * bool(found.left_out)
    return (
        f"{new.version} is {verdict} than {active.version}: of {_counted(found.photos, 'photo')} held out in both, "
        f"{found.right / found.photos:.1%} right against {found.active_right / found.photos:.1%} "
        f"({found.better} better, {found.worse} worse, p = {found.p_value:.2g}{left_out}){vanished}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
