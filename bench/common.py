"""What the benchmarks share: where the real photos are, how a run is timed, how figures are printed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grocery:
    """The Grocery Store data set: photos with the names of their products, by part."""

    root: Path

    def photos(self, *parts: str) -> list[tuple[Path, str]]:
        """Return (photo, product) of the parts `train` and `val`."""
        with (self.root / "classes.csv").open(newline="") as file:
            names = {row["Class ID (int)"]: row["Class Name (str)"] for row in csv.DictReader(file)}
        lines = [line for part in parts for line in (self.root / f"{part}.txt").read_text().splitlines()]
        return [(self.root / path, names[label]) for path, label, _ in (line.split(", ") for line in lines)]

    def products(self) -> tuple[str, ...]:
        """Return the names of all products, sorted, whichever part shows them."""
        return tuple(sorted(name for _, name in self.studio()))

    def studio(self) -> list[tuple[Path, str]]:
        """Return (studio picture, product), one for each product."""
        with (self.root / "classes.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [(self.root / row["Iconic Image Path (str)"].lstrip("/"), row["Class Name (str)"]) for row in rows]

    def write_csv(self, target: Path, *parts: str) -> Path:
        """Write the photos of the parts as a CSV that `shelfsight train` reads; return its path."""
        with target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "product"])
            writer.writerows(self.photos(*parts))
        return target


def grocery() -> Grocery:
    """Return the data set of `SHELFSIGHT_GROCERY`, or of ../shared/data/grocery; ends the benchmark without it."""
    root = Path(os.environ.get("SHELFSIGHT_GROCERY") or ROOT.parent / "shared" / "data" / "grocery").resolve()
    if not (root / "train.txt").is_file():
        sys.exit(
            "This benchmark needs the Grocery Store data set (github.com/marcusklasson/GroceryStoreDataset): "
            "set SHELFSIGHT_GROCERY to the folder that holds train.txt."
        )
    return Grocery(root=root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished command: seconds of wall clock and the peak memory of its largest process, in bytes."""

    seconds: float
    peak_bytes: int
    output: str


def run_shelfsight(*arguments: object, cache_dir: Path) -> Run:
    """Run the `shelfsight` command in a process of its own and measure it."""
    watcher = (
        "import resource, subprocess, sys; "
        "code = subprocess.call(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", watcher, sys.executable, "-m", "shelfsight", *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SHELFSIGHT_CACHE_DIR": str(cache_dir)},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed: {done.stderr}")
    return Run(seconds=seconds, peak_bytes=int(done.stderr.split()[-1]) * 1024, output=done.stdout)


def own_peak_bytes() -> int:
    """Return the peak memory of this process since it began; `ru_maxrss` would count the one it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
