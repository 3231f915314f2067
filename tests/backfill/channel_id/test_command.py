"""`shelfsight backfill channel-id` as an operator types it, and what it says when it cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.backfill.channel_id.shop import PURCHASES, ask, expected, found, run_sql, structure
from tests.cli.command import run, run_here

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ("backfill", "channel-id")
VARIABLES = ("DB_HOST", "DB_PORT", "DB_DATABASE", "DB_USER", "DB_PASSWORD")


def _variables(url: str, **more: str) -> dict[str, str]:
    """Return the environment in which operators name a database."""
    parts = urlsplit(url)
    host = parse_qs(parts.query)["host"][0]
    named = dict(zip(VARIABLES, (host, "5432", parts.path[1:], "postgres", "unused"), strict=True))
    return named | more


def test_the_database_is_named_as_operators_know_it(shop_url: str) -> None:
    ended = run(*COMMAND, "--json", **_variables(shop_url))

    report = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert (report["backfill"], report["outcome"]) == ("channel-id", "finished")
    assert report["checkpoint"]["stock_purchase_filled"] == PURCHASES
    assert set(report["verified"]["open"].values()) == {0}
    assert found(shop_url) == expected()
    assert "in two channels" in ended.stderr


def test_a_finished_one_says_so_and_exits_well(shop_url: str) -> None:
    run(*COMMAND, "--database-url", shop_url)

    ended = run(*COMMAND, "--mode", "online", "--database-url", shop_url)

    assert (ended.returncode, "complete before; nothing was done" in ended.stdout) == (0, True)


@pytest.mark.parametrize("option", ["--plan", "--dry-run"])
def test_looking_changes_nothing(shop_url: str, option: str) -> None:
    before = structure(shop_url)

    ended = run(*COMMAND, option, "--json", "--database-url", shop_url)

    assert ended.returncode == 0
    assert json.loads(ended.stdout)["plan"]
    assert structure(shop_url) == before


def test_verifying_exits_badly_until_everything_is_valid(shop_url: str) -> None:
    before = run(*COMMAND, "--verify", "--json", "--database-url", shop_url)
    run(*COMMAND, "--database-url", shop_url)
    after = run(*COMMAND, "--verify", "--json", "--database-url", shop_url)

    assert (before.returncode, after.returncode) == (1, 0)
    assert json.loads(before.stdout)["open"]["valid index of stock_purchase"] == 1


def _facts(printed: str) -> dict[str, str]:
    return dict(line.split("\t") for line in printed.splitlines())


def test_verifying_says_of_each_thing_whether_it_is_there(shop_url: str) -> None:
    run(*COMMAND, "--database-url", shop_url)
    complete = run(*COMMAND, "--verify", "--database-url", shop_url)
    run_sql(
        shop_url,
        'ALTER TABLE purchase_payment ALTER "channelId" DROP NOT NULL',
        'UPDATE purchase_payment SET "channelId" = NULL WHERE id = 3',
        'DROP INDEX "IDX_stock_purchase_channel"',
    )
    broken = run(*COMMAND, "--verify", "--database-url", shop_url)

    facts = _facts(complete.stdout)
    assert complete.returncode == 0
    assert facts["Rows of stock_purchase"] == f"{PURCHASES}, each with a channel"
    parts = ("NOT NULL", "Valid foreign key", "Valid index")
    assert {facts[f"{part} on purchase_payment"] for part in parts} == {"there"}
    assert complete.stdout.splitlines()[-1] == "State\tComplete"
    facts = _facts(broken.stdout)
    assert broken.returncode == 1
    assert facts["Rows of purchase_payment"] == f"{PURCHASES + 1}, 1 of them without a channel"
    assert [facts[f"{part} on purchase_payment"] for part in parts] == ["missing", "there", "there"]
    assert broken.stdout.splitlines()[-1] == (
        "State\tIncomplete: 3 things are missing: the channel of 1 row of purchase_payment, "
        "NOT NULL on purchase_payment, valid index on stock_purchase"
    )


def test_a_rehearsal_says_what_is_there_now_and_what_the_ledger_knows(shop_url: str) -> None:
    facts = _facts(run(*COMMAND, "--dry-run", "--database-url", shop_url).stdout)

    assert facts["Rows of stock_purchase"] == f"{PURCHASES}, none with a channel"
    assert facts["NOT NULL on stock_purchase"] == "missing"
    assert facts["Rows of purchase_payment that the ledger knows"] == "1"
    assert facts["State"].startswith("Incomplete: 12 things are missing: the channel of 301 rows of purchase_payment")


def test_the_plan_counts_small_tables_that_were_never_analysed_and_guesses_at_no_large_one(
    shop_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(shop_url, "ANALYZE inventory_stock_adjustment")
    counted = _facts(run(*COMMAND, "--plan", "--database-url", shop_url).stdout)
    monkeypatch.setattr("shelfsight.backfill.channel_id.inspection._COUNTED_MOST", 0)
    unknown = _facts(run_here(*COMMAND, "--plan", "--database-url", shop_url).stdout)

    assert counted["stock_purchase"].startswith(f"{PURCHASES} rows, ")
    assert counted["Expected time"] == "about 0 s"
    assert unknown["stock_purchase"].startswith("rows unknown: run ANALYZE first, ")
    assert unknown["inventory_stock_adjustment"].startswith("about 50 rows, ")
    assert unknown["Expected time"] == "unknown: run ANALYZE first"
    assert unknown["Expected growth"].endswith("of indexes unknown: run ANALYZE first")


def test_triggers_and_columns_are_taken_away_on_request(shop_url: str) -> None:
    before = structure(shop_url)
    run(*COMMAND, "--mode", "online", "--database-url", shop_url)

    assert run(*COMMAND, "--stop-filling", "--database-url", shop_url).returncode == 0
    assert ask(shop_url, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == 0
    assert run(*COMMAND, "--undo", "--database-url", shop_url).returncode == 0
    assert structure(shop_url) == before


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ("DROP TABLE inventory_stock_adjustment", (), "table inventory_stock_adjustment is not in schema public"),
        ("SELECT 1", ("--payments", "none"), "table none is not in schema public"),
        ("SELECT 1", ("--ledger", "stock_purchase"), "one table is named for two things"),
        ("SELECT 1", ("--default-channel", "none"), "no channel has the code 'none'"),
        ("SELECT 1", ("--column", ""), "the name for column is empty"),
        ("SELECT 1", ("--column", "é" * 32), "more than 63 bytes"),
        ('ALTER TABLE ledger_journal_entry DROP "sourceId"', (), "ledger_journal_entry has no column sourceId"),
        ('ALTER TABLE stock_purchase ADD "channelId" text', (), "channelId of stock_purchase is text"),
        (
            "ALTER TABLE purchase_payment DROP CONSTRAINT purchase_payment_pkey",
            (),
            "ids of purchase_payment are not uni",
        ),
        ("CREATE VIEW seen AS SELECT * FROM purchase_payment", ("--payments", "seen"), "seen of schema public is no"),
        ("SELECT 1", ("--plan", "--undo"), "--plan and --undo do not go together"),
        ("SELECT 1", ("--sql", "--verify"), "--verify and --sql do not go together"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(
    shop_url: str, change: str, options: tuple[str, ...], sentence: str
) -> None:
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute(change.encode())
    before = structure(shop_url)

    ended = run(*COMMAND, *options, "--database-url", shop_url)

    assert ended.returncode in {1, 2, 3}
    assert ended.stderr.startswith("Error: ")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert structure(shop_url) == before


def test_a_table_of_somebody_else_is_one_sentence(shop_url: str) -> None:
    role = "shopkeeper"
    run_sql(
        shop_url,
        f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )

    ended = run(*COMMAND, "--database-url", shop_url.replace("postgres:@", f"{role}:@"))

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "belongs to somebody else: connect as its owner" in ended.stderr


def test_what_the_owner_may_not_do_or_see_is_one_sentence_before_anything_is_changed(shop_url: str) -> None:
    role = f"keeper_{urlsplit(shop_url).path[1:]}"
    owned = ("stock_purchase", "purchase_payment", "inventory_stock_adjustment", "ledger_journal_entry")
    run_sql(
        shop_url,
        f"CREATE ROLE {role} LOGIN",
        *(f"ALTER TABLE {table} OWNER TO {role}" for table in owned),
        "REVOKE TEMPORARY ON DATABASE " + urlsplit(shop_url).path[1:] + " FROM public",
        "ALTER TABLE ledger_journal_entry ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE ledger_journal_entry FORCE ROW LEVEL SECURITY",
    )
    before = structure(shop_url)
    for grant, sentence in (
        ("SELECT 1", "row-level security hides rows of ledger_journal_entry"),
        ("ALTER TABLE ledger_journal_entry NO FORCE ROW LEVEL SECURITY", 'GRANT CREATE ON SCHEMA "public"'),
        (f"GRANT CREATE ON SCHEMA public TO {role}", "GRANT REFERENCES ON channel"),
        (f"GRANT SELECT, REFERENCES ON channel TO {role}", "GRANT TEMPORARY on the database"),
    ):
        run_sql(shop_url, grant)
        ended = run(*COMMAND, "--mode", "online", "--database-url", shop_url.replace("postgres:@", f"{role}:@"))
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert sentence in ended.stderr
    assert structure(shop_url) == before
    run_sql(shop_url, f"REASSIGN OWNED BY {role} TO postgres", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"DB_DATABASE": "none"}, 'database "none" does not exist'),
        ({"DB_USER": "nobody"}, 'role "nobody" does not exist'),
        ({"DB_HOST": "127.0.0.1", "DB_PORT": "9"}, "PostgreSQL cannot be used"),
        (
            {"DB_DATABASE": ""},
            "DB_DATABASE is not set: set it in the environment, or in .env; or give --database-url",
        ),
    ],
)
def test_a_database_that_lets_nobody_in_is_one_sentence(shop_url: str, more: dict[str, str], sentence: str) -> None:
    ended = run(*COMMAND, **_variables(shop_url, **more))

    assert ended.returncode in {1, 2}
    assert (sentence in ended.stderr, ended.stderr.count("\n")) == (True, 1)
    assert "unused" not in ended.stderr


def test_a_server_that_asks_for_no_password_is_used_with_an_empty_one(shop_url: str) -> None:
    ended = run(*COMMAND, "--plan", **_variables(shop_url, DB_PASSWORD=""))

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_wrong_password_is_one_sentence_without_it(shop_url: str, guarded: str) -> None:
    ended = run(*COMMAND, **_variables(shop_url, DB_USER=guarded, DB_PASSWORD="sesame"))

    assert ended.returncode == 1
    assert 'password authentication failed for user "guarded"' in ended.stderr
    assert ("sesame" in ended.stderr, ended.stderr.count("\n")) == (False, 1)


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "postgresql://[::1"])
def test_an_address_that_is_none_is_one_sentence(url: str, tmp_path: Path) -> None:
    ended = run(*COMMAND, "--database-url", url)

    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "address cannot be read" in ended.stderr
