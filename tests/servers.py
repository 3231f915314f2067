"""Real servers for tests, each a child of the test run, on free ports and with its data in a temporary folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONGOD = Path(sysconfig.get_paths()["purelib"]) / "fiftyone" / "db" / "bin" / "mongod"
_READY_WITHIN_S = 60
_GRPC_AWAY = 10_000  # SeaweedFS puts the gRPC port of every server so far above its HTTP port


@dataclass(frozen=True)
class S3Server:
    """An S3 server with the bucket `shelf`; `options` may write, `reader_options` may only read."""

    url: str
    options: dict[str, str] = field(repr=False)
    reader_options: dict[str, str] = field(repr=False)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Yield a running SeaweedFS; it is killed and its data removed when the block ends."""
    data = Path(tempfile.mkdtemp(prefix="shelfsight-s3-"))
    ports = _free_ports(4)
    log = data / "log"
    (data / "identities.json").write_text(json.dumps({"identities": [_identity("writer"), _identity("reader")]}))
    with log.open("wb") as out:
        process = subprocess.Popen(_command(data, ports), stdout=out, stderr=subprocess.STDOUT, cwd=data)
    try:
        server = S3Server("s3://shelf", _options("writer", ports[0]), _options("reader", ports[0]))
        _wait_until_ready(server, process, log)
        yield server
    finally:
        process.kill()  # it takes ten seconds to end by itself, and its data goes anyway
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


@dataclass(frozen=True)
class MongoServer:
    """A MongoDB server; `uri` names a user who may do everything."""

    uri: str = field(repr=False)
    host: str


def mongodb_lacks() -> str | None:
    """Return what to install before `mongodb_server` can run, None where everything is there."""
    if not _MONGOD.is_file():
        return "needs mongod: run `pip install -r requirements/dev.txt`, which has it for Linux"
    return None if find_library("curl") else "needs the library of mongod: install the Debian package libcurl4"


@contextmanager
def mongodb_server() -> Iterator[MongoServer]:
    """Yield a running mongod that wants a password; it is killed and its data removed when the block ends."""
    from pymongo import MongoClient

    data = Path(tempfile.mkdtemp(prefix="shelfsight-mongodb-"))
    (port,) = _free_ports(1)
    command = [str(_MONGOD), f"--dbpath={data}", f"--port={port}", "--bind_ip=127.0.0.1", "--auth", "--nounixsocket"]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        host = f"127.0.0.1:{port}"
        # Whoever comes from this machine before there is a user may make the first one.
        within_ms = _READY_WITHIN_S * 1000
        with MongoClient[dict[str, object]](f"mongodb://{host}", serverSelectionTimeoutMS=within_ms) as client:
            client.admin.command("createUser", "owner", pwd="owner-secret", roles=["root"])
        yield MongoServer(uri=f"mongodb://owner:owner-secret@{host}/?authSource=admin", host=host)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


def _command(data: Path, ports: list[int]) -> list[str]:
    s3, master, volume, filer = ports
    return [
        str(Path(sys.executable).parent / "weed"),
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        "-volume.max=50",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.localSocket={data}/filer.sock",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={data}/identities.json",
        f"-s3.localSocket={data}/s3.sock",
    ]


def _identity(name: str) -> dict[str, object]:
    actions = ["Read", "List"] + (["Admin", "Write"] if name == "writer" else [])
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": actions}


def _options(name: str, port: int) -> dict[str, str]:
    return {
        "aws_endpoint": f"http://127.0.0.1:{port}",
        "aws_access_key_id": name,
        "aws_secret_access_key": f"{name}-secret",
        "aws_region": "us-east-1",
    }


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a file was written, which also makes the bucket; that is later than when the port opens."""
    store = S3Store.from_url(
        server.url,
        config=server.options,  # type: ignore[arg-type]
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    give_up_at = time.monotonic() + _READY_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            obstore.put(store, "ready", b"1")
        except (obstore.exceptions.BaseError, OSError):
            time.sleep(0.05)
        else:
            return
    process.kill()
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, and whose gRPC ports are."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            grpc = port - _GRPC_AWAY if port + _GRPC_AWAY > 65535 else port + _GRPC_AWAY
            try:
                other.bind(("127.0.0.1", grpc))
            except OSError:
                continue
            found.append(min(port, grpc))
    return found
