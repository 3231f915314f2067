"""Channels, the database and tokens by command, as they are for a person, a script and the audit."""

from __future__ import annotations

import getpass
import json
import os
import pty
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from shelfsight.access.tokens import authenticate
from shelfsight.catalog.rules import ChannelValues
from shelfsight.cli.addresses import without_secrets
from shelfsight.cli.channel_values import parse_value
from shelfsight.cli.service import person
from shelfsight.database import migrate
from shelfsight.database.engine import Database, open_database
from shelfsight.database.tables import channels
from shelfsight.settings import service_settings
from tests.cli.command import COMMAND, done, run, run_here
from tests.cli.conftest import audited

SETTINGS = (
    "name=Käse & Brot",
    "visibility=private",
    "releasePolicy=staged",
    "timeZone=Europe/Zurich",
    "modelBaseUrl=https://cdn.example/models",
    "modelAutoRetrainEnabled=false",
    "modelRetrainTriggers=schedule, accuracy",
    "modelRetrainDebounceSeconds=5",
    "accuracyThreshold=0.9",
    "learnFromCorrections=true",
)


def _database() -> Database:
    return open_database(service_settings().database_url)


def test_without_configuration_the_data_lies_in_the_folder_where_one_is(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHELFSIGHT_")}
    command = [*COMMAND, "channels", "list"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["Id", "default"]
    assert (tmp_path / "shelfsight-data" / "shelfsight.db").is_file()


def test_a_command_in_the_wrong_folder_says_that_it_has_made_a_database_there(data: Path) -> None:
    first, second = run_here("channels", "list"), run_here("channels", "list")
    assert first.stderr.startswith(
        f"Made a new, empty database: {data / 'shelfsight.db'}. If your shop is in another"
    )
    assert (first.stdout, second.stderr) == (second.stdout, "")


def test_a_list_is_a_table_at_a_terminal_and_lines_with_tabs_in_a_pipe(data: Path) -> None:
    done("channels", "add", "T_1", "--name", "[bold]Käse")
    assert "T_1\t[bold]Käse\tpublic\t–\tidle\t–\n" in done("channels", "list")
    ours, theirs = pty.openpty()
    subprocess.run([*COMMAND, "channels", "list"], stdout=theirs, check=True, env={**os.environ, "COLUMNS": "100"})
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "T_1      [bold]Käse  public" in shown


def test_a_channel_is_added_set_shown_and_removed_and_the_audit_names_who_did_it(data: Path) -> None:
    assert done("channels", "add", "T_1", "--name", "Shop") == "Added T_1\n"
    changed = json.loads(done("channels", "set", "T_1", *SETTINGS, "--json"))
    assert changed == json.loads(done("channels", "show", "T_1", "--json"))
    assert changed["name"] == "Käse & Brot"
    assert (changed["visibility"], changed["releasePolicy"], changed["timeZone"]) == (
        "private",
        "staged",
        "Europe/Zurich",
    )
    assert changed["modelRetrainTriggers"] == ["schedule", "accuracy"]
    assert (changed["accuracyThreshold"], changed["learnFromCorrections"]) == (0.9, True)
    kept = json.loads(done("channels", "set", "T_1", "accuracyThreshold=", "--json"))
    assert (kept["accuracyThreshold"], kept["modelRetrainDebounceSeconds"]) == (None, 5)
    done("channels", "set", "T_1", "accuracyThreshold=")  # changes nothing, and is no change
    refused = run_here("channels", "remove", "T_1")
    assert refused.returncode == 2
    assert "T_1 with 0 products and 0 versions: repeat it with --yes" in refused.stderr
    assert done("channels", "remove", "T_1", "--yes").startswith("Removed T_1")
    assert [one["id"] for one in json.loads(done("channels", "list", "--json"))] == ["default"]
    for action, times in (("channel_created", 1), ("channel_settings_changed", 2), ("channel_deleted", 1)):
        assert [(entry.actor, entry.channel) for entry in audited(action)] == [("cli:anna", "T_1")] * times


def test_what_show_prints_can_be_set(data: Path) -> None:
    done("channels", "set", "default", *SETTINGS)
    shown = dict(line.split("\t") for line in done("channels", "show", "default").splitlines())
    done("channels", "add", "other")
    values = [f"{setting.split('=')[0]}={shown[setting.split('=')[0]]}" for setting in SETTINGS]
    done("channels", "set", "other", *values)
    again = dict(line.split("\t") for line in done("channels", "show", "other").splitlines())
    own = {"id", "token", "createdAt"}
    assert {name: again[name] for name in again.keys() - own} == {name: shown[name] for name in shown.keys() - own}


def test_everything_that_people_change_of_a_channel_can_be_set() -> None:
    assert {parse_value(*setting.split("=", 1))[0] for setting in SETTINGS} == set(ChannelValues.__annotations__)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("visibility", "visibility lacks a value: write visibility=VALUE"),
        ("visibility=hidden", "visibility is 'hidden': it must be one of public, private"),
        ("modelVersion=v9.9.9", "'modelVersion' cannot be set: what can be is name, visibility,"),
        ("learnFromCorrections=yes", "learnFromCorrections is 'yes': it must be true or false"),
        ("modelRetrainDebounceSeconds=soon", "it must be a number of seconds"),
        ("modelRetrainDebounceSeconds=0", "modelRetrainDebounceSeconds is 0: it must be 1 to 86400"),
        ("accuracyThreshold=many", "accuracyThreshold is 'many': it must be 0 to 1, or empty"),
        ("accuracyThreshold=1.5", "accuracyThreshold is 1.5: it must be 0 to 1"),
        ("modelRetrainTriggers=rain", "it must be one of product-added, product-deleted"),
        ("timeZone=Mars/Crater", "timeZone is 'Mars/Crater', which is no time zone"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_can(data: Path, setting: str, said: str) -> None:
    refused = run_here("channels", "set", "default", "name=Changed", setting)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert json.loads(done("channels", "show", "default", "--json"))["name"] == "Default"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["channels", "add", "default"], 3, "is there already"),
        (["channels", "add", "../up"], 2, "cannot be the id of a channel"),
        (["channels", "show", "none"], 1, "channel 'none' is not there"),
        (["channels", "set", "none", "name=x"], 1, "channel 'none' is not there"),
        (["channels", "remove", "none", "--yes"], 1, "channel 'none' is not there"),
        (["channels", "remove", "default", "--yes"], 3, "cannot be deleted"),
        (["channels", "token", "none", "--rotate"], 1, "channel 'none' is not there"),
    ],
)
def test_what_cannot_be_done_with_a_channel_is_said(data: Path, arguments: list[str], code: int, said: str) -> None:
    refused = run_here(*arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_the_key_of_a_channel_is_printed_alone_and_replaced_when_asked(data: Path) -> None:
    key = done("channels", "token", "default")
    assert done("channels", "token", "default") == key
    assert authenticate(_database(), key.strip()).channel == "default"
    other = done("channels", "token", "default", "--rotate")
    assert other.startswith("ck_")
    assert done("channels", "token", "default") == other != key
    assert [entry.actor for entry in audited("channel_token_rotated")] == ["cli:anna"]


def test_who_has_no_name_on_this_system_is_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert person().actor == "cli"


def test_the_database_is_upgraded_checked_and_shown(data: Path) -> None:
    empty = run_here("db", "check")
    assert (empty.returncode, empty.stderr) == (1, "Error: the database is empty: run `shelfsight db upgrade`\n")
    assert json.loads(done("db", "show", "--json"))["revision"] is None
    assert done("db", "upgrade") == f"Schema none → {migrate.latest()}\n"
    assert done("db", "upgrade") == f"The schema is {migrate.latest()} already\n"
    assert done("db", "check") == f"The schema is {migrate.latest()}, as wanted\n"
    shown = json.loads(done("db", "show", "--json"))
    assert (shown["kind"], shown["revision"]) == ("SQLite", migrate.latest())
    assert shown["address"] == f"sqlite:///{data}/shelfsight.db"
    assert (shown["rows"]["channels"], shown["rows"]["model_metadata"]) == (1, 0)
    assert "channels\t1\n" in done("db", "show")


def test_the_database_on_postgresql_is_shown_too(postgresql: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgresql.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("SHELFSIGHT_DATABASE_URL", url)
    shown = json.loads(done("db", "show", "--json"))
    assert (shown["kind"], shown["revision"], shown["rows"]["channels"]) == ("PostgreSQL", migrate.latest(), 1)


@pytest.mark.parametrize("command", [["channels", "list"], ["serve", "--port", "0"], ["db", "check"]])
def test_a_database_of_another_version_is_refused_with_one_sentence(data: Path, command: list[str]) -> None:
    done("db", "upgrade")
    with sqlite3.connect(data / "shelfsight.db") as connection:
        connection.execute("UPDATE schema_version SET version_num = '9999'")
    connection.close()
    refused = run(*command)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the database has schema 9999, which this Shelfsight does not know: upgrade Shelfsight" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "address", "code", "said"),
    [
        ("DATABASE", "mysql://root:hunter2@db/x", 2, "'db/x' is no database"),
        ("DATABASE", "postgresql://anna:hunter2@db:port/x", 2, "'db:port/x' is no database"),
        ("DATABASE", "postgresql://anna:hunter2@127.0.0.1:1/x", 1, "the database did not do it"),
        ("STORAGE", "ftp://files", 2, "storage cannot be at ftp://"),
    ],
)
def test_an_address_that_is_no_good_is_said_without_its_password(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str, address: str, code: int, said: str
) -> None:
    monkeypatch.setenv(f"SHELFSIGHT_{name}_URL", address)
    refused = run_here("channels", "list")
    assert refused.returncode == code
    assert said in refused.stderr
    assert "hunter2" not in refused.stderr


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/srv/assets", "/srv/assets"),
        ("sqlite:////srv/shelf.db", "sqlite:////srv/shelf.db"),
        ("postgresql://anna:hunter2@db:5432/shelf", "postgresql://anna@db:5432/shelf"),
        ("postgresql://anna:hun/t@er?2@db/shelf", "postgresql://anna@db/shelf"),
        ("postgresql://db/shelf?user=anna&password=hunter2", "postgresql://db/shelf"),
        ("postgresql://anna@/shelf?host=/run/pg&sslkey=hunter2", "postgresql://anna@/shelf?host=/run/pg"),
        ("s3://bucket/prefix?secret=hunter2", "s3://bucket/prefix"),
    ],
)
def test_no_address_is_shown_with_its_password(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


def test_a_token_is_printed_once_listed_without_its_secret_and_revoked(data: Path) -> None:
    done("channels", "list")
    made = run_here("token", "create", "nightly import", "--scope", "channel:default:write", "--expires", "30")
    secret = made.stdout.strip()
    assert made.stderr == f"Token {secret.split('_')[1]}: keep it, it is not shown again.\n"
    assert authenticate(_database(), secret).scopes == {"channel:default:write"}
    listed = done("token", "list", "--json")
    assert secret.split("_", 2)[2] not in listed + done("token", "list")
    (known,) = json.loads(listed)
    assert (known["name"], known["createdBy"], known["revokedAt"]) == ("nightly import", "cli:anna", None)
    ends_in = datetime.fromisoformat(known["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=29) < ends_in <= timedelta(days=30)
    assert done("token", "revoke", known["id"]) == f"Revoked {known['id']}\n"
    assert json.loads(done("token", "list", "--json"))[0]["revokedAt"] is not None
    assert [entry.actor for entry in (*audited("token_created"), *audited("token_revoked"))] == ["cli:anna"] * 2


def test_a_token_as_json_is_the_document_of_rest(data: Path) -> None:
    made = json.loads(done("token", "create", "till 3", "--scope", "device", "--channel", "default", "--json"))
    assert made["token"].startswith(f"ss_{made['id']}_")
    assert (made["scopes"], made["channelId"], made["expiresAt"]) == (["device"], "default", None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "x"], 2, "Missing option '--scope'"),
        (["create", "x", "--scope", "root"], 2, "'root' is no scope"),
        (["create", "x", "--scope", "device"], 2, "needs the channel"),
        (["create", "x", "--scope", "device", "--channel", "none"], 1, "channel none does not exist"),
        (["create", "x", "--scope", "channel:nope:read"], 1, "channel nope does not exist"),
        (["revoke", "abcdefgh"], 1, "token abcdefgh does not exist"),
    ],
)
def test_a_token_that_cannot_be_is_refused(data: Path, arguments: list[str], code: int, said: str) -> None:
    refused = run_here("token", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_a_new_setup_link_replaces_the_one_before_and_later_needs_a_name(data: Path) -> None:
    from shelfsight.access.administrators import invited_name
    from shelfsight.errors import AuthenticationError
    from tests.people import add_administrator

    first = done("token", "setup-link").strip().partition("?token=")[2]
    link = done("token", "setup-link", "--url", "https://shelf.example/").strip()
    assert link.startswith("https://shelf.example/setup?token=ss_")
    assert invited_name(_database(), link.partition("?token=")[2]) == ""
    with pytest.raises(AuthenticationError):
        invited_name(_database(), first)
    add_administrator(_database(), "anna", "correct horse battery")
    refused = run_here("token", "setup-link")
    assert refused.returncode == 2
    assert "there is an administrator already: name a new one" in refused.stderr
    named = done("token", "setup-link", "bea").strip().partition("?token=")[2]
    assert invited_name(_database(), named) == "bea"
    assert audited("setup_link_issued")[0].actor == "cli:anna"


def test_a_channel_with_a_model_shows_it(data: Path) -> None:
    done("channels", "list")
    with _database().write() as connection:
        connection.execute(update(channels).values(model_version="v1.4.2"))
    assert "\tv1.4.2\t" in done("channels", "list")
