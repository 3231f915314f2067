"""Draw up the quality report of a training from what was measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.training.metrics import Confusion, confusions, measure
from shelfsight.training.report import (
    ConfusedPair,
    HeldOutQuality,
    ProductQuality,
    ReliabilityBin,
    Report,
    SkippedFile,
    ThresholdQuality,
    TrainingImage,
)
from shelfsight.training.rules import TOO_FEW_IMAGES, Basis, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from shelfsight.training.fit import Fitted
    from shelfsight.training.images import Image, SkippedImage
    from shelfsight.training.rules import Plan

_MOST_CONFUSIONS = 50
_EXAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A finished training, before it is written down."""

    channel: str
    version: str
    backbone: str
    plan: Plan
    seed: int
    images: tuple[Image, ...]
    labels: NDArray[np.int64]
    fitted: Fitted
    skipped: tuple[SkippedImage, ...]
    trouble: str | None
    trained_at: datetime
    duration_s: float


def build_report(trained: Trained) -> Report:
    """Return the quality report of a training."""
    fitted, plan = trained.fitted, trained.plan
    products = fitted.head.labels
    held_out, by_product = _held_out(fitted, plan.basis), _products(trained)
    files = [image.name for image in trained.images]
    pairs = confusions(fitted.calibration.probabilities, fitted.held_out.label, fitted.held_out.picture)
    return Report(
        channel_id=trained.channel,
        version=trained.version,
        trained_at=trained.trained_at,
        training_duration=round(trained.duration_s, 3),
        backbone=trained.backbone,
        head=plan.head.value,
        settings={
            "head": plan.head.value,
            "shrinkage": plan.shrinkage,
            "views": plan.crops + 2,
            "projected": plan.projected,
            "seed": trained.seed,
        },
        product_count=len(products),
        image_count=len(trained.images),
        held_out=held_out,
        threshold=_threshold(fitted),
        products=by_product,
        confusions=confused_pairs(pairs[:_MOST_CONFUSIONS], products, files),
        skipped=tuple(SkippedFile(file=item.name, reason=item.reason) for item in trained.skipped),
        notes=tuple(_notes(by_product, held_out, trained.trouble)),
        images=_images(trained),
    )


def _images(trained: Trained) -> tuple[TrainingImage, ...]:
    products, answers = trained.fitted.head.labels, trained.fitted.held_out.answers.tolist()
    return tuple(
        TrainingImage(
            file=image.name,
            product=image.product,
            sha256=image.sha256,
            answer=products[answer] if answer >= 0 else None,
        )
        for image, answer in zip(trained.images, answers, strict=True)
    )


def _held_out(fitted: Fitted, basis: Basis) -> HeldOutQuality | None:
    if not len(fitted.held_out.label):
        return None
    quality = measure(fitted.calibration.probabilities, fitted.held_out.label)
    images = len(np.unique(fitted.held_out.picture))  # views of one picture are no independent trials
    return HeldOutQuality(
        basis=basis.value,
        images=images,
        answers=quality.pictures,
        accuracy=round(quality.accuracy, 4),
        accuracy_interval=wilson_interval(quality.accuracy * images, images),
        top3=round(quality.top3, 4),
        accuracy_at_80_coverage=round(quality.accuracy_at_80_coverage, 4),
        calibration_error=round(quality.calibration_error, 4),
        reliability=tuple(
            ReliabilityBin(confidence=round(b.confidence, 4), accuracy=round(b.accuracy, 4), count=b.count)
            for b in quality.reliability
        ),
    )


def _threshold(fitted: Fitted) -> ThresholdQuality:
    if not len(fitted.held_out.label):
        return ThresholdQuality(value=fitted.calibration.threshold)
    answered = fitted.calibration.probabilities.max(axis=1) >= fitted.calibration.threshold
    right = fitted.calibration.probabilities.argmax(axis=1) == fitted.held_out.label
    refused = fitted.calibration.if_unknown < fitted.calibration.threshold
    return ThresholdQuality(
        value=fitted.calibration.threshold,
        answered=round(float(answered.mean()), 4),
        accuracy_when_answered=round(float(right[answered].mean()), 4) if answered.any() else None,
        unknown_refused=round(float(refused.mean()), 4) if len(refused) else None,
    )


def _products(trained: Trained) -> tuple[ProductQuality, ...]:
    label = trained.fitted.held_out.label
    answers = trained.fitted.calibration.probabilities.argmax(axis=1)
    images = Counter(trained.labels.tolist())
    held_out, right = Counter(label.tolist()), Counter(label[answers == label].tolist())
    return tuple(
        ProductQuality(
            product=product,
            images=images[index],
            held_out=held_out[index],
            right=right[index],
            too_few_images=images[index] < TOO_FEW_IMAGES,
        )
        for index, product in enumerate(trained.fitted.head.labels)
    )


def confused_pairs(
    pairs: Sequence[Confusion], products: Sequence[str], files: Sequence[str]
) -> tuple[ConfusedPair, ...]:
    """Return confusions by name: of the products, and of a few of the pictures' `files`."""
    return tuple(
        ConfusedPair(
            product=products[pair.label],
            taken_for=products[pair.taken_for],
            count=pair.count,
            images=tuple(files[index] for index in pair.pictures[:_EXAMPLES]),
        )
        for pair in pairs
    )


def _notes(products: Sequence[ProductQuality], held_out: HeldOutQuality | None, trouble: str | None) -> list[str]:
    """Return what the shop should know, as sentences."""
    notes = []
    few = sum(product.too_few_images for product in products)
    if few:
        notes.append(
            f"{few} of {len(products)} products have fewer than {TOO_FEW_IMAGES} pictures: "
            "more photos of them, taken at the till, will help most."
        )
    if held_out is None:
        notes.append("No picture could be held out, so nothing is known of the accuracy: add photos.")
    elif held_out.basis == Basis.VIEWS:
        notes.append("Measured on altered copies of the training pictures: expect less at the till.")
    if len(products) == 2:
        notes.append("With two products, one that is neither cannot be told apart: add more products.")
    if trouble:
        notes.append(trouble[0].upper() + trouble[1:] + ".")
    return notes
