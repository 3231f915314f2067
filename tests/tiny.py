"""A backbone small enough to compute by hand, with every kind of layer, and photos to go with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from shelfsight.bundle.backbone import PROJECTION, Backbone
from shelfsight.bundle.coding import Coded, encode
from shelfsight.bundle.head import make_head
from shelfsight.bundle.network import INPUT, Add, Affine, Conv, GlobalAveragePool, Network
from shelfsight.bundle.write import BundleFacts, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 32
CHANNELS = 24


def tiny_backbone() -> Backbone:
    """Return a backbone with an asymmetric stride, a depthwise convolution, a residual and 24 features."""
    network = Network(
        input_size=SIZE,
        layers=(
            Affine(name="normalise", source=INPUT),
            Conv(name="stem", source="normalise", kernel=3, stride=2, padding=(1, 1), depthwise=False, relu6=True),
            Conv(name="same", source="stem", kernel=3, stride=2, padding=(0, 1), depthwise=True, relu6=True),
            Conv(name="deep", source="same", kernel=3, stride=1, padding=(1, 1), depthwise=True, relu6=True),
            Conv(name="project", source="deep", kernel=1, stride=1, padding=(0, 0), depthwise=False, relu6=False),
            Add(name="sum", sources=("project", "same")),
            Conv(name="last", source="sum", kernel=1, stride=1, padding=(0, 0), depthwise=False, relu6=True),
            GlobalAveragePool(name="pool", source="last"),
        ),
    )
    random = np.random.default_rng(7)
    kernels = {
        "stem": (3, 3, 3, 8),
        "same": (3, 3, 8, 1),
        "deep": (3, 3, 8, 1),
        "project": (1, 1, 8, 8),
        "last": (1, 1, 8, CHANNELS),
    }
    outputs = {"stem": 8, "same": 8, "deep": 8, "project": 8, "last": CHANNELS}
    tensors: dict[str, Coded | NDArray[np.float32]] = {
        **{
            f"{name}/kernel": encode(random.normal(0, 0.5, shape).astype(np.float32), np.uint16)
            for name, shape in kernels.items()
        },
        **{f"{name}/bias": random.normal(0, 0.2, size).astype(np.float32) for name, size in outputs.items()},
        "normalise/scale": np.array([1.0, 1.1, 0.9], np.float32),
        "normalise/offset": np.array([0.1, 0.0, -0.1], np.float32),
        PROJECTION: encode(random.normal(0, 1, (CHANNELS, 6)).astype(np.float32), np.uint16),
    }
    positive = dict.fromkeys(("stem", "same", "deep", "last"), (0.0, 6.0))
    ranges = {**positive, "normalise": (-1.2, 1.2), "project": (-8.0, 8.0), "sum": (-8.0, 12.0)}
    return Backbone(name="tiny", model_type="tiny", digest="00" * 32, network=network, tensors=tensors, ranges=ranges)


def paint(path: Path, hue: int, seed: int, size: tuple[int, int] = (96, 80)) -> Path:
    """Write a photo-like picture: noise around one colour, so that products differ and photos of one do not."""
    random = np.random.default_rng(seed)
    colour = np.asarray(Image.new("HSV", (1, 1), (hue, 200, 200)).convert("RGB"), np.float32).reshape(3)
    pixels = colour + random.normal(0, 40, (size[1], size[0], 3)) + 30 * random.normal(size=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def paint_shop(folder: Path, products: int = 3, photos: int = 5) -> Path:
    """Write a shop of some products with some photos each, and return its folder."""
    for product in range(products):
        for photo in range(photos):
            hue = 255 * product // products
            paint(folder / f"product-{product}" / f"{photo}.jpg", hue, seed=1000 * product + photo)
    return folder


def write_tiny_bundle(place: Path, *, seed: int = 0, channel: str = "demo", version: str = "1.0.0") -> Path:
    """Write a bundle of the tiny backbone that knows three products, and return its folder; a seed, a head."""
    random = np.random.default_rng(seed)
    head = make_head(
        ("apple", "birne", "ця груша"),
        random.normal(size=(CHANNELS, 3)).astype(np.float32),
        random.normal(size=3).astype(np.float32),
        None,
    )
    facts = BundleFacts(
        channel=channel,
        version=version,
        trained_at=datetime(2026, 11, 20, tzinfo=UTC),
        training_duration_s=1.0,
        image_count=9 + seed,
        accuracy=0.9,
        threshold=0.5,
        settings={"seed": seed},
    )
    write_bundle(place, tiny_backbone(), head, facts, {"report.json": b"{}"})
    return place
