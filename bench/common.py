"""What the benchmarks share: where the real photos are, how a run is timed, what a server spends on a request."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: the process whose CPU counts, and its port."""

    name: str
    pid: int
    port: int


@contextmanager
def python_server(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Yield a server of ours: `python` with arguments, of which `PORT` stands for the port that it listens on."""
    port = free_port()
    command = [sys.executable, *(str(port) if argument == "PORT" else argument for argument in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    try:
        wait_for(port)
        yield Server(name="shelfsight", pid=process.pid, port=port)
    finally:
        process.terminate()
        process.wait()


def _only_child(pid: int) -> int:
    """Return the child of a process; a port listens before the child that answers there is born."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(100):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    sys.exit(f"process {pid} has no child")


@contextmanager
def nginx_server(folder: Path, locations: str) -> Iterator[Server | None]:
    """Yield a running nginx with one worker, None where it is not installed.

    Args:
        folder: for its configuration and log.
        locations: what it serves, as its configuration says it.
    """
    if shutil.which("nginx") is None:
        print("nginx is absent (apt-get install nginx-light): our own figures only")
        yield None
        return
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 512; }}
        http {{
          access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; include /etc/nginx/mime.types;
          server {{ listen 127.0.0.1:{port}; {locations} }}
        }}""")
    process = subprocess.Popen(["nginx", "-c", str(config), "-e", str(folder / "nginx.log")])  # noqa: S607
    try:
        wait_for(port)
        yield Server(name="nginx", pid=_only_child(process.pid), port=port)
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a server again and again: GET of `url`, with the lines of some headers."""

    url: str
    headers: tuple[str, ...] = ()
    again: bool = False  # with the tag of the first answer


def cpu_us(server: Server, request: Request, *, times: int, warm_up: int = 50) -> float:
    """Return the microseconds of CPU that a server spends on one request, of many on one connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tag = _exchange(line, _lines(request), "200")
        sent = _lines(request, f"If-None-Match: {tag}") if request.again else _lines(request)
        wanted = "304" if request.again else "200"
        for _ in range(warm_up):
            _exchange(line, sent, wanted)
        before_s = cpu_s(server.pid)
        for _ in range(times):
            _exchange(line, sent, wanted)
        return 1e6 * (cpu_s(server.pid) - before_s) / times


def _lines(request: Request, *more: str) -> bytes:
    lines = [f"GET {request.url} HTTP/1.1", "Host: bench", *request.headers, *more, "", ""]
    return "\r\n".join(lines).encode()


_BUFFER = bytearray(1 << 20)


def _exchange(line: socket.socket, request: bytes, wanted: str) -> str:
    """Send a request, read the whole answer, and return its tag."""
    line.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = line.recv(65536)
        if not received:
            sys.exit("the server has closed the connection")
        answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value for key, _, value in (one.partition(": ") for one in lines)}
    if status.split()[1] != wanted:
        sys.exit(f"{request.splitlines()[0].decode()}: {status}, wanted {wanted}")
    left = int(headers["content-length"]) - len(body) if wanted == "200" else 0
    while left > 0:
        left -= line.recv_into(_BUFFER)
    return headers["etag"]


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when somebody listens on a port; ends the benchmark if nobody ever does."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"nothing listens on port {port}")
