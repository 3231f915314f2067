"""The quality report as a page to look at: one HTML file with its pictures and plots inside."""

from __future__ import annotations

import base64
import io
import math
import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from shelfsight.catalog.picture import centre_square, open_picture
from shelfsight.errors import PictureError
from shelfsight.training.rules import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shelfsight.training.report import ProductQuality, ReliabilityBin, Report, SkippedFile, ThresholdQuality

_THUMBNAIL = 160
_PAIRS_WITH_PICTURES = 12
_PLOT = 300
_BAR_HEIGHT = 64
_SAME = {
    "the same as ": "the same bytes as another photo of the product",
    "the same picture is given for ": "the same picture is given for two products or more",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a stacked bar: `kind` names its colour, `share` is its length, 0..1."""

    kind: str
    words: str
    share: float
    value: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A bin of the reliability plot: its dot, the 95 % interval around it, and the height of the bar that counts it.

    Lengths are in units of the drawing, y from the top edge down.
    """

    bin: ReliabilityBin
    x: float
    y: float
    low: float
    high: float
    radius: float
    bar: float


def render_report(report: Report, read: Callable[[str], bytes]) -> bytes:
    """Return the report as an HTML page; pictures that can no longer be read are left out.

    Args:
        read: returns the bytes of a picture by its name in the report; raises PictureError where there are none.
    """
    loader = PackageLoader("shelfsight.training")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "counted": counted}
    products, examples = weakest(report.products), _examples(report)
    page = environment.get_template("report.html.j2").render(
        report=report,
        products=products,
        quality={product.product: product for product in products},
        reverse={(pair.taken_for, pair.product): pair.count for pair in report.confusions},
        half=half_of_mistakes(products),
        bands=bands(products),
        pairs=report.confusions[:_PAIRS_WITH_PICTURES],
        examples=examples,
        thumbnails=_thumbnails(report, examples, read),
        known=known_parts(report.threshold),
        unknown=unknown_parts(report.threshold),
        marks=reliability_marks(report.held_out.reliability if report.held_out else ()),
        plot=_PLOT,
        bar_height=_BAR_HEIGHT,
        skipped=skipped_by_reason(report.skipped),
    )
    return page.encode(errors="backslashreplace")  # a file's name may be no valid Unicode


def percent(share: float) -> str:
    """Return a share as people read it; only all is 100 % and only none is 0 %."""
    text = f"{share:.1%}"
    text = {"100.0%": ">99.9%", "0.0%": "<0.1%"}.get(text, text) if 0 < share < 1 else f"{share:.0%}"
    return text.replace("%", "\N{NO-BREAK SPACE}%")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, `many` being `one` with an s where it is not given."""
    return f"{number:,}\N{NO-BREAK SPACE}{one if number == 1 else many or one + 's'}"


def weakest(products: Iterable[ProductQuality]) -> list[ProductQuality]:
    """Return the products, least recognised first, the more mistakes the sooner; those not measured come last."""

    def rank(product: ProductQuality) -> tuple[float, int, int, str]:
        share = product.right / product.held_out if product.held_out else math.inf
        return share, product.right - product.held_out, product.images, product.product

    return sorted(products, key=rank)


def half_of_mistakes(products: Iterable[ProductQuality]) -> list[ProductQuality]:
    """Return the fewest products on which half of all mistakes are made, most mistakes first."""
    ordered = sorted(products, key=lambda product: (product.right - product.held_out, product.product))
    so_far = list(accumulate((product.held_out - product.right for product in ordered), initial=0))
    return ordered[: bisect_left(so_far, so_far[-1] / 2)]


def bands(products: Sequence[ProductQuality]) -> list[Part]:
    """Return how many products are recognised how well, as the parts of a bar; empty bands are left out."""
    shares = [product.right / product.held_out if product.held_out else -1.0 for product in products]
    numbers = (
        ("all", "always right", sum(share == 1 for share in shares)),
        ("most", "80\N{NO-BREAK SPACE}% or more", sum(0.8 <= share < 1 for share in shares)),
        ("some", "50 to 80\N{NO-BREAK SPACE}%", sum(0.5 <= share < 0.8 for share in shares)),
        ("few", "below 50\N{NO-BREAK SPACE}%", sum(0 <= share < 0.5 for share in shares)),
        ("none", "not measured", sum(share < 0 for share in shares)),
    )
    return [Part(kind, words, number / len(shares), f"{number:,}") for kind, words, number in numbers if number]


def known_parts(threshold: ThresholdQuality) -> list[Part]:
    """Return what happens to a product of the catalogue, as the parts of a bar; none where it was not measured."""
    if threshold.answered is None:
        return []
    right = threshold.answered * (threshold.accuracy_when_answered or 0.0)
    return _outcomes(right=right, asks=1 - threshold.answered, wrong=threshold.answered - right)


def unknown_parts(threshold: ThresholdQuality) -> list[Part]:
    """Return what happens to a product that is not in the catalogue, as `known_parts` does."""
    refused = threshold.unknown_refused
    return [] if refused is None else _outcomes(asks=refused, wrong=1 - refused)


def _outcomes(**shares: float) -> list[Part]:
    words = {"right": "right", "asks": "the till asks", "wrong": "wrong"}
    return [Part(kind, words[kind], share, percent(round(share, 4))) for kind, share in shares.items()]


def reliability_marks(bins: Sequence[ReliabilityBin]) -> list[Mark]:
    """Return where the bins stand in a plot of `_PLOT` units square over bars of at most `_BAR_HEIGHT` units."""
    return [_mark(each, each.count / max(other.count for other in bins)) for each in bins]


def _mark(each: ReliabilityBin, size: float) -> Mark:
    x, (low, high) = each.confidence, wilson_interval(round(each.accuracy * each.count), each.count)
    y, low, high = 1 - each.accuracy, 1 - low, 1 - high
    lengths = (x * _PLOT, y * _PLOT, low * _PLOT, high * _PLOT, 3 + 5 * math.sqrt(size), max(1.5, size * _BAR_HEIGHT))
    return Mark(each, *(round(length, 1) for length in lengths))


def skipped_by_reason(skipped: Iterable[SkippedFile]) -> list[tuple[str, list[SkippedFile]]]:
    """Return the files by reason, most first; a reason is without what differs from file to file."""
    groups: dict[str, list[SkippedFile]] = {}
    for item in skipped:
        groups.setdefault(_kind(item.reason), []).append(item)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _kind(reason: str) -> str:
    bare = re.sub(r"^line \d+: ", "", reason)
    same = (kind for start, kind in _SAME.items() if bare.startswith(start))
    return next(same, re.sub(r" \(.*\)", "", bare, flags=re.DOTALL))


def _examples(report: Report) -> dict[str, str]:
    """Return a photo of each product, if possible one that was not itself mistaken."""
    mistaken = {file for pair in report.confusions for file in pair.images}
    images = sorted(report.images, key=lambda image: image.file in mistaken, reverse=True)
    return {image.product: image.file for image in images}


def _thumbnails(report: Report, examples: dict[str, str], read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the pictures of the pairs as data URLs, by file."""
    pairs = report.confusions[:_PAIRS_WITH_PICTURES]
    wanted = {file for pair in pairs for file in (*pair.images, examples[pair.taken_for])}
    return {file: thumbnail for file in sorted(wanted) if (thumbnail := _thumbnail(file, read))}


def _thumbnail(file: str, read: Callable[[str], bytes]) -> str | None:
    """Return the centre square of a picture, which is what the recogniser sees, as a data URL."""
    try:
        picture = centre_square(open_picture(read(file), short_side=_THUMBNAIL), _THUMBNAIL)
    except PictureError:
        return None
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
