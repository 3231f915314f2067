"""Serving files: CPU of the server per request, our delivery on uvicorn beside nginx, on one folder.

python -m bench.file_delivery [--rounds 5]

nginx: `apt-get install nginx-light`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "/assets/ml-models/{channel}/v1.0.0/{name}"
WARM_UP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked for, how often in a round, and how many times nginx's CPU it may cost at most (None: open)."""

    title: str
    name: str
    requests: int
    wanted: float | None = None
    channel: str = "default"
    again: bool = False  # with the tag of the first answer


# The same small file of a public channel over and over is the best case: its answer is kept for 250 ms
# (`HotAnswers`). Of a private channel every answer is made anew, and nginx asks for no token; files over 8 MiB are
# not held in memory.
CASES = (
    Case(title="5 MB", name="weights.bin", requests=300, wanted=1.2),
    Case(title="12 MB, streamed", name="model.onnx", requests=100),
    Case(title="50 KB", name="model.json", requests=20_000, wanted=2.5),
    Case(title="50 KB, not modified", name="model.json", requests=20_000, wanted=3.2, again=True),
    Case(title="50 KB, private", name="model.json", requests=10_000, channel="secret"),
    Case(title="50 KB, private, not modified", name="model.json", requests=10_000, channel="secret", again=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: the process whose CPU counts, and its port."""

    name: str
    pid: int
    port: int


def main() -> None:
    """Measure every case on both servers in turn, so that a busy moment of the machine meets them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(Path(options.serve[0]), int(options.serve[1]))
        return
    if shutil.which("nginx") is None:
        print("nginx is absent (apt-get install nginx-light): our own figures only")
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as work:
        folder = Path(work)
        folder.chmod(0o755)  # nginx's worker is another user
        _publish(folder)
        with _ours(folder) as ours, _nginx(folder) as nginx:
            servers = [ours, nginx] if nginx else [ours]
            measured: dict[tuple[str, str], list[float]] = {
                (server.name, case.title): [] for server in servers for case in CASES
            }
            for _ in range(options.rounds):
                for case in CASES:
                    for server in servers:
                        measured[server.name, case.title].append(_cpu_us(server, case))
    _print(measured)


def _print(measured: dict[tuple[str, str], list[float]]) -> None:
    table = Table("File", "Shelfsight, CPU µs", "nginx, CPU µs", "ratio", "wanted")
    for case in CASES:
        ours = median(measured["shelfsight", case.title])
        other = measured.get(("nginx", case.title))
        theirs = (f"{median(other):.1f}", f"{ours / median(other):.2f}") if other else ("", "")
        table.add_row(case.title, f"{ours:.1f}", *theirs, f"≤ {case.wanted}" if case.wanted else "")
    Console().print(table)


def _publish(folder: Path) -> None:
    """Write a version of each channel into the storage at folder/assets, and its row into folder/shelfsight.db."""
    from sqlalchemy import insert  # noqa: PLC0415 (the parent needs none of it while it measures)

    from shelfsight.database.engine import open_database  # noqa: PLC0415
    from shelfsight.database.migrate import prepare  # noqa: PLC0415
    from shelfsight.database.tables import channels, model_metadata  # noqa: PLC0415

    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    prepare(database)
    with database.write() as connection:
        connection.execute(insert(channels).values(id="secret", token="secret", visibility="private"))  # noqa: S106
        for channel in ("default", "secret"):
            _write_version(folder / "assets" / "ml-models" / channel / "v1.0.0", channel)
            connection.execute(insert(model_metadata).values(channel_id=channel, version="v1.0.0", file_path="-"))
    database.close()


def _write_version(place: Path, channel: str) -> None:
    from shelfsight.bundle.documents import BackboneEntry, FileEntry, Manifest  # noqa: PLC0415

    place.mkdir(parents=True)
    chance = random.Random(1)  # noqa: S311 (bytes that do not compress)
    document = json.dumps({"weights": [chance.random() for _ in range(2600)]}).encode()[:50_000]
    files = {
        "weights.bin": chance.randbytes(5_000_000),
        "model.onnx": chance.randbytes(12_000_000),
        "model.json": document,
    }
    for name, data in files.items():
        (place / name).write_bytes(data)
    manifest = Manifest(
        version="1.0.0",
        channel_id=channel,
        created_at=datetime.now(UTC),
        code_version="bench",
        backbone=BackboneEntry(name="bench", sha256="0" * 64),
        settings={},
        files=tuple(
            FileEntry(name=name, size=len(data), media_type="application/octet-stream", sha256=_sha256(data))
            for name, data in files.items()
        ),
        blobs=(),
    )
    (place / "manifest.json").write_bytes(manifest.to_json())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _serve(folder: Path, port: int) -> None:
    import uvicorn  # noqa: PLC0415 (the measuring process needs none of it)

    from shelfsight.access.rules import NOBODY  # noqa: PLC0415
    from shelfsight.database.engine import open_database  # noqa: PLC0415
    from shelfsight.delivery.files import FileDelivery  # noqa: PLC0415
    from shelfsight.storage import open_storage  # noqa: PLC0415

    class Nobody:
        def note(self, *_parts: object) -> None:
            return

    app = FileDelivery(
        database=open_database(f"sqlite:///{folder / 'shelfsight.db'}"),
        storage=open_storage(folder / "assets"),
        authenticate=lambda _token: NOBODY,
        refusals=Nobody(),
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")


@contextmanager
def _ours(folder: Path) -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, "-m", "bench.file_delivery", "--serve", str(folder), str(port)]
    process = subprocess.Popen(command)
    try:
        _wait(port)
        yield Server(name="shelfsight", pid=process.pid, port=port)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _nginx(folder: Path) -> Iterator[Server | None]:
    """Yield a running nginx with one worker, None where it is not installed."""
    if shutil.which("nginx") is None:
        yield None
        return
    port = _free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 512; }}
        http {{
          access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; include /etc/nginx/mime.types;
          server {{
            listen 127.0.0.1:{port};
            location /assets/ {{
              root {folder};
              add_header Cache-Control "public, max-age=31536000, immutable";
              add_header Access-Control-Allow-Origin "*";
              add_header X-Content-Type-Options nosniff;
            }}
          }}
        }}""")
    process = subprocess.Popen(["nginx", "-c", str(config), "-e", str(folder / "nginx.log")])  # noqa: S607
    try:
        _wait(port)
        worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        yield Server(name="nginx", pid=int(worker), port=port)
    finally:
        process.terminate()
        process.wait()


def _cpu_us(server: Server, case: Case) -> float:
    """Return the microseconds of CPU that the server spent on one request."""
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tag = _exchange(line, case, "")
        extra = f"If-None-Match: {tag}\r\n" if case.again else ""
        for _ in range(WARM_UP):
            _exchange(line, case, extra)
        before_s = _cpu_s(server.pid)
        for _ in range(case.requests):
            _exchange(line, case, extra)
        return 1e6 * (_cpu_s(server.pid) - before_s) / case.requests


_BUFFER = bytearray(1 << 20)


def _exchange(line: socket.socket, case: Case, extra: str) -> str:
    """Ask for a file, read the whole answer, and return its tag."""
    url = URL.format(channel=case.channel, name=case.name)
    line.sendall(f"GET {url} HTTP/1.1\r\nHost: bench\r\napikey: secret\r\n{extra}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = line.recv(65536)
        if not received:
            sys.exit("the server has closed the connection")
        answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value for key, _, value in (one.partition(": ") for one in lines)}
    wanted = "304" if extra else "200"
    if status.split()[1] != wanted:
        sys.exit(f"{case.name}: {status}, wanted {wanted}")
    left = 0 if extra else int(headers["content-length"]) - len(body)
    while left > 0:
        left -= line.recv_into(_BUFFER)
    return headers["etag"]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
