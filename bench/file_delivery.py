"""Serving files: CPU of the server per request, our delivery on uvicorn beside nginx, on one folder.

Requests are limited and downloads counted, as a server does it.

python -m bench.file_delivery [--rounds 5]

nginx: `apt-get install nginx-light`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.common import Request, Server, cpu_us, nginx_server, python_server

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

URL = "/assets/ml-models/{channel}/v1.0.0/{name}"
_NEVER_REACHED = 10**9  # requests a minute: they are counted, and none is refused


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


def main() -> None:
    """Measure every case on both servers in turn, so that a busy moment of the machine meets them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(Path(options.serve[0]), int(options.serve[1]))
        return
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as work:
        folder = Path(work)
        folder.chmod(0o755)  # nginx's worker is another user
        _publish(folder)
        command = ("-m", "bench.file_delivery", "--serve", str(folder), "PORT")
        with python_server(*command) as ours, _nginx(folder) as nginx:
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

    from shelfsight.access.limits import RequestLimits  # noqa: PLC0415
    from shelfsight.access.rules import NOBODY  # noqa: PLC0415
    from shelfsight.cli.http import HttpProtocol  # noqa: PLC0415
    from shelfsight.database.engine import open_database  # noqa: PLC0415
    from shelfsight.delivery.downloads import Downloads  # noqa: PLC0415
    from shelfsight.delivery.files import FileDelivery  # noqa: PLC0415
    from shelfsight.delivery.published import Published  # noqa: PLC0415
    from shelfsight.storage import open_storage  # noqa: PLC0415

    class Nobody:
        def note(self, *_parts: object) -> None:
            return

    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    app = FileDelivery(
        published=Published(
            database=database,
            storage=open_storage(folder / "assets"),
            authenticate=lambda _token: NOBODY,
            secrets=lambda: (),
        ),
        refusals=Nobody(),
        downloads=Downloads(database),
        rate=RequestLimits(_NEVER_REACHED),
    )
    options: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    uvicorn.run(app, host="127.0.0.1", port=port, http=HttpProtocol, **options)  # as `shelfsight serve` does it


def _nginx(folder: Path) -> AbstractContextManager[Server | None]:
    headers = """
        add_header Cache-Control "public, max-age=31536000, immutable";
        add_header Access-Control-Allow-Origin "*";
        add_header X-Content-Type-Options nosniff;"""
    return nginx_server(folder, f"location /assets/ {{ root {folder}; {headers} }}")


def _cpu_us(server: Server, case: Case) -> float:
    """Return the microseconds of CPU that the server spent on one request."""
    url = URL.format(channel=case.channel, name=case.name)
    return cpu_us(server, Request(url=url, headers=("apikey: secret",), again=case.again), times=case.requests)


if __name__ == "__main__":
    main()
