"""What training decides: which head, how many views, what is stored anew, which version is clearly worse. Pure.

Plain Python: who only asks for a verdict, such as the server, loads no numpy. What needs arrays to be decided is in
`holdout` (what is held out) and `metrics` (where "I don't know" begins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOO_FEW_IMAGES = 3
"""A product with fewer pictures than this is named in the report: more pictures would help it most."""

PROJECTED_FROM = 2000
"""Number of products from which the head works on the backbone's projection, so that it stays small."""


class HeadKind(StrEnum):
    """How the head is fitted."""

    MEAN = "mean"
    RIDGE = "ridge"
    LDA = "lda"


class Basis(StrEnum):
    """What a recogniser was measured on when it was trained."""

    SCENES = "scenes"
    """Photos held out together with all others of the same scene: the nearest to a new day at the till."""

    VIEWS = "views"
    """Altered views of the training photos themselves, where there is one photo a product: optimistic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a catalogue is learned."""

    head: HeadKind
    shrinkage: float
    crops: int
    basis: Basis
    projected: bool


def plan_training(images_per_product: Sequence[int], *, studio: bool, wanted: HeadKind | None) -> Plan:
    """Return how to learn products with these numbers of pictures, `studio` where they stand on plain ground.

    Measured in docs/decisions/0004: with one picture a product a discriminant has nothing to estimate spread from;
    from two on it wins. The fewer pictures, the more views pay, and the more the covariance is shrunk.
    """
    typical = median(images_per_product)
    if wanted is not None:
        head = wanted
    elif typical >= 2:
        head = HeadKind.LDA
    else:
        head = HeadKind.MEAN if studio else HeadKind.RIDGE
    return Plan(
        head=head,
        shrinkage={HeadKind.LDA: 0.2 if typical >= 10 else 0.5, HeadKind.RIDGE: 0.1, HeadKind.MEAN: 0.0}[head],
        crops=4 if typical >= 5 else 10 if typical >= 2 else 16,
        basis=Basis.SCENES if typical >= 2 else Basis.VIEWS,
        projected=len(images_per_product) >= PROJECTED_FROM,
    )


WORSE_P = 0.01
"""How seldom a version that is as good as the active one is called clearly worse."""

WORSE_SHARE = 0.02
"""By how much of the compared photos a version must be worse: less is not worth to keep a shop waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutAnswer:
    """What a version took a held-out photo of a product for."""

    product: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions on the same photos, each answered by a head that had not seen them.

    Attributes:
        photos: held out in both, of the same product, which both know, and counted.
        right: answered right by the new version; `active_right` by the active one.
        better: answered right by the new version only; `worse` by the active one only.
        left_out: not counted, since one version answered with a product that the other does not know.
    """

    photos: int
    right: int
    active_right: int
    better: int
    worse: int
    left_out: int

    @property
    def p_value(self) -> float:
        """How often chance alone makes an equally good version look at least this much worse."""
        return mcnemar(self.better, self.worse)

    @property
    def clearly_worse(self) -> bool:
        """Whether chance hardly explains that the new version is worse, and the difference matters."""
        return self.p_value < WORSE_P and self.worse - self.better >= WORSE_SHARE * self.photos


def compare_answers(
    new: Mapping[str, HeldOutAnswer],
    active: Mapping[str, HeldOutAnswer],
    *,
    products: set[str],
    active_products: set[str],
) -> Comparison:
    """Return how two versions did on the photos, by SHA-256, that were held out in both, of products both know.

    More products are harder to tell apart, and that is no fault of the new version: a photo that it takes for one
    that the active version does not know is left out. But only so many as its share of such products explains: what
    is above that counts as wrong, for one new product with bad photos can swallow all others. A photo that the active
    version takes for a product that is gone is left out as well.
    """
    both = products & active_products
    common = [sha for sha, found in new.items() if sha in active and found.product == active[sha].product in both]
    strange = [sha for sha in common if new[sha].answer not in both]
    gone = [sha for sha in common if active[sha].answer not in both and new[sha].answer in both]
    explained = math.ceil(len(common) * (1 - len(both) / max(1, len(products))))
    # Those that the active version had wrong, too, are left out first: they are no evidence either way.
    strange.sort(key=lambda sha: (active[sha].answer == active[sha].product, sha))
    left_out = {*strange[:explained], *gone}
    counted = [sha for sha in common if sha not in left_out]
    right = {sha for sha in counted if new[sha].answer == new[sha].product}
    active_right = {sha for sha in counted if active[sha].answer == active[sha].product}
    return Comparison(
        photos=len(counted),
        right=len(right),
        active_right=len(active_right),
        better=len(right - active_right),
        worse=len(active_right - right),
        left_out=len(left_out),
    )


def mcnemar(better: int, worse: int) -> float:
    """Return the one-sided p-value of McNemar's exact test: the chance of `worse` or more in as many coin tosses.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 1947; exact by the sign test. Only photos on which exactly one of the two is right count.
    """
    tosses = better + worse

    def chance(heads: int) -> float:
        ways = math.lgamma(tosses + 1) - math.lgamma(heads + 1) - math.lgamma(tosses - heads + 1)
        return math.exp(ways - tosses * math.log(2))

    return min(1.0, math.fsum(chance(heads) for heads in range(worse, tosses + 1)))


STORED_CHUNK_BYTES = 4_000_000
"""Most bytes of embeddings in one file of the storage."""


def worth_compacting(*, live_bytes: int, total_bytes: int, files: int) -> bool:
    """Return whether to write stored embeddings anew: more than half are useless, or they lie in far too many files.

    Every training adds files, most of them small; each is a request to an object store at every training.
    """
    needed = math.ceil(live_bytes / STORED_CHUNK_BYTES)
    return 2 * live_bytes < total_bytes or files > 2 * needed + 32


def wilson_interval(right: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, JASA 1927), to four digits; (0, 1) for none."""
    if total == 0:
        return 0.0, 1.0
    share, spread = right / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return round(max(0.0, centre - half), 4), round(min(1.0, centre + half), 4)
