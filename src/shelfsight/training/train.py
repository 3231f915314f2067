"""Train a recogniser: photos in, a verified bundle with its quality report out."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.backbone import DEFAULT, load_backbone
from shelfsight.bundle.documents import CHANNEL_PATTERN, VERSION_PATTERN
from shelfsight.bundle.write import BundleFacts, check_place, write_bundle
from shelfsight.catalog.picture import open_picture
from shelfsight.errors import PictureError, TooFewProductsError, UsageError
from shelfsight.training.cache import EmbeddingCache
from shelfsight.training.embed import Image, embed, embedder_id, identify
from shelfsight.training.fit import fit
from shelfsight.training.progress import Progress, Silent
from shelfsight.training.report import Report, Trained, build_report
from shelfsight.training.report_page import render_report
from shelfsight.training.rules import HeadKind, Plan, plan_training
from shelfsight.training.source import read_source
from shelfsight.training.studio import is_studio
from shelfsight.training.views import view_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shelfsight.bundle.backbone import Backbone

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
        if not re.fullmatch(CHANNEL_PATTERN, self.channel):
            raise UsageError(
                f"channel {self.channel!r} is not an id: use up to 64 letters, digits, dots, hyphens and underscores"
            )
        if not re.fullmatch(VERSION_PATTERN, self.version):
            raise UsageError(f"version {self.version!r} is not a semantic version: use one like 1.4.2")


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
    listing = read_source(source)
    images, repeated = identify(listing.photos, progress)
    _check_products(source, images, len(listing.photos))
    plan = _plan(images, options.head)
    with EmbeddingCache(cache_dir, embedder_id(backbone)) as cache:
        embedded = embed(images, view_names(plan.crops), backbone, cache, progress)
    products = _check_products(source, embedded.images, len(listing.photos))
    progress.stage("Learning products")
    number = {product: index for index, product in enumerate(products)}
    labels = np.array([number[image.photo.product] for image in embedded.images])
    fitted = fit(embedded.vectors, labels, products, backbone, plan, seed=options.seed)
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
        skipped=(*listing.skipped, *repeated, *embedded.skipped),
        trouble=cache.trouble,
        trained_at=datetime.now(UTC),
        duration_s=time.monotonic() - started,
    )
    progress.stage("Writing the bundle")
    report = build_report(trained)
    _write(out, backbone, trained, report)
    return report


def _check_places(source: Path, out: Path) -> None:
    """Refuse, before any work is done, an `out` that would overwrite something or be taken for a product."""
    if out.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{out} lies inside {source} and would be read as photos next time: name a folder outside")
    check_place(out)


def _check_products(source: Path, images: Sequence[Image], files: int) -> list[str]:
    """Return the products that have a usable picture, sorted; refuse fewer than two."""
    products = sorted({image.photo.product for image in images})
    if len(products) >= 2:
        return products
    found = f"only {products[0]!r} has one" if products else "none has one"
    raise TooFewProductsError(
        f"{source}: two products with a usable picture are needed, {found} ({files} files looked at): "
        "add a second product with photos"
    )


def _plan(images: Sequence[Image], wanted: HeadKind | None) -> Plan:
    counts = list(Counter(image.photo.product for image in images).values())
    studio = median(counts) < 2 and _mostly_studio(images)
    return plan_training(counts, studio=studio, wanted=wanted)


def _mostly_studio(images: Sequence[Image]) -> bool:
    """Return whether most of a sample of the pictures stand on plain ground."""
    verdicts = []
    for image in sorted(images, key=lambda image: image.sha256)[:_STUDIO_SAMPLE]:
        with suppress(PictureError, OSError):
            picture = open_picture(image.photo.path.read_bytes())
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
        threshold=trained.fitted.threshold,
        settings=report.settings,
    )
    private = {"report.json": report.to_json(), "report.html": render_report(report, trained.source)}
    write_bundle(out, backbone, trained.fitted.head, facts, private)
