"""Measure a recogniser on labelled pictures that it was not trained on."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.bundle.recogniser import Recogniser

_WORST_PAIRS = 10


class Evaluation(Document):
    """How a recogniser did; shares are 0..1.

    `accuracy` and what follows count pictures of products that the recogniser knows, whatever its threshold;
    `answered` those at or above it. `unknown_*` count pictures of products that it was not trained on.
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


def evaluate(recogniser: Recogniser, source: Path, progress: Progress | None = None) -> Evaluation:
    """Return how well the recogniser does on the photos of `source`, a folder or CSV as for training.

    Raises:
        SourceError: the source cannot be used, or has no usable picture of a product that the recogniser knows.
    """
    progress = progress or Silent()
    listing = read_source(source)
    progress.stage("Recognising", len(listing.photos))
    number = {product: index for index, product in enumerate(recogniser.labels)}
    skipped = [SkippedFile(file=display_name(s.path, source), reason=s.reason) for s in listing.skipped]
    rows, labels, files = [], [], []
    answers = recognise_files(recogniser, [photo.path for photo in listing.photos])
    for photo, (path, probabilities, reason) in zip(listing.photos, answers, strict=True):
        progress.advance()
        name = display_name(path, source)
        if probabilities is None:
            skipped.append(SkippedFile(file=name, reason=reason or ""))
            continue
        rows.append(probabilities)
        labels.append(number.get(photo.product, -1))
        files.append(name)
    truth = np.array(labels, np.int64)
    if not (truth >= 0).any():
        raise SourceError(
            f"{source} has no usable picture of a product that the recogniser knows: "
            "folders or the CSV's products must be named as in training"
        )
    return _summary(recogniser, np.stack(rows), truth, files, skipped)


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
    )
