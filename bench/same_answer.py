"""The same picture, the same answer? One recogniser on every runtime, on photos that it was not trained on.

    python -m bench.same_answer

Trains on the photos of the Grocery Store data set's `train.txt` and recognises those of `val.txt`; every runtime gets
the same pixels, and is compared with fp32 ONNX, photo by photo: points of accuracy gained with their 95 % interval,
the share of answers that are the same, the largest difference of a probability (Δp). Times are medians, of one
picture at a time, from pixels to probabilities; megabytes are what is downloaded of the bundle. Takes about three
minutes, of which Teachable Machine, on photos drawn at random, gets the two of `--seconds`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from tests.e2e.browser import Client, launch_chromium, load_client, missing, picture_sha256, serve_bundle

from bench.common import Grocery, grocery
from shelfsight.bundle.recogniser import Runtime
from shelfsight.bundle.verify import load_bundle
from shelfsight.catalog.picture import centre_square, open_picture
from shelfsight.cli.output import percent, progress_bars
from shelfsight.settings import cache_dir
from shelfsight.training.rules import wilson_interval
from shelfsight.training.train import TrainingOptions, train

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tests.e2e.browser import LoadedClient, Site

    Picture = NDArray[np.uint8]

SIZE = 224
Z_95 = 1.959964
DOWNLOADS = ("model.json", "weights.bin", "metadata.json")
"""What both clients in the browser fetch of a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What one runtime answered.

    Attributes:
        numbers: (n,) which of the photos were recognised.
        probabilities: (n, labels) float32.
        durations_ms: one per photo, the first of which warmed the runtime up.
        size_bytes: of the bundle's files that the runtime downloads.
    """

    name: str
    numbers: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    durations_ms: Sequence[float]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how much one runtime is right more often than another on the same photos, as a share, with its interval."""

    share: float
    low: float
    high: float


def main() -> None:
    """Print one row per runtime."""
    parser = argparse.ArgumentParser(description="Compare a recogniser's answers on every runtime.")
    parser.add_argument("--seconds", type=float, default=120, help="time for Teachable Machine (default 120)")
    limit_s: float = parser.parse_args().seconds
    try:
        data = grocery()
    except SystemExit as exc:  # nothing to measure is no failure
        print(exc)
        return
    photos = data.photos("val")
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        bundle = trained_bundle(data, scratch)
        labels = load_bundle(bundle).labels
        pictures = [np.asarray(centre_square(open_picture(path.read_bytes()), SIZE)) for path, _product in photos]
        results = [run_python(bundle, runtime, pictures) for runtime in Runtime]
        results += run_clients(bundle, pictures, scratch, limit_s)
    truth = np.array([labels.index(product) for _path, product in photos])
    Console(width=150).print(table(results, truth))


def trained_bundle(data: Grocery, scratch: Path) -> Path:
    """Return a bundle that was trained on the photos of `train.txt`; what was embedded before is not again."""
    source, out = data.write_csv(scratch / "train.csv", "train"), scratch / "bundle"
    with progress_bars() as bars:
        train(source, out, cache_dir=cache_dir(), options=TrainingOptions(channel="grocery"), progress=bars)
    return out


def run_python(bundle: Path, runtime: Runtime, pictures: Sequence[Picture]) -> Result:
    """Return what onnxruntime in Python answers."""
    recogniser = load_bundle(bundle, runtime)
    rows, durations_ms = [], []
    for picture in pictures:
        started = time.perf_counter()
        rows.append(recogniser.probabilities(picture[None]))
        durations_ms.append((time.perf_counter() - started) * 1000)
    return Result(
        name=f"onnxruntime, {runtime.file}",
        numbers=np.arange(len(pictures)),
        probabilities=np.concatenate(rows),
        durations_ms=durations_ms,
        size_bytes=(bundle / runtime.file).stat().st_size,
    )


def run_clients(
    bundle: Path, pictures: Sequence[Picture], scratch: Path, teachable_machine_s: float
) -> Iterator[Result]:
    """Yield what the clients in the browser answer; none if there is no browser."""
    reason = missing()
    if reason:
        print(f"TensorFlow.js and Teachable Machine are left out: {reason}", file=sys.stderr)
        return
    limits_s = {Client.TENSORFLOW_JS: math.inf, Client.TEACHABLE_MACHINE: teachable_machine_s}
    with ExitStack() as stack:
        (folder := scratch / "pictures").mkdir()
        site = stack.enter_context(serve_bundle(bundle, pictures, folder))
        browser = stack.enter_context(launch_chromium())
        size_bytes = sum((bundle / name).stat().st_size for name in DOWNLOADS)
        for client, limit_s in limits_s.items():
            with load_client(browser, site, client) as loaded:
                result = run_client(loaded, site, pictures, limit_s=limit_s, size_bytes=size_bytes)
            yield result


def run_client(
    client: LoadedClient, site: Site, pictures: Sequence[Picture], *, limit_s: float, size_bytes: int
) -> Result:
    """Return what a client in the browser answers to as many pictures, drawn at random, as it finishes in time."""
    numbers: list[int] = []
    rows, durations_ms = [], []
    started = time.monotonic()
    for number in np.random.default_rng(0).permutation(len(pictures)):
        if numbers and time.monotonic() - started > limit_s:
            break
        answer = client.recognise(site.pictures[number])
        if answer.pixels_sha256 != picture_sha256(pictures[number]):
            raise SystemExit(f"{client.name} saw other pixels than the ones it was sent")
        numbers.append(number)
        rows.append(answer.probabilities)
        durations_ms.append(answer.duration_ms)
    return Result(
        name=client.name,
        numbers=np.array(numbers),
        probabilities=np.stack(rows),
        durations_ms=durations_ms,
        size_bytes=size_bytes,
    )


def table(results: Sequence[Result], truth: NDArray[np.int64]) -> Table:
    """Return the results, each compared with the first."""
    first = results[0]
    products = first.probabilities.shape[1]
    shown = Table(title=f"{len(truth)} new photos of {products} products, every runtime compared with fp32 ONNX")
    shown.add_column("Runtime")
    for heading in (
        "Photos",
        "Right (95 %)",
        "Points gained (95 %)",
        "Same answer",
        "Largest Δp",
        "ms",
        "MB",
    ):
        shown.add_column(heading, justify="right")
    for result in results:
        shown.add_row(*cells(result, first, truth[result.numbers]))
    return shown


def cells(result: Result, first: Result, truth: NDArray[np.int64]) -> list[str]:
    """Return a result's row, compared with `first`, which answered to every photo."""
    reference = first.probabilities[result.numbers]
    answers, expected = result.probabilities.argmax(axis=1), reference.argmax(axis=1)
    right = answers == truth
    low, high = wilson_interval(int(right.sum()), len(truth))
    paired = difference(right, expected == truth)
    other = result is not first
    return [
        result.name,
        str(len(truth)),
        f"{percent(float(right.mean()))} ({100 * low:.1f} to {100 * high:.1f})",
        f"{100 * paired.share:+.2f} ({100 * paired.low:+.2f} to {100 * paired.high:+.2f})" if other else "",
        f"{percent(float((answers == expected).mean()))} ({(answers != expected).sum()} differ)" if other else "",
        f"{np.abs(result.probabilities - reference).max():.1e}" if other else "",
        f"{median(result.durations_ms[1:] or result.durations_ms):.1f}",
        f"{result.size_bytes / 1e6:.2f}",
    ]


def difference(right: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Difference:
    """Return how much more often `right` is true than `reference`, paired photo by photo.

    The interval is Bonett and Price's (2012), which holds up where hardly any photo tells the two apart.
    """
    count = len(right) + 2
    gained, lost = ((right & ~reference).sum() + 1) / count, ((reference & ~right).sum() + 1) / count
    middle = float(gained - lost)
    width = Z_95 * math.sqrt((gained + lost - middle**2) / count)
    return Difference(share=float(right.mean() - reference.mean()), low=middle - width, high=middle + width)


if __name__ == "__main__":
    main()
