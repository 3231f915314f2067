"""What the projection for thousands of products costs: top-1 with and without it, beside plain principal axes.

    python -m bench.projection [mobilenet_v2-b0353104.pth]

The shipped projection on `val.txt`, which it was not made from. Given torchvision's weights (tools/make_backbone.py
says where they are; needs torch), projections are also made anew, so that scenes can be held out: from the same
products, and from other products, which is what the products of a shop are to the shipped one.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tools.make_backbone import PROJECTED, discriminant_axes, read_weights

from bench.common import grocery
from bench.embeddings import Embeddings, grocery_embeddings
from shelfsight.bundle.backbone import load_backbone
from shelfsight.training.heads import fit_head, moments
from shelfsight.training.holdout import scene_folds
from shelfsight.training.rules import HeadKind

DRAWS = 6
Differences = dict[str, list[float]]


def main() -> None:
    """Print the differences in points, with their standard errors over folds or draws."""
    data = grocery()
    train, unseen = grocery_embeddings(data, "train"), grocery_embeddings(data, "val")
    shown = Table(f"A head on {PROJECTED} numbers instead of 1,280", "difference in top-1", title="Projection")
    for name, cell in shipped_projection(train, unseen).items():
        shown.add_row(name, cell)
    if len(sys.argv) > 1:
        classifier = read_weights(Path(sys.argv[1]))["classifier.1.weight"]
        for name, found in projections_made_anew(train, unseen, classifier).items():
            values = 100 * np.array(found)
            error = values.std(ddof=1) / np.sqrt(len(values))
            shown.add_row(name, f"{values.mean():+.2f} ± {error:.2f} points")
    Console(width=110).print(shown)


def shipped_projection(train: Embeddings, unseen: Embeddings) -> dict[str, str]:
    """Return what the shipped projection and principal axes cost on the photos of `val.txt`."""
    everything, learned = np.arange(len(train.products)), np.ones(len(train.labels), bool)
    whole = right(train, unseen, everything, learned, None)
    compared = {"shipped": load_backbone().projection.values(), "principal axes": principal_axes(train, learned)}
    cells = {}
    for name, axes in compared.items():
        difference = 100 * (right(train, unseen, everything, learned, axes) - whole.astype(float))
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        cells[f"{name}, val.txt"] = f"{difference.mean():+.2f} ± {error:.2f} points"
    return cells


def projections_made_anew(train: Embeddings, unseen: Embeddings, classifier: np.ndarray) -> Differences:
    """Return what projections cost that never saw the photos they are measured on, per fold or draw."""
    found: Differences = defaultdict(list)
    folds, everything = (
        scene_folds(train.vectors[:, 0].astype(np.float32), train.labels, seed=0),
        np.arange(len(train.products)),
    )
    for held_out in track(range(5), description="The same products"):
        learned = folds != held_out
        compare(found, "the same products", (train, unseen), (everything, learned, learned), classifier)
    for seed in track(range(DRAWS), description="Other products"):
        products = np.random.default_rng(seed).permutation(len(train.products))
        ours, others = products[: len(products) // 2], products[len(products) // 2 :]
        learned = (folds < 0) | (folds > 1)
        seen = np.isin(train.labels, others)
        compare(found, "products not seen", (train, unseen), (ours, learned, seen), classifier)
    return found


def compare(
    found: Differences,
    title: str,
    parts: tuple[Embeddings, Embeddings],
    choice: tuple[np.ndarray, np.ndarray, np.ndarray],
    classifier: np.ndarray,
) -> None:
    """Add the differences that projections made from the photos `seen` make to a head of `products`."""
    (train, unseen), (products, learned, seen) = parts, choice
    views = train.vectors.shape[1]
    rows, labels = train.vectors[seen].reshape(-1, train.vectors.shape[2]), np.repeat(train.labels[seen], views)
    made = discriminant_axes(rows, labels, classifier, PROJECTED).astype(np.float32)
    whole = right(train, unseen, products, learned, None).mean()
    for name, axes in (("made as shipped", made), ("principal axes", principal_axes(train, seen))):
        share = right(train, unseen, products, learned, axes).mean()
        found[f"{name}, {title}"].append(float(share - whole))


def principal_axes(train: Embeddings, chosen: np.ndarray) -> np.ndarray:
    """Return the directions in which the chosen photos' embeddings vary most, (embedding size, projected size)."""
    rows = train.vectors[chosen].reshape(-1, train.vectors.shape[2]).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    return np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :PROJECTED].astype(np.float32)


def right(
    train: Embeddings, unseen: Embeddings, products: np.ndarray, learned: np.ndarray, axes: np.ndarray | None
) -> np.ndarray:
    """Return which pictures a head of `products` fitted on the `learned` photos names right, (n,) bool.

    The pictures are the photos that are not `learned` and those of `val.txt`.
    """
    number = np.full(len(train.products), -1)
    number[products] = np.arange(len(products))
    mine, tested = number[train.labels] >= 0, number[unseen.labels] >= 0
    rows = train.vectors[mine & learned].astype(np.float32)
    pictures = np.concatenate([train.vectors[mine & ~learned, 0], unseen.vectors[tested, 0]]).astype(np.float32)
    if axes is not None:
        rows, pictures = rows @ axes, pictures @ axes
    labels = np.repeat(number[train.labels[mine & learned]], rows.shape[1])
    known = moments([(rows.reshape(-1, rows.shape[2]), labels)], len(products), rows.shape[2])
    kernel, bias = fit_head(HeadKind.LDA, known, 0.2)
    truth = number[np.concatenate([train.labels[mine & ~learned], unseen.labels[tested]])]
    return np.asarray((pictures @ kernel + bias).argmax(axis=1) == truth)


if __name__ == "__main__":
    main()
