"""What INT8 costs in accuracy: every photo of the Grocery Store data recognised by a head that never saw its scene.

    python -m bench.int8

Five trainings, each without a fifth of the scenes, which are then recognised by the fp32 and the INT8 model of the
bundle; photo by photo, the two are compared. Takes about two minutes with a warm embedding cache.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.common import grocery
from bench.embeddings import Embeddings, grocery_embeddings
from bench.same_answer import difference
from shelfsight.bundle.recogniser import Runtime, recognise_files
from shelfsight.bundle.verify import load_bundle
from shelfsight.settings import cache_dir
from shelfsight.training.holdout import scene_folds
from shelfsight.training.train import train

COMPARED = (Runtime.ONNX, Runtime.INT8)


def main() -> None:
    """Print how often each model is right, and the paired difference with its 95 % interval."""
    photos = grocery_embeddings(grocery(), "train", "val")
    folds = scene_folds(photos.vectors[:, 0].astype(np.float32), photos.labels, seed=0)
    answers = {runtime: np.full(len(folds), "", dtype=object) for runtime in COMPARED}
    for fold in track(range(5), description="Trainings"):
        for runtime, found in recognise_fold(photos, folds, fold).items():
            answers[runtime][folds == fold] = found
    held_out = folds >= 0
    truth = np.array(photos.products, dtype=object)[photos.labels][held_out]
    fp32, int8 = (answers[runtime][held_out] for runtime in COMPARED)
    gap = difference(int8 == truth, fp32 == truth)
    table = Table(f"{held_out.sum():,} photos, scenes held out", "right", "points against fp32 (95 %)", "same answer")
    table.add_row("fp32", f"{100 * np.mean(fp32 == truth):.1f} %", "", "")
    points = f"{100 * gap.share:+.2f} ({100 * gap.low:+.2f} to {100 * gap.high:+.2f})"
    table.add_row("INT8", f"{100 * np.mean(int8 == truth):.1f} %", points, f"{100 * np.mean(int8 == fp32):.1f} %")
    table.add_row("wanted", "", "-0.5 or better", "")
    Console(width=110).print(table)


def recognise_fold(photos: Embeddings, folds: np.ndarray, fold: int) -> dict[Runtime, list[str]]:
    """Return what each model answers to the photos of a fold, trained on all others."""
    with tempfile.TemporaryDirectory() as folder:
        source, bundle = Path(folder, "photos.csv"), Path(folder, "bundle")
        with source.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "product"])
            for index in np.flatnonzero(folds != fold):
                writer.writerow([photos.paths[index].resolve(), photos.products[photos.labels[index]]])
        train(source, bundle, cache_dir=cache_dir())
        unseen = [photos.paths[index] for index in np.flatnonzero(folds == fold)]
        found: dict[Runtime, list[str]] = {}
        for runtime in COMPARED:
            recogniser = load_bundle(bundle, runtime)
            found[runtime] = [
                recogniser.labels[int(probabilities.argmax())]
                for _, probabilities, _ in recognise_files(recogniser, unseen)
                if probabilities is not None
            ]
        return found


if __name__ == "__main__":
    main()
