"""The migration is killed, or asked to end, and goes on as if nothing had been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psycopg
import pytest

from shelfsight.backfill.channel_id.rules import Mode
from shelfsight.backfill.channel_id.store import connect
from tests.backfill.channel_id.conftest import migration
from tests.backfill.channel_id.shop import ask, expected, found
from tests.cli.command import started
from tests.conftest import ROOT

COMMAND = ("backfill", "channel-id", "--mode", "online", "--no-fill", "--database-url")
WAITING = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()"


def _wait_until(url: str, condition: str) -> None:
    give_up_at = time.monotonic() + 60
    while not ask(url, f"SELECT {condition}"):
        assert time.monotonic() < give_up_at, condition
        time.sleep(0.05)


@pytest.mark.parametrize(("mode", "least"), [(Mode.ONLINE, 40), (Mode.TRANSACTIONAL, 25)])
def test_killed_after_each_statement_it_ends_as_one_clean_run(shop_url: str, mode: Mode, least: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.backfill.channel_id.killed", shop_url, mode],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= least


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ended_in_the_middle_of_an_index_it_goes_on(shop_url: str, number: signal.Signals, code: int) -> None:
    with psycopg.connect(shop_url) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("SELECT 1")  # an old snapshot, which an index made concurrently waits for, and nothing else
        with started(*COMMAND, shop_url) as process:
            _wait_until(shop_url, f"EXISTS ({WAITING})")
            process.send_signal(number)
            assert process.wait(30) == code
        _wait_until(shop_url, f"NOT EXISTS ({WAITING})")

    shop = connect(shop_url)
    assert migration(shop).run(Mode.ONLINE, fill=False).outcome == "finished"
    shop.close()
    assert found(shop_url) == expected()
    assert ask(shop_url, "SELECT bool_and(indisvalid) FROM pg_index") is True
