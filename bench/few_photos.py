"""Which head for how many photos a product: top-1 of every head, by photos and views (docs/decisions/0004).

    python -m bench.few_photos

Five draws of n training photos for each of the 81 products, measured on all photos that were not drawn, and on
`val.txt`; and one studio picture each, measured on all photos. The baseline is the nearest mean. The head that `auto`
takes is marked. Takes about four minutes with an empty embedding cache.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.common import grocery
from bench.embeddings import Embeddings, grocery_embeddings, studio_embeddings
from shelfsight.training.heads import fit_head, moments
from shelfsight.training.rules import HeadKind, plan_training

DRAWS = 5


def main() -> None:
    """Print one row per number of photos, one column per head."""
    data = grocery()
    train, unseen = grocery_embeddings(data, "train", crops=10), grocery_embeddings(data, "val", crops=10)
    table = Table("Photos a product", "views", *(f"{kind.value}, top-1" for kind in HeadKind), "auto takes")
    for photos in (1, 2, 3, 5, 10, 16):
        auto = plan_training([photos] * len(train.products), studio=False, wanted=None)
        views = min(auto.crops + 2, train.vectors.shape[1])
        shares = {kind: accuracy(train, unseen, kind, photos, views) for kind in HeadKind}
        cells = (f"{100 * share:.1f} %" for share in shares.values())
        table.add_row(str(photos), str(views), *cells, auto.head.value)
    studio = studio_embeddings(data)
    everything = [(part.vectors[:, 0].astype(np.float32), part.labels) for part in (train, unseen)]
    rows, labels = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    cells = (f"{100 * share(studio, kind, rows, labels):.1f} %" for kind in HeadKind)
    auto = plan_training([1] * len(train.products), studio=True, wanted=None)
    table.add_row("1, studio", str(studio.vectors.shape[1]), *cells, auto.head.value)
    Console(width=110).print(table)


def accuracy(train: Embeddings, unseen: Embeddings, kind: HeadKind, photos: int, views: int) -> float:
    """Return the mean accuracy, over the draws, on photos that were not drawn and on `val.txt`, weighed alike."""
    found = []
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        drawn = np.concatenate(
            [
                random.permutation(np.flatnonzero(train.labels == label))[:photos]
                for label in range(len(train.products))
            ]
        )
        rest = np.setdiff1d(np.arange(len(train.labels)), drawn)
        part = replace(train, vectors=train.vectors[drawn, :views], labels=train.labels[drawn])
        found.append(share(part, kind, train.vectors[rest, 0].astype(np.float32), train.labels[rest]))
        found.append(share(part, kind, unseen.vectors[:, 0].astype(np.float32), unseen.labels))
    return float(np.mean(found))


def share(part: Embeddings, kind: HeadKind, rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of `rows` that a head fitted on `part` names right."""
    photos = np.bincount(part.labels).tolist()
    shrinkage = plan_training(photos, studio=False, wanted=kind).shrinkage
    views = part.vectors.reshape(-1, part.vectors.shape[2]).astype(np.float32)
    known = moments([(views, np.repeat(part.labels, part.vectors.shape[1]))], len(part.products), views.shape[1])
    kernel, bias = fit_head(kind, known, shrinkage)
    return float(((rows @ kernel + bias).argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    main()
