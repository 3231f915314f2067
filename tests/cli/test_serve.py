"""The server by command: from the first start to a model on a device, and whatever ends it."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from httpx2 import Client, ConnectError

from shelfsight.cli.serve import _prepare, _run
from shelfsight.errors import UnavailableError
from tests.cli.command import COMMAND, done, run, started
from tests.cli.conftest import audited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

NAME, PASSWORD = "bea", "correct horse battery"
WAIT_S = 60
FILES = "/assets/ml-models"


@dataclass(frozen=True)
class Server:
    """A running server, and what it said when it started."""

    process: subprocess.Popen[str]
    facts: dict[str, str]

    @contextmanager
    def client(self, **headers: str) -> Iterator[Client]:
        with Client(base_url=self.facts["Address"], headers=headers, timeout=WAIT_S) as client:
            yield client

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        with self.client() as client:
            answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Send the signal and return the exit code and the log."""
        self.process.send_signal(how)
        _, log = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Yield a server on a free port."""
    with started("serve", "--port", "0", *options) as process:
        assert process.stdout is not None
        facts: dict[str, str] = {}
        for line in process.stdout:
            name, _, value = line.rstrip("\n").partition("\t")
            facts[name] = value
            if name == "Storage":
                break
        assert "Storage" in facts, process.communicate()[1]
        yield Server(process, facts)


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that a server does by itself, soon."""
    ends_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def _link(server: Server) -> str:
    assert server.process.stdout is not None
    said, _, link = server.process.stdout.readline().strip().rpartition(" ")
    assert said == "Open this link to choose a password:"
    return link


def _publish(client: Client, bundle: Path) -> Any:
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
    parts = [("files", (path.relative_to(bundle).as_posix(), path.read_bytes())) for path in files]
    answer = client.post("/api/v1/channels/T_1/versions", files=parts)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_from_the_first_start_to_a_model_on_a_device(data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    with serving("--access-log", "--trust-proxy", "127.0.0.0/8") as server:
        assert server.facts["Database"] == f"sqlite:///{data}/shelfsight.db"
        assert server.facts["Storage"] == f"{data}/assets"
        link = _link(server)
        assert link.startswith(f"{server.facts['Address']}/setup?token=ss_")
        with server.client(**{"x-forwarded-for": "192.0.2.7", "origin": server.facts["Address"]}) as client:
            assert client.get(link).status_code == 200
            form = {"token": link.partition("?token=")[2], "name": NAME, "password": PASSWORD, "again": PASSWORD}
            assert client.post("/setup", data=form).headers["location"] == "/setup/done"
            login = client.post("/api/v1/sessions", json={"name": NAME, "password": PASSWORD})
            assert login.status_code == 201, login.text
            assert client.post("/api/v1/channels", json={"id": "T_1"}).status_code == 201
            assert _publish(client, tiny_bundle)["version"] == "1.0.0"
            assert "server" not in client.get("/healthz").headers
        metadata = server.get(f"{FILES}/T_1/latest/metadata.json")
        assert (metadata["channelId"], metadata["version"]) == ("T_1", "1.0.0")
        code, log = server.end()
    assert code == 0
    assert [entry["event"] for entry in (log[0], log[-1])] == ["server_started", "server_stopped"]
    requests = [entry for entry in log if entry["event"] == "request"]
    assert {"method": "GET", "path": "/setup", "status": 200} in [
        {name: entry[name] for name in ("method", "path", "status")} for entry in requests
    ]
    assert requests[0]["address"].startswith("192.0.2.7:")
    secret = link.rpartition("_")[2]
    assert not any(secret in json.dumps(entry) for entry in log)
    assert [entry.address for entry in audited("session_started")] == ["192.0.2.7"] * 2  # the setup is a login, too


def test_an_address_that_nobody_trusts_is_not_believed_and_requests_are_not_logged(data: Path) -> None:
    with serving("--trainings", "0") as server:
        with server.client(**{"x-forwarded-for": "192.0.2.7"}) as client:
            assert client.get("/api/v1/channels").status_code == 401
        code, log = server.end(signal.SIGINT)
    assert code == 0
    assert [entry["event"] for entry in log] == ["server_started", "server_stopped"]
    assert [entry.address for entry in audited("request_refused")] == ["127.0.0.1"]


def test_a_killed_server_starts_again_and_the_link_of_before_is_worth_nothing(published: Path) -> None:
    with serving() as server:
        first = _link(server)
        assert server.get(f"{FILES}/T_1/latest/metadata.json")["version"] == "1.0.2"
        server.process.kill()
        server.process.wait()
    with serving() as server:
        assert server.get(f"{FILES}/T_1/latest/metadata.json")["version"] == "1.0.2"
        with server.client() as client:
            assert client.get(f"/setup?{first.partition('?')[2]}").status_code == 401
            assert client.get(_link(server)).status_code == 200
        assert server.end()[0] == 0


def test_at_a_terminal_the_link_is_whole_however_narrow_it_is(data: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60"}
    with subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=theirs, env=environment) as process:
        os.close(theirs)
        said = ""
        while "setup?token=" not in said or not said.endswith("\n"):
            said += os.read(ours, 65536).decode()
        process.terminate()
    os.close(ours)
    assert re.search(r"http://127\.0\.0\.1:\d+/setup\?token=ss_[a-z2-7]{8}_[\w-]{43}\r\n", said)
    assert process.returncode == 0


def test_once_somebody_can_log_in_there_is_no_link(data: Path) -> None:
    from shelfsight.database.engine import open_database
    from shelfsight.settings import service_settings
    from tests.people import add_administrator

    done("db", "upgrade")
    database = open_database(service_settings().database_url)
    add_administrator(database, NAME, PASSWORD)
    database.close()
    with serving() as server:
        server.get("/readyz")
        server.process.terminate()
        said, _ = server.process.communicate(timeout=WAIT_S)
        assert said == ""


def test_two_servers_of_one_folder_see_what_commands_and_each_other_do(published: Path) -> None:
    with serving() as one, serving() as other:
        for server in (one, other):
            assert server.get(f"{FILES}/T_1/v1.0.2/metadata.json")["version"] == "1.0.2"
        done("rollback", "T_1")
        for server in (one, other):
            assert server.get(f"{FILES}/T_1/latest/metadata.json")["version"] == "1.0.1"
        key = done("channels", "token", "T_1").strip()
        done("channels", "set", "T_1", "visibility=private")
        token = done("token", "create", "x", "--scope", "channel:T_1:read").strip()
        for server in (one, other):
            with server.client(authorization=f"Bearer {token}") as client:
                assert client.get("/api/v1/channels/T_1").json()["visibility"] == "private"
            with server.client(authorization=f"Bearer {key}") as client:
                assert client.get(f"{FILES}/T_1/latest/metadata.json").status_code == 200
        assert (one.end()[0], other.end()[0]) == (0, 0)


def test_latest_follows_the_database_at_start_and_a_broken_channel_is_a_warning(
    published: Path, tiny_bundle: Path
) -> None:
    done("publish", tiny_bundle, "--channel", "default")
    models = published / "assets" / "ml-models"
    (models / "T_1" / "latest").unlink()  # killed between the database and the pointer
    (models / "default" / "latest").unlink()
    shutil.rmtree(models / "default" / "v1.0.0")
    with serving("--trainings", "0") as server:
        until((models / "T_1" / "latest").is_symlink)
        assert server.get(f"{FILES}/T_1/latest/metadata.json")["version"] == "1.0.2"
        assert (models / "T_1" / "latest").readlink() == Path("v1.0.2")
        code, log = server.end()
    assert code == 0
    (warning,) = [entry for entry in log if entry["level"] == "warning"]
    assert (warning["event"], warning["channel"]) == ("latest_not_updated", "default")
    assert "manifest.json is missing" in warning["reason"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "{port}"], "port {port} of 127.0.0.1 cannot be used (Address already in use): choose another"),
        (["--host", "no.such.host.invalid"], "host 'no.such.host.invalid' is not known"),
        (["--host", "192.0.2.1", "--port", "0"], "port 0 of 192.0.2.1 cannot be used"),
        (["--trust-proxy", "proxy"], "'proxy' does not appear to be an IPv4 or IPv6 network: name an address"),
    ],
)
def test_where_it_cannot_serve_it_says_so_before_it_makes_anything(data: Path, options: list[str], said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        refused = run("serve", *(option.format(port=port) for option in options))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said.format(port=port) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not data.exists()


def test_every_address_is_shown_as_one_that_this_machine_reaches(data: Path) -> None:
    with serving("--host", "0.0.0.0") as server:  # noqa: S104 (what is tested)
        assert server.facts["Address"].startswith("http://127.0.0.1:")
        server.get("/healthz")
        assert server.end()[0] == 0


def test_an_application_that_cannot_start_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no"})

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(UnavailableError, match="could not start"):
        _run(_prepare(broken, None, access_log=False, proxies=[]), listener)  # type: ignore[arg-type]


def test_with_tls_who_trusts_its_authority_reaches_it_over_https(data: Path) -> None:
    with serving("--tls", "--name", "till.example", "--trainings", "0") as server:
        assert server.facts["Address"].startswith("https://127.0.0.1:")
        _link(server)
        assert server.process.stdout is not None
        facts = dict(server.process.stdout.readline().rstrip("\n").split("\t") for _ in range(2))
        assert facts["Certificate"] == f"{data}/tls/authority.crt"
        trusted = ssl.create_default_context(cafile=facts["Certificate"])
        with Client(base_url=server.facts["Address"], verify=trusted, timeout=WAIT_S) as client:
            authority = client.get("/authority.crt")
            assert client.get("/healthz").status_code == 200
        assert authority.headers["content-type"] == "application/x-x509-ca-cert"
        der = ssl.PEM_cert_to_DER_cert(authority.text)
        assert hashlib.sha256(der).digest().hex(":").upper() == facts["SHA-256"]
        with pytest.raises(ConnectError), Client(base_url=server.facts["Address"]) as stranger:
            stranger.get("/healthz")
        assert server.end()[0] == 0


def test_without_tls_there_is_no_certificate_to_trust(data: Path) -> None:
    with serving("--trainings", "0") as server, server.client() as client:
        assert client.get("/authority.crt").status_code == 404
