"""What devices are told, by command."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from httpx2 import Client
from sqlalchemy import text

from shelfsight.access.keys import config_keys
from shelfsight.access.signatures import Trust, accept
from shelfsight.database.engine import open_database
from shelfsight.rollout.buckets import is_in
from shelfsight.settings import service_settings
from tests.cli.command import COMMAND, done, run
from tests.cli.test_serve import WAIT_S, serving

if TYPE_CHECKING:
    from pathlib import Path

FUNCTION = "/functions/v1/assessment-model-config"


def show(*arguments: str) -> bytes:
    """Return what `config show` prints, byte for byte."""
    return subprocess.run([*COMMAND, "config", "show", *arguments], capture_output=True, check=True).stdout


def sql(statement: str) -> None:
    """Do what an operator types."""
    database = open_database(service_settings().database_url)
    with database.engine.begin() as connection:
        connection.execute(text(statement))
    database.close()


def test_it_prints_what_a_server_sends(published: Path) -> None:
    sql("UPDATE model_metadata SET status = 'testing', rollout_percentage = 50 WHERE version = 'v1.0.1'")
    with (
        serving("--trainings", "0") as server,
        server.client(apikey=done("channels", "token", "T_1").strip()) as client,
    ):
        for said in (
            (),
            ("--platform", "web"),
            ("--platform", "desktop", "--tier", "low"),
            ("--platform", "ios", "--device", "till-1"),
            ("--device", "till-2"),
        ):
            given = dict(zip(said[::2], said[1::2], strict=True))
            names = {"--platform": "x-app-platform", "--tier": "x-device-tier", "--device": "x-device-id"}
            headers = {names[option]: value for option, value in given.items()}
            assert show("T_1", *said) == client.post(FUNCTION, headers=headers).content


def test_a_device_accepts_it_and_learns_whether_it_is_in(published: Path) -> None:
    sql("UPDATE model_metadata SET status = 'testing', rollout_percentage = 50 WHERE version = 'v1.0.1'")
    database = open_database(service_settings().database_url)
    (key,) = config_keys(database)
    database.close()
    document = json.loads(show("T_1"))
    assert accept(show("T_1"), Trust(channel="T_1", keys=frozenset({key.id})), datetime.now(UTC)).document == document
    for device in ("till-1", "till-2", "till-3"):
        told = json.loads(show("T_1", "--device", device))
        assert ("candidate" in told) is is_in(document["candidate"]["salt"], device, 5000)


@pytest.mark.parametrize(
    ("channel", "complaint"),
    [
        ("nobody", "channel 'nobody' is not there"),
        ("default", "default has no stable version with a model for such a device (universal)"),
    ],
)
def test_without_a_model_it_says_so(published: Path, channel: str, complaint: str) -> None:
    result = run("config", "show", channel)
    assert (result.returncode, result.stdout) == (1, "")
    assert complaint in result.stderr


def test_what_is_wrong_with_a_version_is_said_beside_it(published: Path) -> None:
    sql("UPDATE model_metadata SET checksum_sha256 = 'f' WHERE is_stable")
    ended = subprocess.run([*COMMAND, "config", "show", "T_1"], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"stable_version_not_served" in ended.stderr


def test_settings_say_where_the_files_are_and_how_often_devices_may_ask(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELFSIGHT_ASSETS_URL", "https://cdn.example/shop/")
    monkeypatch.setenv("SHELFSIGHT_REQUESTS_PER_MINUTE", "3")
    files = json.loads(show("T_1"))["files"]["v1.0.2"]
    assert files["baseUrl"] == "https://cdn.example/shop/ml-models/T_1/v1.0.2/"
    with serving("--trainings", "0") as server, server.client() as client:
        assert [client.get("/v1/channels/T_1/model-config").status_code for _ in range(4)] == [200] * 3 + [429]
        assert client.get("/assets/ml-models/T_1/latest/model.json").status_code == 429


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHELFSIGHT_ASSETS_URL", "ftp://cdn.example"),
        ("SHELFSIGHT_ASSETS_URL", "assets"),
        ("SHELFSIGHT_ASSETS_URL", "https://cdn.example/?a=b"),
        ("SHELFSIGHT_REQUESTS_PER_MINUTE", "-1"),
        ("SHELFSIGHT_REQUESTS_PER_MINUTE", "many"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run("config", "show", "default")
    assert result.returncode == 2
    assert name in result.stderr


def test_headers_without_end_are_refused_by_the_server(data: Path) -> None:
    with serving("--trainings", "0") as server, Client(base_url=server.facts["Address"], timeout=WAIT_S) as client:
        assert client.get("/healthz", headers={"cookie": "a" * 40_000}).status_code == 431
        assert client.get("/healthz").status_code == 200
