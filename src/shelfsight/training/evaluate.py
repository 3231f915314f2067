"""Measure a recogniser on labelled pictures that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.documents import Document
from shelfsight.bundle.recogniser import recognise_files
from shelfsight.errors import SourceError
from shelfsight.training.metrics import confusions, measure
from shelfsight.training.progress import Progress, Silent
from shelfsight.training.report import ConfusedPair, SkippedFile
from shelfsight.training.report_build import confused_pairs
from shelfsight.training.rules import wilson_interval
from shelfsight.training.source import display_name, read_source
from shelfsight.training.trained_on import is_among, told_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from shelfsight.bundle.coding import Floats
    from shelfsight.bundle.recogniser import Recogniser
    from shelfsight.training.source import Listing, Photo

_WORST_PAIRS = 10


class Evaluation(Document):
    """How a recogniser did; shares are 0..1.

    `accuracy` and what follows count pictures of products that the recogniser knows, whatever its threshold;
    `answered` those at or above it. `unknown_*` count pictures of products that it was not trained on.
    `trained_on` counts the pictures that are, byte for byte, of its training, None where nobody knows; `notes` say
    what that means.
    """

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top3: float
    accuracy_at_80_coverage: float
    calibration_error: float
    threshold: float
    answered: float
    accuracy_when_answered: float | None
    unknown_images: int
    unknown_refused: float | None
    worst_pairs: tuple[ConfusedPair, ...]
    skipped: tuple[SkippedFile, ...]
    trained_on: int | None
    notes: tuple[str, ...]


def evaluate(
    recogniser: Recogniser,
    source: Path,
    progress: Progress | None = None,
    *,
    training_photos: Collection[str] | None = None,
) -> Evaluation:
    """Return how well the recogniser does on the photos of `source`, a folder or CSV as for training.

    Args:
        training_photos: the SHA-256 of what it was trained on; None where nobody knows.

    Raises:
        SourceError: the source cannot be used, or has no usable picture of a product that the recogniser knows.
    """
    listing = read_source(source)
    answers = _answers(recogniser, listing, source, progress or Silent())
    number = {product: index for index, product in enumerate(recogniser.labels)}
    truth = np.array([number.get(photo.product, -1) for photo in answers.photos], np.int64)
    if not (truth >= 0).any():
        raise SourceError(
            f"{source} has no usable picture of a product that the recogniser knows: "
            "folders or the CSV's products must be named as in training"
        )
    files = [display_name(photo.path, source) for photo in answers.photos]
    measured = _summary(recogniser, np.stack(answers.probabilities), truth, files, answers.skipped)
    if training_photos is None:
        return measured
    seen = sum(is_among(photo.path, training_photos) for photo in answers.photos if photo.product in number)
    return measured.model_copy(update={"trained_on": seen, "notes": told_of(seen, measured.images)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """The photos that could be used, what each was taken for, and what could not be used."""

    photos: list[Photo]
    probabilities: list[Floats]
    skipped: list[SkippedFile]


def _answers(recogniser: Recogniser, listing: Listing, source: Path, progress: Progress) -> _Answers:
    progress.stage("Recognising", len(listing.photos))
    skipped = [SkippedFile(file=display_name(s.path, source), reason=s.reason) for s in listing.skipped]
    found = _Answers(photos=[], probabilities=[], skipped=skipped)
    answers = recognise_files(recogniser, [photo.path for photo in listing.photos])
    for photo, (path, probabilities, reason) in zip(listing.photos, answers, strict=True):
        progress.advance()
        if probabilities is None:
            skipped.append(SkippedFile(file=display_name(path, source), reason=reason or ""))
        else:
            found.photos.append(photo)
            found.probabilities.append(probabilities)
    return found


def _summary(
    recogniser: Recogniser,
    probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    truth: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    files: list[str],
    skipped: list[SkippedFile],
) -> Evaluation:
    known = np.flatnonzero(truth >= 0)
    quality = measure(probabilities[known], truth[known])
    sure = probabilities.max(axis=1) >= recogniser.threshold
    right = probabilities.argmax(axis=1) == truth
    answered, refused = sure[known], ~sure[truth < 0]
    pairs = confusions(probabilities[known], truth[known], known)[:_WORST_PAIRS]
    return Evaluation(
        images=quality.pictures,
        accuracy=round(quality.accuracy, 4),
        accuracy_interval=wilson_interval(quality.right, quality.pictures),
        top3=round(quality.top3, 4),
        accuracy_at_80_coverage=round(quality.accuracy_at_80_coverage, 4),
        calibration_error=round(quality.calibration_error, 4),
        threshold=recogniser.threshold,
        answered=round(float(answered.mean()), 4),
        accuracy_when_answered=round(float(right[known][answered].mean()), 4) if answered.any() else None,
        unknown_images=len(refused),
        unknown_refused=round(float(refused.mean()), 4) if len(refused) else None,
        worst_pairs=confused_pairs(pairs, recogniser.labels, files),
        skipped=tuple(skipped),
        trained_on=None,
        notes=(),
    )
