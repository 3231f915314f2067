"""Train a recogniser: photos in, a verified bundle with its quality report out."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.backbone import DEFAULT, load_backbone
from shelfsight.bundle.stamp import check_stamp
from shelfsight.bundle.write import BundleFacts, check_place, write_bundle
from shelfsight.catalog.picture import open_picture, read_picture
from shelfsight.errors import PictureError, TooFewProductsError, UsageError
from shelfsight.training.cache import EmbeddingCache
from shelfsight.training.embed import Embedded, Image, embed, embedder_id, identify
from shelfsight.training.fit import Examples, fit
from shelfsight.training.progress import Progress, Silent
from shelfsight.training.report import Report, Trained, build_report
from shelfsight.training.report_page import render_report
from shelfsight.training.rules import HeadKind, Plan, plan_training
from shelfsight.training.source import read_source
from shelfsight.training.studio import is_studio
from shelfsight.training.views import view_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.bundle.backbone import Backbone
    from shelfsight.training.source import Skipped

_STUDIO_SAMPLE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How to train.

    Attributes:
        head: how the head is fitted; None chooses by the pictures.
        seed: decides which pictures are held out; the weights do not depend on it otherwise.
        backbone: name of a shipped backbone, or path of a backbone file.
    """

    channel: str = "default"
    version: str = "1.0.0"
    head: HeadKind | None = None
    seed: int = 0
    backbone: str = DEFAULT

    def __post_init__(self) -> None:
        check_stamp(self.channel, self.version)


def train(
    source: Path,
    out: Path,
    *,
    cache_dir: Path,
    options: TrainingOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Train on the photos of `source`, write the bundle to the folder `out`, and return the quality report.

    Raises:
        SourceError: the source cannot be used, or fewer than two products have a usable picture.
        OutputError: the bundle cannot be written, or `out` holds something else than a bundle.
        UsageError: `out` lies inside `source`. In all cases `out` is as it was.
    """
    options, progress = options or TrainingOptions(), progress or Silent()
    _check_places(source, out)
    started = time.monotonic()
    backbone = load_backbone(options.backbone)
    plan, embedded, trouble = _look(source, backbone, options, cache_dir, progress)
    progress.stage("Learning products")
    products = tuple(_products(embedded.images))
    number = {product: index for index, product in enumerate(products)}
    labels = np.array([number[image.photo.product] for image in embedded.images])
    examples = Examples(vectors=embedded.vectors, labels=labels, products=products)
    fitted = fit(examples, backbone, plan, seed=options.seed)
    trained = Trained(
        source=source,
        channel=options.channel,
        version=options.version,
        backbone=backbone.name,
        plan=plan,
        seed=options.seed,
        images=embedded.images,
        labels=labels,
        fitted=fitted,
        skipped=embedded.skipped,
        trouble=trouble,
        trained_at=datetime.now(UTC),
        duration_s=time.monotonic() - started,
    )
    progress.stage("Writing the bundle")
    report = build_report(trained)
    _write(out, backbone, trained, report)
    return report


def _look(
    source: Path, backbone: Backbone, options: TrainingOptions, cache_dir: Path, progress: Progress
) -> tuple[Plan, Embedded, str | None]:
    """Return how to learn the usable photos of `source`, their embeddings, and what is wrong with the cache.

    How many views are drawn goes by the number of photos, and which of them are usable is known once they have been
    looked at: where that changes the plan, they are looked at again.
    """
    listing = read_source(source)
    images, repeated = identify(listing.photos, progress)
    skipped = (*listing.skipped, *repeated)
    _check_products(source, images, skipped)
    plan = _plan(images, options.head)
    with EmbeddingCache(cache_dir, embedder_id(backbone)) as cache:
        embedded = embed(images, view_names(plan.crops), backbone, cache, progress)
        skipped += embedded.skipped
        _check_products(source, embedded.images, skipped)
        if embedded.skipped:
            first, plan = plan, _plan(embedded.images, options.head)
            if plan.crops != first.crops:
                embedded = embed(embedded.images, view_names(plan.crops), backbone, cache, progress)
    return plan, replace(embedded, skipped=skipped), cache.trouble


def _check_places(source: Path, out: Path) -> None:
    """Refuse, before any work is done, an `out` that would overwrite something or be taken for a product."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{out} lies inside {source} and would be read as photos next time: name a folder outside")
    check_place(out)


def _products(images: Sequence[Image]) -> list[str]:
    return sorted({image.photo.product for image in images})


def _check_products(source: Path, images: Sequence[Image], skipped: Sequence[Skipped]) -> None:
    """Refuse fewer than two products with a usable picture, and say why most of the others are not."""
    products = _products(images)
    if len(products) >= 2:
        return
    found = f"only {products[0]!r} has one" if products else "none has one"
    reasons = Counter(item.reason for item in skipped).most_common(1)
    why = f"; {len(skipped)} skipped, most often because: {reasons[0][0]}" if reasons else ""
    raise TooFewProductsError(
        f"{source}: two products with a usable picture are needed, {found}{why}. Add a second product with photos."
    )


def _plan(images: Sequence[Image], wanted: HeadKind | None) -> Plan:
    counts = list(Counter(image.photo.product for image in images).values())
    studio = median(counts) < 2 and _mostly_studio(images)
    return plan_training(counts, studio=studio, wanted=wanted)


def _mostly_studio(images: Sequence[Image]) -> bool:
    """Return whether most of a sample of the pictures stand on plain ground."""
    verdicts = []
    for image in sorted(images, key=lambda image: image.sha256)[:_STUDIO_SAMPLE]:
        with suppress(PictureError):
            picture = open_picture(read_picture(image.photo.path))
            verdicts.append(is_studio(picture))
    return sum(verdicts) * 2 > len(verdicts)


def _write(out: Path, backbone: Backbone, trained: Trained, report: Report) -> None:
    facts = BundleFacts(
        channel=trained.channel,
        version=trained.version,
        trained_at=trained.trained_at,
        training_duration_s=trained.duration_s,
        image_count=len(trained.images),
        accuracy=report.held_out.accuracy if report.held_out else None,
        threshold=trained.fitted.calibration.threshold,
        settings=report.settings,
    )
    private = {"report.json": report.to_json(), "report.html": render_report(report, trained.source)}
    write_bundle(out, backbone, trained.fitted.head, facts, private)
