"""The quality report of a training: what can be expected of the recogniser, and what would make it better."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 (pydantic reads the annotation)
from typing import Any

from shelfsight.bundle.documents import Document, Sha256


class ReliabilityBin(Document):
    """Held-out answers of about the same confidence, and how many of them were right."""

    confidence: float
    accuracy: float
    count: int


class HeldOutQuality(Document):
    """How the recogniser did on pictures it was not trained on; shares are 0..1.

    `basis` says what those were. `scenes` are held out whole, the nearest that a training comes to a new day at the
    till; `views` are altered copies of the training pictures, where there is one a product: they promise too much.
    There are more `answers` than `images` then; the interval goes by the images.
    """

    basis: str
    images: int
    answers: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top3: float
    accuracy_at_80_coverage: float
    calibration_error: float
    reliability: tuple[ReliabilityBin, ...]


class ThresholdQuality(Document):
    """What the threshold does to held-out pictures; shares are 0..1.

    `unknown_refused` counts pictures whose product was taken out of the catalogue; None with two products.
    """

    value: float
    answered: float | None = None
    accuracy_when_answered: float | None = None
    unknown_refused: float | None = None


class ProductQuality(Document):
    """One product: its pictures, the answers that were held out for it, and how many of those were right."""

    product: str
    images: int
    held_out: int
    right: int
    too_few_images: bool


class ConfusedPair(Document):
    """A product that was taken for another, with held-out pictures of it that were."""

    product: str
    taken_for: str
    count: int
    images: tuple[str, ...]


class SkippedFile(Document):
    """A file that was not used, and why."""

    file: str
    reason: str


class TrainingImage(Document):
    """A picture that the recogniser was trained on.

    `answer` is the product that a head which had not seen the picture took it for: None where it was never held out,
    and in reports before format 1.1.
    """

    file: str
    product: str
    sha256: Sha256
    answer: str | None = None


class Report(Document):
    """`report.json`: kept beside the bundle, never served publicly, because it names the shop's files."""

    format_version: str = "1.1"
    channel_id: str
    version: str
    trained_at: datetime
    training_duration: float
    backbone: str
    head: str
    settings: dict[str, Any]
    product_count: int
    image_count: int
    held_out: HeldOutQuality | None
    threshold: ThresholdQuality
    products: tuple[ProductQuality, ...]
    confusions: tuple[ConfusedPair, ...]
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    images: tuple[TrainingImage, ...]
