"""Configs as files: what nginx makes of them is what the server says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import httpx2
import pytest

from shelfsight.access.signatures import accept
from shelfsight.delivery.config.prepare import Preparer
from shelfsight.delivery.export import rules
from shelfsight.delivery.export.export import Exported, StaticExport
from shelfsight.delivery.export.files import alone_in, write
from shelfsight.errors import ConflictError, OutputError, UsageError
from shelfsight.rollout.rules import Platform, Tier
from shelfsight.storage import open_storage
from tests.delivery.config.shop import PHONE_FILES, ConfigShop, channel_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database

FUNCTION = "/functions/v1/assessment-model-config"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"x-app-platform": "web"},
    {"X-App-Platform": "WEB", "x-device-tier": "low"},
    {"x-app-platform": "toaster", "x-device-tier": "high"},
    {"x-app-platform": "android"},
    {"apikey": "ck_T_1"},
    {"authorization": "Bearer ck_T_1", "x-app-platform": "desktop", "x-device-tier": "low"},
    {"apikey": "ck_unknown"},
)


class Exporting(ConfigShop):
    """A shop whose configs are exported to a folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, open_storage("memory://"))
        self.folder = folder
        self.export = self.another()

    def another(self, server: str | None = None) -> StaticExport:
        """Return an export that has seen nothing yet."""
        preparer = Preparer(database=self.database, storage=self.storage, assets_url="/assets", clock=self.clock)
        return StaticExport(
            database=self.database, preparer=preparer, folder=self.folder, server=server, clock=self.wall
        )

    def refresh(self) -> Exported:
        """Write what has changed."""
        return self.runner.run(self.export.refresh())

    def body(self, platform: Platform = Platform.UNIVERSAL, tier: Tier = Tier.ANY, channel: str = "default") -> bytes:
        """Return a file's bytes."""
        return (self.folder / rules.config_file(channel, platform, tier)).read_bytes()


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Iterator[Exporting]:
    found = Exporting(database, tmp_path / "out")
    found.publish("1.0.0", stable=True)
    yield found
    found.close()


def test_each_file_is_byte_for_byte_what_the_server_says(shop: Exporting) -> None:
    exported = shop.refresh()
    assert (exported.written, exported.problems, exported.reload) == (len(Platform) * len(Tier), {}, True)
    for platform in Platform:
        for tier in Tier:
            reply = shop.get(x_app_platform=platform.value, x_device_tier=tier.value)
            assert shop.body(platform, tier) == reply.body


def test_a_device_accepts_what_is_exported(shop: Exporting) -> None:
    shop.refresh()
    assert accept(shop.body(), shop.trust(), shop.wall.at).document["activeModelVersion"] == "v1.0.0"


def test_nothing_is_written_while_nothing_changes(shop: Exporting) -> None:
    shop.refresh()
    again = shop.refresh()
    assert (again.written, again.unchanged, again.removed, again.reload) == (0, 0, 0, False)
    anew = shop.runner.run(shop.another().refresh())
    assert (anew.written, anew.unchanged, anew.reload) == (0, len(Platform) * len(Tier), False)


def test_a_change_in_sql_is_written(shop: Exporting) -> None:
    shop.publish("1.1.0")
    shop.refresh()
    shop.set_version("1.1.0", status="active", rollout_percentage=10.0)
    assert shop.refresh().written == len(Platform) * len(Tier)
    assert json.loads(shop.body())["candidate"]["rolloutBasisPoints"] == 1000


def test_half_a_life_later_it_is_signed_again(shop: Exporting) -> None:
    shop.refresh()
    before = json.loads(shop.body())["expiresAt"]
    shop.later(timedelta(days=7).total_seconds())
    assert shop.refresh().written == len(Platform) * len(Tier)
    assert json.loads(shop.body())["expiresAt"] > before


def test_platforms_without_a_model_have_no_file(shop: Exporting) -> None:
    shop.add_channel("phones")
    shop.publish("1.0.0", PHONE_FILES, channel="phones", stable=True)
    shop.refresh()
    there = sorted(file.name for file in (shop.folder / "v1/channels/phones").iterdir())
    assert there == [
        f"model-config.{platform}.{tier}" for platform in ("android", "ios") for tier in ("any", "high", "low", "mid")
    ]


@pytest.mark.parametrize("end", ["private", "gone"])
def test_a_channel_that_is_private_or_gone_is_taken_back(shop: Exporting, end: str) -> None:
    shop.add_channel("T_1")
    shop.publish("1.0.0", stable=True, channel="T_1")
    shop.refresh()
    if end == "private":
        shop.sql("UPDATE shelfsight.channels SET visibility = 'private' WHERE id = 'T_1'")
    else:
        shutil.rmtree(shop.folder / "v1/channels/default")
        shop.sql("DELETE FROM model_metadata WHERE channel_id = 'T_1'")
    exported = shop.refresh()
    assert exported.removed == len(Platform) * len(Tier)
    assert exported.reload == (end == "private")
    assert list((shop.folder / "v1/channels/T_1").iterdir()) == []
    assert ("ck_T_1" in (shop.folder / rules.NGINX_KEYS).read_text()) == (end == "gone")


def test_a_file_never_goes_back_to_an_earlier_sequence(shop: Exporting) -> None:
    shop.publish("1.1.0", stable=True)
    shop.refresh()
    before = shop.body()
    shop.sql("UPDATE shelfsight.channels SET sequence = 1 WHERE id = 'default'")
    exported = shop.refresh()
    assert "which devices refuse" in exported.problems["default"]
    assert shop.body() == before


def test_a_stable_version_that_is_not_whole_is_told_and_what_is_there_stays(shop: Exporting) -> None:
    shop.refresh()
    before = shop.body()
    shop.storage.delete(["ml-models/default/v1.0.0/weights.bin"])
    shop.set_version("1.0.0", min_app_version="2.0.0")
    exported = shop.later(60).refresh()
    assert (exported.written, exported.removed) == (0, 0)
    assert "missing or do not match" in exported.problems["default"]
    assert shop.body() == before
    shop.put("1.0.0")
    assert shop.later(60).refresh().written == len(Platform) * len(Tier)
    assert json.loads(shop.body())["minAppVersion"] == "2.0.0"


def test_two_exports_into_one_folder_are_refused(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(ConflictError, match="another export"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_another_content_within_the_same_second_has_another_time(tmp_path: Path) -> None:
    file = tmp_path / "config"
    seconds = []
    for content in (b"one", b"two", b"six", b"ten"):
        assert write(file, content)
        seconds.append(int(file.stat().st_mtime))
    assert len(set(seconds)) == 4
    assert not write(file, b"ten")
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="name another folder"):
        write(tmp_path / "file" / "config", b"one")
    with pytest.raises(OutputError, match="name another folder"), alone_in(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize("server", ["127.0.0.1", "a;b:80", "host:80 ;", "host:port", ""])
def test_what_is_no_host_and_port_stays_out_of_the_configuration(server: str) -> None:
    with pytest.raises(UsageError, match="--server"):
        rules.maps("/srv/configs", 1, server)


@pytest.mark.parametrize(
    "name", ["my configs", "a;b", "a$uri", "a{b", "a\nb", "a\n", "büro", 'a"b', "a'b", "a\\b", "a#b", "a*", "a[b]"]
)
def test_a_folder_that_nginx_would_misread_is_refused_and_nothing_is_written(shop: Exporting, name: str) -> None:
    shop.folder /= name
    with pytest.raises(UsageError, match="nginx cannot be told"):
        shop.runner.run(shop.another().refresh())
    assert not shop.folder.exists()


def test_keys_that_nginx_could_misread_are_left_out() -> None:
    assert rules.keys_map({'x";}': "T_1", "ck_1": "T_2", "": "T_3"}).count("\n") == 2


@contextmanager
def nginx(folder: Path, work: Path) -> Iterator[str]:
    """A real nginx that serves an export."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = work / "nginx.conf"
    config.write_text(
        f"""worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; user root;
        events {{ }}
        http {{
          access_log off; client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
          include {folder}/{rules.NGINX_MAPS};
          server {{ listen 127.0.0.1:{port}; include {folder}/{rules.NGINX_LOCATIONS}; }}
        }}"""
    )
    process = subprocess.Popen([NGINX, "-c", str(config), "-e", f"{work}/nginx.log"])
    try:
        for _ in range(200):
            assert process.poll() is None, (work / "nginx.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = httpx2.request(method, url, headers=named, timeout=10)
    return answer.status_code, dict(answer.headers), answer.content


@pytest.fixture
def exported_shop(sqlite: Database, tmp_path: Path) -> Iterator[Exporting]:
    found = Exporting(sqlite, tmp_path / "out")
    found.publish("1.0.0", stable=True)
    found.add_channel("T_1")
    found.publish("1.0.0", stable=True, channel="T_1")
    found.refresh()
    yield found
    found.close()


needs_nginx = pytest.mark.skipif(
    not Path(NGINX).is_file(), reason="needs nginx: install the Debian package nginx-light"
)


@needs_nginx
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nginx_answers_as_the_server_does(exported_shop: Exporting, tmp_path: Path, method: str) -> None:
    with nginx(exported_shop.folder, tmp_path) as address:
        for headers in HEADERS:
            ours = exported_shop.get(FUNCTION, method, **{k.lower().replace("-", "_"): v for k, v in headers.items()})
            status, found, body = ask(f"{address}{FUNCTION}", method, **headers)
            assert (status, body) == (200, ours.body), headers
            assert {name: found.get(name) for name in SAME} == {name: ours.headers.get(name) for name in SAME}
        for channel in ("default", "T_1"):
            ours = exported_shop.get(channel_path(channel), x_app_platform="web")
            status, found, body = ask(f"{address}{channel_path(channel)}", x_app_platform="web")
            assert (status, body) == (200, ours.body)


SAME = ("content-type", "cache-control", "access-control-allow-origin", "access-control-expose-headers",
        "x-content-type-options")  # fmt: skip


@needs_nginx
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nginx_itself_says_that_nothing_has_changed_until_it_has(
    exported_shop: Exporting, tmp_path: Path, method: str
) -> None:
    with nginx(exported_shop.folder, tmp_path) as address:
        _, first, _ = ask(f"{address}{FUNCTION}", method)
        status, headers, body = ask(f"{address}{FUNCTION}", method, if_none_match=first["etag"])
        assert (status, body, headers["access-control-allow-origin"]) == (304, b"", "*")
        exported_shop.set_version("1.0.0", rollback_threshold=0.04)
        assert exported_shop.refresh().reload is False
        status, headers, body = ask(f"{address}{FUNCTION}", method, if_none_match=first["etag"])
        assert (status, json.loads(body)["rollbackThreshold"]) == (200, 0.04)
        assert headers["etag"] != first["etag"]


@needs_nginx
def test_nginx_allows_browsers_what_the_server_allows_them(exported_shop: Exporting, tmp_path: Path) -> None:
    preflight = {"origin": "https://till.example", "access-control-request-method": "POST"}
    with nginx(exported_shop.folder, tmp_path) as address:
        for path in (FUNCTION, channel_path("T_1")):
            status, headers, _ = ask(f"{address}{path}", "OPTIONS", **preflight)
            ours = exported_shop.get(path, "OPTIONS", **{k.replace("-", "_"): v for k, v in preflight.items()})
            assert status == ours.status
            assert headers["access-control-allow-headers"] == ours.headers["access-control-allow-headers"]
            assert "GET" in headers["access-control-allow-methods"]


@needs_nginx
def test_without_a_server_nginx_knows_no_private_channel(exported_shop: Exporting, tmp_path: Path) -> None:
    exported_shop.add_channel("secret", visibility="private")
    exported_shop.publish("1.0.0", stable=True, channel="secret")
    exported_shop.refresh()
    with nginx(exported_shop.folder, tmp_path) as address:
        for path in (channel_path("secret"), channel_path("nobody"), "/shelfsight-configs/v1/channels/default/x"):
            status, headers, body = ask(f"{address}{path}", apikey="ck_secret")
            assert status == 404
            if "shelfsight-configs" not in path:
                assert json.loads(body) == {"error": "No active model found"}
                assert headers["access-control-allow-origin"] == "*"


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that answers `live`, and the list of what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "4")
            self.end_headers()
            self.wfile.write(b"live")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


@needs_nginx
def test_what_files_cannot_say_nginx_asks_of_the_server(exported_shop: Exporting, tmp_path: Path) -> None:
    exported_shop.add_channel("secret", visibility="private")
    with listening() as (server, asked):
        exported_shop.runner.run(exported_shop.another(server).refresh())
        with nginx(exported_shop.folder, tmp_path) as address:
            cases: list[tuple[str, dict[str, str]]] = [
                (FUNCTION, {"apikey": "ck_secret"}),
                (FUNCTION, {"x_device_id": "phone-1"}),
                (channel_path("secret"), {}),
                (channel_path("T_1"), {"x_device_id": "phone-1"}),
            ]
            for path, headers in cases:
                assert ask(f"{address}{path}?a=b", **headers)[2] == b"live"
            assert asked == [f"{path}?a=b" for path, _ in cases]
            assert ask(f"{address}{FUNCTION}")[2] == exported_shop.body()


@needs_nginx
def test_a_folder_with_every_letter_that_is_taken_is_served(sqlite: Database, tmp_path: Path) -> None:
    shop = Exporting(sqlite, tmp_path / "Out.put_2@+-" / "-")
    shop.publish("1.0.0", stable=True)
    shop.refresh()
    with nginx(shop.folder, tmp_path) as address:
        assert ask(f"{address}{FUNCTION}")[2] == shop.body()
    shop.close()


def test_the_command_refuses_a_folder_that_nginx_would_misread(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shelfsight", "export-static", "--out", str(tmp_path / "my configs")]
    environment = {**os.environ, "SHELFSIGHT_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "nginx cannot be told" in " ".join(done.stderr.split())) == (2, True)
    assert not (tmp_path / "my configs").exists()


def test_the_command_exports_and_says_what_to_do(tmp_path: Path) -> None:
    environment = {**os.environ, "SHELFSIGHT_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "shelfsight", "export-static", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "Configs: 0 written, 0 unchanged, 0 removed",
        "nginx's part has changed: let it read it, `nginx -s reload`",
    ]
    assert (tmp_path / "out" / rules.NGINX_LOCATIONS).is_file()
