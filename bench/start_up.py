"""Start-up: `shelfsight --help` beside `python -c pass` and `pip --version`, medians of fifteen runs each.

python -m bench.start_up
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from rich.console import Console
from rich.table import Table

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "pip --version": [sys.executable, "-m", "pip", "--version"],
    "shelfsight --help": [sys.executable, "-m", "shelfsight", "--help"],
    "shelfsight train --help": [sys.executable, "-m", "shelfsight", "train", "--help"],
}


def main() -> None:
    """Time the commands in turn, so that a busy moment of the machine meets them all, and print a table."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    table = Table("Command", "median", "fastest", "wanted")
    for name, times in seconds.items():
        wanted = "300 ms" if name == "shelfsight --help" else ""
        table.add_row(name, f"{1000 * median(times):.0f} ms", f"{1000 * min(times):.0f} ms", wanted)
    Console().print(table)


if __name__ == "__main__":
    main()
