"""Answering devices that ask for their config: CPU of `shelfsight serve` a request, beside nginx with the same bytes.

python -m bench.config_delivery [--rounds 5]

Requests are those of a browser, limits are on (nobody reaches them), and a rollout is running.
nginx: `apt-get install nginx-light`.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.common import Request, Server, cpu_us, nginx_server, python_server

FUNCTION = "/functions/v1/assessment-model-config"
STATIC = "/config.json"
TIMES = 20_000
NEVER_REACHED = "999999999"  # requests a minute: they are counted, and none is refused
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    "Accept: */*",
    "Accept-Language: nl,en;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Origin: https://till.example",
    "Referer: https://till.example/",
    "X-App-Platform: web",
    "X-Device-Tier: mid",
)
KEY = ("apikey: ck_bench", "Authorization: Bearer ck_bench", "X-Client-Info: supabase-js-web/2.109.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked for, and how many times nginx's CPU it may cost at most (None: open)."""

    title: str
    request: Request
    wanted: float | None = None


def _cases() -> tuple[Case, ...]:
    anonymous = Request(url=FUNCTION, headers=BROWSER)
    by_key = Request(url=FUNCTION, headers=(*BROWSER, *KEY))
    device = Request(url=FUNCTION, headers=(*BROWSER, "X-Device-Id: 5f2b6d9e-90b5-4a54-9d8c-0d1c7e3b1a11"))
    path = Request(url="/v1/channels/default/model-config", headers=BROWSER)
    named = (("anonymous", anonymous, True), ("with the channel's key", by_key, False),
             ("with a device's id", device, False), ("by the channel's path", path, False))  # fmt: skip
    return tuple(
        Case(
            title=f"{title}, {'not modified' if again else 'whole'}",
            request=Request(url=request.url, headers=request.headers, again=again),
            wanted=(3.2 if again else 2.5) if is_wanted else None,
        )
        for title, request, is_wanted in named
        for again in (False, True)
    )


def main() -> None:
    """Measure every case on both servers in turn, so that a busy moment of the machine meets them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = _cases()
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as work:
        folder = Path(work)
        folder.chmod(0o755)  # nginx's worker is another user
        publish(folder)
        environment = {"SHELFSIGHT_DATA_DIR": work, "SHELFSIGHT_REQUESTS_PER_MINUTE": NEVER_REACHED}
        command = ("-m", "shelfsight", "serve", "--trainings", "0", "--port", "PORT")
        with python_server(*command, environment=environment) as ours:
            locations = _same_answer(folder, ours)
            with nginx_server(folder, locations) as nginx:
                servers = [ours, nginx] if nginx else [ours]
                measured: dict[tuple[str, str], list[float]] = {
                    (server.name, case.title): [] for server in servers for case in cases
                }
                for _ in range(options.rounds):
                    for case in cases:
                        for server in servers:
                            measured[server.name, case.title].append(_measure(server, case))
    _print(cases, measured)


def _measure(server: Server, case: Case) -> float:
    request = case.request
    url = STATIC if server.name == "nginx" else request.url
    return cpu_us(server, Request(url=url, headers=request.headers, again=request.again), times=TIMES)


def _print(cases: tuple[Case, ...], measured: dict[tuple[str, str], list[float]]) -> None:
    table = Table("Config", "Shelfsight, CPU µs", "nginx, CPU µs", "ratio", "wanted")
    for case in cases:
        ours = median(measured["shelfsight", case.title])
        other = measured.get(("nginx", case.title))
        theirs = (f"{median(other):.1f}", f"{ours / median(other):.2f}") if other else ("", "")
        table.add_row(case.title, f"{ours:.1f}", *theirs, f"≤ {case.wanted}" if case.wanted else "")
    Console().print(table)


def _same_answer(folder: Path, ours: Server) -> str:
    """Write our answer to a file, and return how nginx serves it with the same headers."""
    connection = http.client.HTTPConnection("127.0.0.1", ours.port)
    connection.request("GET", FUNCTION)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    place = folder / "static"
    place.mkdir()
    (place / STATIC[1:]).write_bytes(body)
    print(f"A config of {len(body)} bytes")
    own = {"content-type", "content-length", "etag", "date"}
    headers = "".join(
        f'add_header {name} "{value}";' for name, value in answer.getheaders() if name.lower() not in own
    )
    return f"location = {STATIC} {{ root {place}; default_type application/json; {headers} }}"


def publish(folder: Path) -> None:
    """Write two versions of the channel `default` into a data folder, a stable one and a candidate for 10 %."""
    from sqlalchemy import insert, update  # noqa: PLC0415 (the parent needs none of it while it measures)

    from shelfsight.database.engine import open_database  # noqa: PLC0415
    from shelfsight.database.migrate import prepare  # noqa: PLC0415
    from shelfsight.database.tables import channels, model_metadata  # noqa: PLC0415

    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    prepare(database)
    with database.write() as tx:
        tx.execute(update(channels).values(token="ck_bench"))  # noqa: S106
        for version, columns in (
            ("1.0.0", {"status": "active", "is_stable": True, "rollout_percentage": 100}),
            ("1.1.0", {"rollout_percentage": 10}),
        ):
            _write_version(folder / "assets" / "ml-models" / "default" / f"v{version}", version)
            row = {"channel_id": "default", "version": f"v{version}", "file_path": "-", **columns}
            tx.execute(insert(model_metadata).values(row))
    database.close()


def _write_version(place: Path, version: str) -> None:
    from shelfsight.bundle.documents import BackboneEntry, FileEntry, Manifest  # noqa: PLC0415

    place.mkdir(parents=True)
    files = {"model.json": b"{}", "model.shards.json": b"{}", "weights.bin": b"weights"}
    for name, data in files.items():
        (place / name).write_bytes(data)
    manifest = Manifest(
        version=version,
        channel_id="default",
        created_at=datetime.now(UTC),
        code_version="bench",
        backbone=BackboneEntry(name="bench", sha256=hashlib.sha256(b"").hexdigest()),
        settings={},
        files=tuple(FileEntry.of(name, data) for name, data in files.items()),
    )
    (place / "manifest.json").write_bytes(manifest.to_json())


if __name__ == "__main__":
    main()
