"""`shelfsight backfill`, in processes of their own: settings, signals, other machines, and what is printed."""

from __future__ import annotations

import json
import signal
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.backfill.inventory.shop import fill, open_shop, settings_of
from tests.backfill.typesense_server import API_KEY, Fault, typesense_server
from tests.cli import command
from tests.cli.command import run, run_here, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backfill.inventory.shop import Shop
    from tests.servers import MongoServer

COMMAND = ("backfill", "inventory-fields")


@pytest.fixture
def shop(postgresql_url: str) -> Iterator[Shop]:
    name = f"shop_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection, typesense_server() as search:
        connection.execute(f"CREATE DATABASE {name}".encode())
        opened = open_shop(settings_of(postgresql_url.replace("/postgres?", f"/{name}?")), search)
        fill(opened, 60, only_in_search=9)
        yield opened
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def variables(shop: Shop, data: Path, **more: str) -> dict[str, str]:
    port = shop.typesense.url.rpartition(":")[2]
    return {
        "DB_HOST": shop.settings.host,
        "DB_PORT": str(shop.settings.port),
        "DB_DATABASE": shop.settings.database,
        "DB_USER": shop.settings.user,
        "DB_PASSWORD": "not asked for",
        "TYPESENSE_HOST": "127.0.0.1",
        "TYPESENSE_PORT": port,
        "TYPESENSE_API_KEY": API_KEY,
        "SHELFSIGHT_DATA_DIR": str(data),
        "SLEEP_BETWEEN_BATCHES": "0",
        "BATCH_SIZE": "10",
        **more,
    }


def test_it_stops_with_a_signal_goes_on_on_another_machine_and_is_then_finished(
    shop: Shop, mongodb: MongoServer, tmp_path: Path
) -> None:
    names = {"MONGO_URI": mongodb.uri, "MONGO_DB_NAME": f"cli_{uuid.uuid4().hex}"}
    slow = variables(shop, tmp_path / "here", **names, SLEEP_BETWEEN_BATCHES="60")
    with started(*COMMAND, **slow) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "products: 0 of 60 done" in line:
                break
        while not any("created_at" in document for document in shop.documents.values()):
            pass
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped by SIGTERM; all that was begun is saved" in output
    assert "To go on, here or on another machine" in errors
    assert "shelfsight backfill inventory-fields" in errors
    there = variables(shop, tmp_path / "there", **names)
    shown = json.loads(run("backfill", "status", "inventory-fields", "--json", **there).stdout)
    assert (shown["checkpoint"]["last_id"], shown["checkpoint"]["batch_no"], shown["running_on"]) == (10, 1, None)
    ended = run(*COMMAND, "--json", **there)
    assert ended.returncode == 0, ended.stderr
    checkpoint = json.loads(ended.stdout)["checkpoint"]
    names_of_old = ("phase", "last_id", "last_page", "batch_no", "total_processed", "updated_typesense")
    assert [checkpoint[name] for name in ("_id", *names_of_old)] == [
        "backfill_inventory_fields", 2, 60, 1, 6, 60, 56
    ]  # fmt: skip
    assert shop.is_done()
    shop.typesense.seen.clear()
    again = run(*COMMAND, **there)
    assert (again.returncode, shop.typesense.seen) == (0, [])
    assert "finished before; nothing was done (--reset starts over)" in again.stdout


def test_plan_and_dry_run_change_nothing(shop: Shop, tmp_path: Path) -> None:
    before = (shop.rows(), dict(shop.documents))
    slow = variables(shop, tmp_path, SLEEP_BETWEEN_BATCHES="1.0")
    plan = json.loads(run(*COMMAND, "--plan", "--json", **slow).stdout)
    assert "5 s of sleep (6 pages, 1 s after each)" in plan["plan"]["Expected time"]
    dry = json.loads(run(*COMMAND, "--dry-run", "--json", **slow).stdout)
    assert dry["counts"] == {"rows": 60, "documents": 65, "documents without a row": 9}
    assert dry["open"]["documents without a row that do not say 0"] == 9
    assert (shop.rows(), dict(shop.documents)) == before
    assert not (tmp_path / "backfill.db").exists()


def test_settings_may_be_in_a_file_and_the_environment_goes_first(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = {**variables(shop, tmp_path / "data"), "BATCH_SIZE": "nonsense"}
    (tmp_path / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in file.items()))
    monkeypatch.chdir(tmp_path)
    assert "BATCH_SIZE is 'nonsense': use a whole number from 1 to 100,000" in run(*COMMAND).stderr
    ended = run(*COMMAND, "--adaptive", "--page-time", "0.5", BATCH_SIZE="50")
    assert ended.returncode == 0, ended.stderr
    assert shop.is_done()


def test_a_file_of_settings_that_is_not_utf_8_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"DB_PASSWORD=p\xe4ss\n")
    ended = run_here(*COMMAND)
    assert (ended.returncode, ended.stderr.count("Error:")) == (2, 1)
    assert "/.env is not written in UTF-8" in ended.stderr


def test_what_is_not_set_is_named_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run_here(*COMMAND)
    assert ended.returncode == 2
    assert "DB_HOST, DB_DATABASE, DB_USER, DB_PASSWORD, DB_PORT, TYPESENSE_HOST, TYPESENSE_PORT" in ended.stderr
    assert "are not set: set them in the environment, or in .env" in ended.stderr


def test_without_room_for_the_checkpoint_nothing_is_begun(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (shop.rows(), dict(shop.documents))
    environment = variables(shop, tmp_path)
    # No file may grow beyond nothing: as a full disk, for a process alone.
    monkeypatch.setattr(
        "tests.cli.command.COMMAND", ("/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command.COMMAND)
    )
    ended = run(*COMMAND, "--give-up-after", "0", **environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("Error:") == 1
    assert f"the checkpoint cannot be kept in {tmp_path / 'backfill.db'}" in ended.stderr
    assert (shop.rows(), dict(shop.documents)) == before
    assert not any("PATCH" in seen or "POST" in seen for seen in shop.typesense.seen)


def test_pause_status_and_resume_work_from_elsewhere(shop: Shop, tmp_path: Path) -> None:
    place = variables(shop, tmp_path, SLEEP_BETWEEN_BATCHES="0.05", BATCH_SIZE="1")
    nothing = run("backfill", "pause", "inventory-fields", **place)
    assert (nothing.returncode, "there is no checkpoint of inventory-fields in " in nothing.stderr) == (1, True)
    assert "it has never run" in nothing.stderr
    with started(*COMMAND, **place) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "products: 0 of 60 done" in line:
                break
        assert run("backfill", "pause", "inventory-fields", **place).returncode == 0
        for line in process.stderr:
            if "paused by cli:" in line:
                break
        shown = run("backfill", "status", "inventory-fields", **place).stdout
        assert "paused by cli:" in shown
        assert "running on" in shown
        assert run("backfill", "resume", "inventory-fields", **place).returncode == 0
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert shop.is_done()


@pytest.mark.parametrize("command", ["status", "pause", "resume"])
def test_where_nothing_has_run_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run_here("backfill", command, "inventory-fields")
    assert ended.returncode == 1
    assert f"no checkpoint of inventory-fields in {tmp_path / 'shelfsight-data' / 'backfill.db'}" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_checkpoints_gets_no_tables_by_looking(
    shop: Shop, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_url.replace("/postgres?", f"/{shop.settings.database}?")
    monkeypatch.setenv("SHELFSIGHT_CHECKPOINT_URL", url)
    assert "it has never run" in run_here("backfill", "status", "inventory-fields").stderr
    assert "it has never run" in run_here("backfill", "pause", "inventory-fields").stderr
    assert shop.do("SELECT to_regclass('shelfsight_backfill_checkpoints')") == [(None,)]


@pytest.mark.parametrize("command", ["status", "pause", "resume"])
def test_a_backfill_that_there_is_not_is_refused_with_those_that_there_are(command: str) -> None:
    ended = run_here("backfill", command, "foo")
    assert ended.returncode == 2
    assert "no backfill is called foo: there are inventory-fields and channel-id" in ended.stderr


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("status", "`shelfsight backfill channel-id --verify` says how far it is"),
        ("pause", "stop it with Ctrl-C, and give the same command again to go on"),
        ("resume", "`shelfsight backfill channel-id` goes on where it was"),
    ],
)
def test_channel_id_is_in_its_database_alone(command: str, instead: str) -> None:
    ended = run_here("backfill", command, "channel-id")
    assert ended.returncode == 2
    assert f"channel-id keeps no checkpoint, its state is the shop's database itself: {instead}" in ended.stderr


@pytest.mark.parametrize("option", ["--plan", "--dry-run", "--json"])
def test_a_search_that_is_away_is_told_at_once_and_given_up_in_time(shop: Shop, tmp_path: Path, option: str) -> None:
    away = variables(shop, tmp_path, TYPESENSE_PORT="9")
    ended = run(*COMMAND, option, "--give-up-after", "0.3", **away)
    first, *_, last = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert first.startswith("Typesense at 127.0.0.1:9 cannot be reached: ")
    assert "; trying again in 0.3 s" in first
    assert last.startswith("Error: Typesense at 127.0.0.1:9 cannot be reached: ")


def test_a_search_that_lags_is_told_and_waited_for(shop: Shop, tmp_path: Path) -> None:
    shop.typesense.fail_next(Fault.LAGGING, "import", times=1)
    ended = run(*COMMAND, **variables(shop, tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "answers 503: Not Ready or Lagging; trying again in 0.5 s" in ended.stderr
    assert shop.is_done()
