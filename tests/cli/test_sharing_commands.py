"""`shelfsight versions sign` and `versions downloads`: URLs to hand out, and what became of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shelfsight.access.keys import url_secrets
from shelfsight.access.url_tokens import Grant, Use, read_signed
from shelfsight.database.engine import open_database
from shelfsight.delivery.store import DownloadCount, add_downloads
from shelfsight.settings import service_settings
from tests.cli.command import done, run_here
from tests.cli.conftest import audited

FOLDER = "/assets/ml-models/T_1/v1.0.0/"


def granted(url: str) -> tuple[Grant, datetime]:
    """Return what the token of a URL grants, and until when."""
    database = open_database(service_settings().database_url)
    signed = read_signed(url_secrets(database), url.partition("?token=")[2])
    database.close()
    return signed.grant, signed.expires_at


def test_urls_of_a_version_are_printed_one_a_line(published: Path) -> None:
    before = datetime.now(UTC)
    urls = done("versions", "sign", "T_1", "1.0.0").splitlines()
    names = [url.partition("?")[0].removeprefix(FOLDER) for url in urls]
    assert {"model.json", "model.shards.json", "model.ort", "manifest.json"} <= set(names)
    assert "report.json" not in names
    (found,) = {granted(url) for url in urls}
    grant, ends = found
    assert grant == replace(grant, channel="T_1", bucket="ml-models", path="T_1/v1.0.0", use=Use.VERSION)
    assert timedelta(hours=1) <= ends - before <= timedelta(hours=1, minutes=1)
    assert [entry.details["paths"] for entry in audited("urls_signed")] == [["T_1/v1.0.0"]]


def test_one_file_is_signed_for_as_long_as_said_on_the_server_named(published: Path) -> None:
    before = datetime.now(UTC)
    options = ("--file", "model.ort", "--expires", "7d", "--base-url", "https://shop.example/")
    (url,) = done("versions", "sign", "T_1", "1.0.0", *options).splitlines()
    assert url.startswith(f"https://shop.example{FOLDER}model.ort?token=")
    grant, ends = granted(url)
    assert grant == replace(grant, channel="T_1", bucket="ml-models", path="T_1/v1.0.0/model.ort", use=Use.FILE)
    assert timedelta(days=7) <= ends - before <= timedelta(days=7, minutes=1)


def test_signed_version_is_printed_as_rest_has_it(published: Path) -> None:
    found = json.loads(done("versions", "sign", "T_1", "1.0.0", "--expires", "90s", "--json"))
    assert found["baseUrl"] == FOLDER
    assert {one["url"] for one in found["items"]} == {
        f"{FOLDER}{one['path'].rpartition('/')[2]}?token={found['token']}" for one in found["items"]
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["T_1", "9.9.9"], 1, "T_1 has no version 9.9.9"),
        (["none", "1.0.0"], 1, "there is no channel 'none'"),
        (["T_1", "1.0.0", "--file", "report.json"], 1, "'T_1/v1.0.0/report.json' is no file of a version of T_1"),
        (["T_1", "1.0.0", "--expires", "1"], 2, "say how long as 90s, 15m, 1h or 7d"),
        (["T_1", "1.0.0", "--expires", "-1h"], 2, "say how long as 90s, 15m, 1h or 7d"),
        (["T_1", "1.0.0", "--expires", "²h"], 2, "say how long as 90s, 15m, 1h or 7d"),
        (["T_1", "1.0.0", "--expires", ""], 2, "say how long as 90s, 15m, 1h or 7d"),
        (["T_1", "1.0.0", "--expires", "0s"], 2, "lasts 1 to 604800 seconds (7 days), not 0"),
        (["T_1", "1.0.0", "--expires", "8d"], 2, "lasts 1 to 604800 seconds (7 days), not 691200"),
        (["T_1", "1.0.0", "--base-url", "shop.example"], 2, "it begins with http:// or https://"),
    ],
)
def test_what_cannot_be_signed_is_said(published: Path, arguments: list[str], code: int, said: str) -> None:
    refused = run_here("versions", "sign", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


def counted(version: str, hours_ago: int, count: int) -> DownloadCount:
    return DownloadCount(
        channel="T_1",
        hour=HOUR - timedelta(hours=hours_ago),
        file="model.ort",
        version=version,
        actor="anonymous",
        count=count,
        size_bytes=1000 * count,
    )


@pytest.fixture
def downloaded(published: Path) -> None:
    database = open_database(service_settings().database_url)
    counts = [counted("1.0.1", 0, 2), counted("1.0.0", 1, 3), counted("1.0.0", 30, 4), counted("", 2, 1)]
    with database.write() as tx:
        add_downloads(tx, [*counts, counted("1.0.0", 8 * 24, 50)])
    database.close()


@pytest.mark.usefixtures("downloaded")
def test_downloads_are_added_up_by_version() -> None:
    lines = [line.split("\t") for line in done("versions", "downloads", "T_1").splitlines()]
    hours = [f"{HOUR - timedelta(hours=ago):%Y-%m-%d %H:%M}" for ago in (0, 1, 2)]
    assert lines == [
        ["Version", "Downloads", "Size", "Last hour"],
        ["1.0.1", "2", "2.0 kB", hours[0]],
        ["1.0.0", "7", "7.0 kB", hours[1]],
        ["blobs and others", "1", "1.0 kB", hours[2]],
    ]


@pytest.mark.usefixtures("downloaded")
def test_downloads_are_printed_as_rest_has_them() -> None:
    found = json.loads(done("versions", "downloads", "T_1", "--days", "1", "--json"))
    assert [(one["version"], one["count"]) for one in found] == [("1.0.1", 2), ("1.0.0", 3), (None, 1)]
    assert len(json.loads(done("versions", "downloads", "T_1", "--days", "90", "--json"))) == 5


def test_downloads_of_a_channel_that_is_not_there_are_refused(published: Path) -> None:
    assert "there is no channel 'none'" in run_here("versions", "downloads", "none").stderr


@pytest.mark.usefixtures("downloaded")
def test_more_downloads_than_one_page_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfsight.cli.versions._PAGE", 2)
    assert done("versions", "downloads", "T_1").count("\n") == 4
