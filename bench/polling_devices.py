"""Two thousand devices that ask one server for their config every ten seconds, with a rollout that grows in between.

python -m bench.polling_devices [--devices 2000] [--every 10] [--seconds 60]

Each device has an address of its own (127.1.0.1, 127.1.0.2, …; Linux), so the limits are those of every server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from rich.console import Console
from rich.table import Table

from bench.common import Server, cpu_s, python_server
from bench.config_delivery import FUNCTION, publish

ANSWER_WITHIN_S = 30.0


@dataclass(slots=True)
class Device:
    """A device, and what it has seen."""

    address: str
    tag: str = ""
    sequence: int = 0
    went_back: bool = False
    seen_at: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """What all of them saw."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def main() -> None:
    """Run the devices, change the rollout by SQL halfway, and print what they saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two requests of a device")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as work:
        publish(Path(work))
        command = ("-m", "shelfsight", "serve", "--trainings", "0", "--port", "PORT")
        with python_server(*command, environment={"SHELFSIGHT_DATA_DIR": work}) as server:
            asyncio.run(_run(server, Path(work), options))


async def _run(server: Server, folder: Path, options: argparse.Namespace) -> None:
    devices = [Device(f"127.1.{number // 250}.{number % 250 + 1}") for number in range(options.devices)]
    counts = Counts()
    await _ask(devices[0], server)  # it listens before it runs
    started_at, used_s = time.perf_counter(), cpu_s(server.pid)
    ends_at = started_at + options.seconds
    polling = [asyncio.create_task(_poll(device, server, counts, options.every, ends_at)) for device in devices]
    await asyncio.sleep(options.seconds / 2)
    changed_at, sequence = await asyncio.to_thread(_grow, folder)
    await asyncio.gather(*polling)
    share = (cpu_s(server.pid) - used_s) / (time.perf_counter() - started_at)
    _print(devices, counts, share, [device.seen_at.get(sequence, float("inf")) - changed_at for device in devices])


async def _poll(device: Device, server: Server, counts: Counts, every_s: float, ends_at: float) -> None:
    await asyncio.sleep(random.uniform(0, every_s))  # noqa: S311
    while time.perf_counter() < ends_at:
        asked_at = time.perf_counter()
        status, tag, body = await asyncio.wait_for(_ask(device, server), ANSWER_WITHIN_S)
        now = time.perf_counter()
        counts.latencies_s.append(now - asked_at)
        counts.statuses[status] = counts.statuses.get(status, 0) + 1
        if status == 200:
            sequence = json.loads(body)["sequence"]
            device.went_back |= sequence < device.sequence
            device.tag, device.sequence = tag, sequence
            device.seen_at.setdefault(sequence, now)
        await asyncio.sleep(max(0.0, asked_at + every_s - time.perf_counter()))


async def _ask(device: Device, server: Server) -> tuple[int, str, bytes]:
    """Ask on a new connection, as a device does that has slept; return status, tag and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(device.address, 0))
    lines = [f"GET {FUNCTION} HTTP/1.1", "Host: bench", "X-App-Platform: web", "Cache-Control: no-cache"]
    lines += [f"If-None-Match: {device.tag}"] if device.tag else []
    writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(status.split()[1]), headers.get("etag", ""), body


def _grow(folder: Path) -> tuple[float, int]:
    """Give half of the devices the candidate, in SQL; return when that was done, and the sequence it made."""
    with sqlite3.connect(folder / "shelfsight.db", timeout=10) as connection:
        connection.execute("UPDATE model_metadata SET rollout_percentage = 50 WHERE version = 'v1.1.0'")
        connection.commit()
        done_at = time.perf_counter()
        (sequence,) = connection.execute("SELECT sequence FROM channels WHERE id = 'default'").fetchone()
    return done_at, sequence


def _print(devices: list[Device], counts: Counts, share: float, waits_s: list[float]) -> None:
    total = sum(counts.statuses.values())
    centiles = quantiles(counts.latencies_s, n=100)
    others = {status: count for status, count in counts.statuses.items() if status not in {200, 304}}
    table = Table(f"{len(devices)} devices", "")
    table.add_row("requests", str(total))
    table.add_row("of them not modified", f"{counts.statuses.get(304, 0) / total:.1%}")
    table.add_row("of them refused or failed", str(others or 0))
    table.add_row("latency, median / 99 % / most", " / ".join(
        f"{1000 * one:.1f} ms" for one in (centiles[49], centiles[98], max(counts.latencies_s))
    ))  # fmt: skip
    table.add_row("server, share of a core", f"{share:.1%}")
    table.add_row("until the last device had the new sequence", f"{max(waits_s):.1f} s")
    table.add_row("devices that ever saw an older sequence", str(sum(device.went_back for device in devices)))
    Console().print(table)


if __name__ == "__main__":
    main()
