"""What the projection for thousands of products costs: top-1 with and without it, on products it was not made from.

    python -m bench.projection

The shipped projection was made from all 81 products, so it is made anew here from half of them, and a head of the
other half is fitted with and without it; half of the scenes are held out. Ten draws; plain principal axes beside it.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tools.make_backbone import PROJECTED, discriminant_axes

from bench.common import grocery
from bench.embeddings import Embeddings, grocery_embeddings
from shelfsight.training.heads import fit_head, moments
from shelfsight.training.rules import HeadKind, assign_folds, scenes

DRAWS = 10


def main() -> None:
    """Print the accuracy of every kind of projection and its difference from none."""
    data = grocery()
    train, unseen = grocery_embeddings(data, "train"), grocery_embeddings(data, "val")
    folds = scene_folds(train)
    found: dict[str, list[float]] = {}
    for seed in track(range(DRAWS), description="Drawing products"):
        products = np.random.default_rng(seed).permutation(len(train.products))
        ours, others = products[: len(products) // 2], products[len(products) // 2 :]
        for name, axes in projections(train, others).items():
            found.setdefault(name, []).append(accuracy(train, unseen, ours, folds, axes))
    table = Table("Head's input", "size", "top-1", "difference from none", "wanted")
    for name, shares in found.items():
        difference = np.array(shares) - np.array(found["whole embedding"])
        error = difference.std(ddof=1) / np.sqrt(DRAWS)
        size = "1,280" if name == "whole embedding" else str(PROJECTED)
        cell = f"{100 * difference.mean():+.2f} ± {100 * error:.2f} points"
        table.add_row(name, size, f"{100 * np.mean(shares):.1f} %", cell, "-1" if "ours" in name else "")
    Console(width=110).print(table)


def projections(train: Embeddings, others: np.ndarray) -> dict[str, np.ndarray]:
    """Return the kinds of projection that are compared, each (embedding size, size), made from other products."""
    chosen = np.isin(train.labels, others)
    rows = train.vectors[chosen].astype(np.float32)
    flat, classes = rows.reshape(-1, rows.shape[2]), np.repeat(train.labels[chosen], rows.shape[1])
    centred = (flat - flat.mean(axis=0)).astype(np.float64)
    principal = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :PROJECTED]
    return {
        "whole embedding": np.eye(flat.shape[1], dtype=np.float32),
        "discriminant axes (ours)": discriminant_axes(flat, classes, PROJECTED).astype(np.float32),
        "principal axes": principal.astype(np.float32),
    }


def scene_folds(train: Embeddings) -> np.ndarray:
    """Return the fold of every photo; photos of one scene share it."""
    numbers = np.zeros(len(train.labels), int)
    whole = train.vectors[:, 0].astype(np.float32)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    for label in range(len(train.products)):
        members = np.flatnonzero(train.labels == label)
        numbers[members] = scenes(whole[members])
    return np.array(assign_folds(list(zip(train.labels.tolist(), numbers.tolist(), strict=True)), seed=0))


def accuracy(
    train: Embeddings, unseen: Embeddings, products: np.ndarray, folds: np.ndarray, axes: np.ndarray
) -> float:
    """Return top-1 on held-out scenes and `val.txt`, of a head of `products` fitted on three folds of five."""
    renumber = np.full(len(train.products), -1)
    renumber[products] = np.arange(len(products))
    mine = renumber[train.labels] >= 0
    learned, held_out = mine & ((folds < 0) | (folds > 1)), mine & ((folds == 0) | (folds == 1))
    tested = np.isin(unseen.labels, products)
    rows = train.vectors[learned].astype(np.float32) @ axes
    labels = np.repeat(renumber[train.labels[learned]], rows.shape[1])
    known = moments([(rows.reshape(-1, rows.shape[2]), labels)], len(products), rows.shape[2])
    kernel, bias = fit_head(HeadKind.LDA, known, 0.2)
    pictures = np.concatenate([train.vectors[held_out, 0], unseen.vectors[tested, 0]]).astype(np.float32)
    truth = renumber[np.concatenate([train.labels[held_out], unseen.labels[tested]])]
    return float(((pictures @ axes @ kernel + bias).argmax(axis=1) == truth).mean())


if __name__ == "__main__":
    main()
