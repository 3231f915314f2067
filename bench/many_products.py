"""Fit the head of 5,000 products with 5 photos each: time, memory and download, beside scikit-learn's LDA.

    python -m bench.many_products

The embeddings are those of the Grocery Store photos, perturbed: every product is a real one moved by a step as long
as the way from one product to another, its photos are real deviations from a product's mean. Takes some minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bench.common import grocery, own_peak_bytes
from bench.embeddings import grocery_embeddings
from shelfsight.bundle.backbone import load_backbone
from shelfsight.training.fit import Examples, fit
from shelfsight.training.rules import plan_training

PRODUCTS, PHOTOS = 5000, 5


def main() -> None:
    """Make the catalogue, fit both in processes of their own (so that memory is their own), print the table."""
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Path(folder, "catalogue.npz")
        if len(sys.argv) > 1:
            print(*measure(sys.argv[1], Path(sys.argv[2])))
            return
        vectors, labels = synthetic_catalogue()
        np.savez(catalogue, vectors=vectors, labels=labels)
        table = Table(f"{PRODUCTS:,} products x {PHOTOS} photos", "seconds", "peak memory", "head's download")
        for name, label in (("ours", "Shelfsight, calibration included"), ("sklearn", "scikit-learn LDA, fit alone")):
            command = [sys.executable, "-m", "bench.many_products", name, str(catalogue)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, peak, size = (float(value) for value in done.stdout.split())
            table.add_row(label, f"{seconds:.1f}", f"{peak / 1e6:,.0f} MB", f"{size / 1e3:,.0f} KB" if size else "")
        table.add_row("wanted", "10", "2,000 MB", "1,500 KB")
        Console(width=110).print(table)


def synthetic_catalogue() -> tuple[np.ndarray, np.ndarray]:
    """Return (photos, views, size) float16, and the product number of each photo."""
    real, random = grocery_embeddings(grocery(), "train"), np.random.default_rng(0)
    vectors = real.vectors.astype(np.float32)
    means = np.stack([vectors[real.labels == label].mean(axis=(0, 1)) for label in range(len(real.products))])
    base, one, other = random.integers(0, len(means), (3, PRODUCTS))
    centres = means[base] + means[one] - means[other]
    photo = random.integers(0, len(vectors), (PRODUCTS, PHOTOS))
    deviations = vectors[photo] - means[real.labels[photo]][:, :, None]
    made = np.maximum(centres[:, None, None] + deviations, 0).astype(np.float16)
    return made.reshape(-1, *vectors.shape[1:]), np.repeat(np.arange(PRODUCTS), PHOTOS)


def measure(name: str, catalogue: Path) -> tuple[float, int, int]:
    """Return seconds, peak memory of this process and the head's size, both in bytes (0 where there is none)."""
    arrays = np.load(catalogue)
    vectors, labels = arrays["vectors"], arrays["labels"]
    backbone = load_backbone()
    started = time.perf_counter()
    if name == "ours":
        plan = plan_training([PHOTOS] * PRODUCTS, studio=False, wanted=None)
        products = tuple(f"p{number:04}" for number in range(PRODUCTS))
        head = fit(Examples(vectors=vectors, labels=labels, products=products), backbone, plan, seed=0).head
        return time.perf_counter() - started, own_peak_bytes(), head.kernel.codes.nbytes + head.bias.nbytes
    rows = vectors.reshape(-1, vectors.shape[2]).astype(np.float32) @ backbone.projection.values()
    LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(rows, np.repeat(labels, vectors.shape[1]))
    return time.perf_counter() - started, own_peak_bytes(), 0


if __name__ == "__main__":
    main()
