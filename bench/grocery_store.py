"""Train on the Grocery Store data set: time, memory and sizes, and accuracy next to scikit-learn's.

    python -m bench.grocery_store

Cold (empty embedding cache), warm, and with ten photos added, each a `shelfsight train` of 2,936 photos of 81
products. Accuracy: trained on `train.txt`, measured on `val.txt`, beside a logistic regression on the same
embeddings. Takes about three minutes.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from bench.common import Grocery, grocery, run_shelfsight
from bench.embeddings import grocery_embeddings
from shelfsight.bundle.backbone import load_backbone
from shelfsight.training.fit import Examples, fit
from shelfsight.training.rules import plan_training

console = Console(width=110)


def main() -> None:
    """Run everything and print two tables."""
    data = grocery()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cache = place / "cache"
        console.print(_speed(data, place, cache))
        console.print(_accuracy(data, place, cache))


def _speed(data: Grocery, place: Path, cache: Path) -> Table:
    everything = data.photos("train", "val")
    table = Table("`shelfsight train`, 2,936 photos, 81 products", "seconds", "peak memory", "wanted")
    rows = [("all but ten photos, cache empty", everything[:-10], "60 s, 1 GB")]
    rows += [("ten photos added", everything, "5 s"), ("nothing new", everything, "5 s")]
    for what, photos, wanted in rows:
        source = place / "photos.csv"
        source.write_text("image,product\n" + "".join(f"{path},{product}\n" for path, product in photos))
        run = run_shelfsight("train", source, "--out", place / "bundle", cache_dir=cache)
        table.add_row(what, f"{run.seconds:.1f}", f"{run.peak_bytes / 1e6:,.0f} MB", wanted)
    bundle = place / "bundle"
    head = min((bundle / "blobs").iterdir(), key=lambda path: path.stat().st_size).read_bytes()
    topology = (bundle / "model.shards.json").read_bytes()
    for what, size, wanted in (
        ("weights.bin", (bundle / "weights.bin").stat().st_size, "5.5 MB"),
        ("model.ort", (bundle / "model.ort").stat().st_size, "3 MB"),
        ("after a retrain: head and JSON, gzip", len(head) + len(gzip.compress(topology)), "120 KB"),
        ("after a retrain: head and JSON, plain", len(head) + len(topology), ""),
    ):
        table.add_row(what, "", f"{size / 1e3:,.0f} KB", wanted)
    return table


def _accuracy(data: Grocery, place: Path, cache: Path) -> Table:
    source, held_out = data.write_csv(place / "train.csv", "train"), data.write_csv(place / "val.csv", "val")
    bundle = place / "accuracy"
    shutil.rmtree(bundle, ignore_errors=True)
    run_shelfsight("train", source, "--out", bundle, cache_dir=cache)
    table = Table("train.txt -> val.txt, 296 photos", "top-1", "top-3", "surest 80 %", "calibration error", "fit")
    for runtime in ("onnx", "int8", "ort"):
        run = run_shelfsight("evaluate", bundle, held_out, "--runtime", runtime, "--json", cache_dir=cache)
        found = json.loads(run.output)
        figures = (found["accuracy"], found["top3"], found["accuracyAt80Coverage"], found["calibrationError"])
        table.add_row(f"Shelfsight, {runtime}", *(f"{100 * figure:.1f} %" for figure in figures), "")
    accuracy, seconds = _logistic_regression(data, cache)
    table.add_row("scikit-learn LogisticRegression", f"{100 * accuracy:.1f} %", "", "", "", f"{seconds:.1f} s")
    accuracy, seconds = _own_fit(data, cache)
    table.add_row("Shelfsight's fit, same embeddings", f"{100 * accuracy:.1f} %", "", "", "", f"{seconds:.1f} s")
    return table


def _logistic_regression(data: Grocery, cache: Path) -> tuple[float, float]:
    train, unseen = (grocery_embeddings(data, part, cache=cache) for part in ("train", "val"))
    rows = train.vectors.reshape(-1, train.vectors.shape[2]).astype(np.float32)
    scale = rows.std()
    started = time.perf_counter()
    labels = np.repeat(train.labels, train.vectors.shape[1])
    model = LogisticRegression(C=0.01, max_iter=300).fit(rows / scale, labels)
    seconds = time.perf_counter() - started
    answers = model.predict(unseen.vectors[:, 0].astype(np.float32) / scale)
    return float((answers == unseen.labels).mean()), seconds


def _own_fit(data: Grocery, cache: Path) -> tuple[float, float]:
    train, unseen = (grocery_embeddings(data, part, cache=cache) for part in ("train", "val"))
    plan = plan_training(np.bincount(train.labels).tolist(), studio=False, wanted=None)
    started = time.perf_counter()
    examples = Examples(vectors=train.vectors, labels=train.labels, products=train.products)
    head = fit(examples, load_backbone(), plan, seed=0).head
    seconds = time.perf_counter() - started
    scores = unseen.vectors[:, 0].astype(np.float32) @ head.kernel.values() + head.bias
    return float((scores.argmax(axis=1) == unseen.labels).mean()), seconds


if __name__ == "__main__":
    main()
