"""Train a recogniser: photos in, a verified bundle with its quality report out."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.backbone import DEFAULT, load_backbone
from shelfsight.bundle.stamp import check_stamp
from shelfsight.bundle.write import BundleFacts, check_place, write_bundle
from shelfsight.catalog.picture import open_picture
from shelfsight.errors import PictureError, TooFewProductsError, UsageError
from shelfsight.training.cache import EmbeddingCache
from shelfsight.training.embed import Embedder, Tools, embed
from shelfsight.training.files import FileSource
from shelfsight.training.fit import Examples, fit
from shelfsight.training.images import SkippedImage
from shelfsight.training.progress import Progress, Silent
from shelfsight.training.report_build import Trained, build_report
from shelfsight.training.report_page import render_report
from shelfsight.training.rules import HeadKind, Plan, plan_training
from shelfsight.training.studio import is_studio
from shelfsight.training.views import view_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shelfsight.training.embed import Embedded
    from shelfsight.training.images import Image, Source
    from shelfsight.training.report import Report

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
    embedder = Embedder(load_backbone(options.backbone))
    photos = FileSource.open(source)
    with EmbeddingCache(cache_dir, embedder.id) as cache:
        tools = Tools(source=photos, embedder=embedder, embeddings=cache, progress=progress)
        return learn(tools, options, out)


def learn(tools: Tools, options: TrainingOptions, out: Path) -> Report:
    """Embed what is missing, fit, calibrate and measure, write the bundle to `out`, and return the quality report.

    Embeddings are stored chunk by chunk: killed and called again, it goes on where it was; the bundle is the same.

    Raises:
        TooFewProductsError: fewer than two products have a usable picture.
        OutputError: the bundle cannot be written, or `out` holds something else than a bundle. `out` is as it was.
        StorageError: pictures or embeddings cannot be read or stored.
    """
    started = time.monotonic()
    plan, embedded, skipped = _look(tools, options.head)
    tools.progress.stage("Learning products")
    examples = _examples(embedded)
    fitted = fit(examples, tools.embedder.backbone, plan, seed=options.seed)
    trained = Trained(
        channel=options.channel,
        version=options.version,
        backbone=tools.embedder.backbone.name,
        plan=plan,
        seed=options.seed,
        images=embedded.images,
        labels=examples.labels,
        fitted=fitted,
        skipped=skipped,
        trouble=tools.embeddings.trouble,
        trained_at=datetime.now(UTC),
        duration_s=time.monotonic() - started,
    )
    tools.progress.stage("Writing the bundle")
    report = build_report(trained)
    _write(out, tools, trained, report)
    return report


def plan_for(images: Sequence[Image], source: Source, wanted: HeadKind | None) -> Plan:
    """Return how to learn the images; `wanted` is the head that was asked for."""
    counts = list(Counter(image.product for image in images).values())
    studio = median(counts) < 2 and _mostly_studio(images, source)
    return plan_training(counts, studio=studio, wanted=wanted)


def _look(tools: Tools, wanted: HeadKind | None) -> tuple[Plan, Embedded, tuple[SkippedImage, ...]]:
    """Return how to learn the source's usable images, their embeddings, and what is not used.

    How many views are drawn goes by the number of photos, and which of them are usable is known once they have been
    looked at: where that changes the plan, they are looked at again.
    """
    found = tools.source.find(tools.progress)
    skipped = found.skipped
    _check_products(tools.source.name, found.images, skipped)
    plan = plan_for(found.images, tools.source, wanted)
    embedded = embed(found.images, view_names(plan.crops), tools)
    skipped += _unused(found.images, embedded.unusable)
    _check_products(tools.source.name, embedded.images, skipped)
    if embedded.unusable:
        first, plan = plan, plan_for(embedded.images, tools.source, wanted)
        if plan.crops != first.crops:
            images = embedded.images
            embedded = embed(images, view_names(plan.crops), tools)
            skipped += _unused(images, embedded.unusable)
            _check_products(tools.source.name, embedded.images, skipped)
    return plan, embedded, skipped


def _examples(embedded: Embedded) -> Examples:
    products = tuple(_products(embedded.images))
    number = {product: index for index, product in enumerate(products)}
    labels = np.array([number[image.product] for image in embedded.images])
    return Examples(vectors=embedded.vectors, labels=labels, products=products)


def _unused(images: Iterable[Image], unusable: Mapping[str, str]) -> tuple[SkippedImage, ...]:
    return tuple(
        SkippedImage(name=image.name, reason=unusable[image.sha256]) for image in images if image.sha256 in unusable
    )


def _check_places(source: Path, out: Path) -> None:
    """Refuse, before any work is done, an `out` that would overwrite something or be taken for a product."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{out} lies inside {source} and would be read as photos next time: name a folder outside")
    check_place(out)


def _products(images: Sequence[Image]) -> list[str]:
    return sorted({image.product for image in images})


def _check_products(source: str, images: Sequence[Image], skipped: Sequence[SkippedImage]) -> None:
    """Refuse fewer than two products with a usable picture, and say why most of the others are not."""
    products = _products(images)
    if len(products) >= 2:
        return
    found = f"only {products[0]!r} has one" if products else "none has one"
    reasons = Counter(item.reason for item in skipped).most_common(1)
    why = f"; {len(skipped)} skipped, most often because: {reasons[0][0]}" if reasons else ""
    raise TooFewProductsError(
        f"{source}: two products with a usable picture are needed, {found}{why}. {_advice(products, skipped)}"
    )


def _advice(products: Sequence[str], skipped: Sequence[SkippedImage]) -> str:
    if products:
        return "Add a second product with photos."
    return "Add photos that can be used." if skipped else "Add two products with photos."


def _mostly_studio(images: Sequence[Image], source: Source) -> bool:
    """Return whether most of a sample of the pictures stand on plain ground."""
    verdicts = []
    for image in sorted(images, key=lambda image: image.sha256)[:_STUDIO_SAMPLE]:
        with suppress(PictureError):
            verdicts.append(is_studio(open_picture(source.read(image))))
    return sum(verdicts) * 2 > len(verdicts)


def _write(out: Path, tools: Tools, trained: Trained, report: Report) -> None:
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
    page = render_report(report, _by_name(trained.images, tools.source))
    private = {"report.json": report.to_json(), "report.html": page}
    write_bundle(out, tools.embedder.backbone, trained.fitted.head, facts, private)


def _by_name(images: Iterable[Image], source: Source) -> Callable[[str], bytes]:
    """Return what reads an image by the name that the report has for it."""
    named = {image.name: image for image in images}
    return lambda name: source.read(named[name])
