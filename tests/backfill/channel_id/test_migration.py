"""Both ways through the migration, on a real PostgreSQL: alone, beside people who write, broken off, and undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from shelfsight.backfill.channel_id import inspection
from shelfsight.backfill.channel_id.rules import USUAL, Kind, Mode, Names
from shelfsight.backfill.channel_id.store import LockBusyError, connect
from shelfsight.backfill.channel_id.table import BOOKED, Table, tables
from shelfsight.backfill.stop import Stop
from shelfsight.errors import ConflictError, DatabaseError
from tests.backfill.channel_id.conftest import Told, migration
from tests.backfill.channel_id.shop import (
    DEFAULT,
    PURCHASES,
    ask,
    build,
    expected,
    found,
    run_sql,
    structure,
    traffic,
    values,
)

if TYPE_CHECKING:
    from shelfsight.backfill.channel_id.store import Shop

BOTH = pytest.mark.parametrize("mode", list(Mode))
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"IDX_stock_purchase_channel\"'::regclass"
HOSTILE = Names(
    schema='sch"ema',
    column="chan'nel; --",
    purchases='purch"ases %s',
    payments="pay$shelfsight0$ments",
    adjustments="ad\\justments",
    channels='"',
    ledger="led\nger",
    purchase_column="%(low)s",
    code_column="co de",
    source_type_column=":type",
    source_id_column="{0}",
    purchase_source="Pur'chase",
    payment_source="$$",
    adjustment_source="\\",
    default_channel="the 'default'; DROP TABLE x",
)


@BOTH
def test_every_row_gets_the_channel_of_its_entry_its_purchase_or_the_default(
    shop: Shop, shop_url: str, mode: Mode
) -> None:
    report = migration(shop).run(mode, fill=False)

    assert found(shop_url) == expected()
    assert (report.outcome, report.exit_code) == ("finished", 0)
    assert report.findings is not None
    assert report.findings.is_clean
    assert report.checkpoint.values["stock_purchase_filled"] == PURCHASES
    assert ask(shop_url, f"SELECT to_regclass('{BOOKED}')") is None


@BOTH
def test_it_ends_in_what_a_later_migration_takes_for_complete(shop: Shop, shop_url: str, mode: Mode) -> None:
    migration(shop).run(mode, fill=False)
    made = structure(shop_url)

    run_sql(
        shop_url,
        'ALTER TABLE stock_purchase ADD COLUMN IF NOT EXISTS "channelId" integer NOT NULL',
        'CREATE INDEX IF NOT EXISTS "IDX_stock_purchase_channel" ON stock_purchase ("channelId")',
        """DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = 'FK_stock_purchase_channel') THEN
           ALTER TABLE stock_purchase ADD CONSTRAINT "FK_stock_purchase_channel"
           FOREIGN KEY ("channelId") REFERENCES channel (id); END IF; END $$""",
    )

    assert structure(shop_url) == made
    for table in (USUAL.purchases, USUAL.payments, USUAL.adjustments):
        assert ("column", table, "channelId", "true") in made
        assert ("constraint", table, f"FK_{table}_channel", "true") in made
        assert not [one for one in made if one[1] == table and one[2].startswith("CK_")]
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            run_sql(shop_url, f'UPDATE {table} SET "channelId" = 12345')


@BOTH
@pytest.mark.parametrize("again", list(Mode))
def test_a_finished_one_has_nothing_to_do(shop: Shop, shop_url: str, mode: Mode, again: Mode) -> None:
    migration(shop).run(mode, fill=False)
    before = values(shop_url)
    run_sql(shop_url, 'UPDATE stock_purchase SET "channelId" = 3 WHERE id = 1')  # somebody has moved it

    report = migration(shop).run(again, fill=False)

    assert (report.did_nothing, report.exit_code) == (True, 0)
    assert before["purchase_payment"] == values(shop_url)["purchase_payment"]
    assert ask(shop_url, 'SELECT "channelId" FROM stock_purchase WHERE id = 1') == 3


@BOTH
def test_names_may_be_hostile(empty_url: str, mode: Mode) -> None:
    build(empty_url, HOSTILE)
    shop = connect(empty_url)

    report = migration(shop, HOSTILE).run(mode, fill=True)
    again = migration(shop, HOSTILE).stop_filling()
    shop.close()

    assert found(empty_url, HOSTILE) == expected()
    assert (report.outcome, again.outcome) == ("finished", "finished")


@BOTH
def test_ids_may_be_text(empty_url: str, mode: Mode) -> None:
    build(empty_url, id_type="text")
    shop = connect(empty_url)
    migration(shop).run(mode, fill=False)
    shop.close()

    assert found(empty_url) == expected()


@BOTH
def test_what_is_odd_in_the_ledger_is_reported(shop: Shop, mode: Mode) -> None:
    report = migration(shop).run(mode, fill=False)

    assert report.warnings == [
        "the ledger has 2 of stock_purchase in two channels; its first entry counts: 7, 77",
        "1 entries of Purchase name no channel that is there",
    ]


@BOTH
def test_columns_that_were_there_are_filled_and_completed(shop: Shop, shop_url: str, mode: Mode) -> None:
    run_sql(
        shop_url,
        'ALTER TABLE stock_purchase ADD COLUMN "channelId" integer',
        'UPDATE stock_purchase SET "channelId" = 4 WHERE id = 1',
        'ALTER TABLE stock_purchase ADD CONSTRAINT mine FOREIGN KEY ("channelId") REFERENCES channel (id) NOT VALID',
    )

    migration(shop).run(mode, fill=False)

    wanted = expected()
    wanted["stock_purchase"]["1"] = wanted["purchase_payment"]["1"] = 4
    assert found(shop_url) == wanted
    keys = [one for one in structure(shop_url) if one[0] == "constraint" and one[1] == "stock_purchase"]
    assert ("constraint", "stock_purchase", "mine", "true") in keys
    assert "FK_stock_purchase_channel" not in {one[2] for one in keys}


@BOTH
def test_an_index_that_a_failure_left_invalid_is_made_again(shop: Shop, shop_url: str, mode: Mode) -> None:
    run_sql(
        shop_url,
        'ALTER TABLE stock_purchase ADD COLUMN "channelId" integer',
        'CREATE INDEX "IDX_stock_purchase_channel" ON stock_purchase ("channelId")',
        INVALID,
    )

    migration(shop).run(mode, fill=False)

    assert ask(shop_url, "SELECT bool_and(indisvalid) FROM pg_index") is True


def test_old_code_goes_on_while_it_runs_online(shop: Shop, shop_url: str) -> None:
    with traffic(shop_url) as seen:
        report = migration(shop).run(Mode.ONLINE, fill=True)

    assert seen.errors == []
    assert (report.outcome, len(seen.written) > 0, seen.read > 0) == ("finished", True, True)
    assert found(shop_url) == expected()
    migration(shop).stop_filling()
    assert_follows_ledger(shop_url, seen.written, seen.paid)


def test_who_writes_waits_for_the_transaction_and_goes_on(shop: Shop, shop_url: str) -> None:
    with traffic(shop_url) as seen:
        migration(shop).run(Mode.TRANSACTIONAL, fill=True)

    assert seen.errors == []
    migration(shop).stop_filling()
    assert found(shop_url) == expected()
    assert_follows_ledger(shop_url, seen.written, seen.paid)


def assert_follows_ledger(url: str, written: dict[str, int], paid: dict[str, str]) -> None:
    with psycopg.connect(url) as connection:
        purchases: dict[str, int] = dict(
            connection.execute('SELECT id::text, "channelId" FROM stock_purchase').fetchall()
        )
        payments: dict[str, int] = dict(
            connection.execute('SELECT id::text, "channelId" FROM purchase_payment').fetchall()
        )
    assert {number: purchases[number] for number in written} == written
    assert {number: payments[number] for number in paid} == {number: written[paid[number]] for number in paid}


def test_no_run_of_many_deadlocks(shop: Shop, shop_url: str) -> None:
    with traffic(shop_url) as seen:
        for mode in (Mode.ONLINE, Mode.TRANSACTIONAL) * 3:
            migration(shop).run(mode, fill=True)
            migration(shop).undo()

    assert [error for error in seen.errors if "deadlock" in error.lower()] == []
    assert seen.errors == []


def test_filling_goes_on_until_it_is_stopped(shop: Shop, shop_url: str) -> None:
    migration(shop).run(Mode.ONLINE, fill=True)
    run_sql(shop_url, "INSERT INTO stock_purchase (id, total) VALUES (5001, 1)")
    assert ask(shop_url, 'SELECT "channelId" FROM stock_purchase WHERE id = 5001') == DEFAULT
    run_sql(
        shop_url,
        """INSERT INTO ledger_journal_entry ("sourceType", "sourceId", "channelId") VALUES ('Purchase', '5001', 4)""",
    )

    assert migration(shop).stop_filling().outcome == "finished"
    assert migration(shop).stop_filling().did_nothing
    assert migration(shop).run(Mode.ONLINE).did_nothing

    assert ask(shop_url, 'SELECT "channelId" FROM stock_purchase WHERE id = 5001') == 4
    with pytest.raises(psycopg.errors.NotNullViolation):
        run_sql(shop_url, "INSERT INTO stock_purchase (id, total) VALUES (5002, 1)")


def test_whoever_ends_with_triggers_is_told_how_to_take_them_away(shop: Shop) -> None:
    stop, watch = Stop(), Told()
    watch.on_advance = lambda _rows: stop.ask() if watch.rows >= 9 else None
    assert migration(shop, watch=watch, stop=stop).run(Mode.ONLINE).outcome == "stopped"

    for report in (migration(shop).run(Mode.TRANSACTIONAL), migration(shop).run(Mode.ONLINE)):
        assert report.outcome == "finished"
        assert [one for one in report.warnings if "--stop-filling" in one]

    assert not [one for one in migration(shop).stop_filling().warnings if "--stop-filling" in one]


def test_what_is_booked_after_the_ledger_was_read_is_set_right(shop: Shop, shop_url: str) -> None:
    watch = Told()

    def book_late(_rows: int) -> None:  # purchase 5 was made before, and has no entry when the ledger is read
        entry = (
            """INSERT INTO ledger_journal_entry ("sourceType", "sourceId", "channelId") VALUES ('Purchase', '5', 4)"""
        )
        if watch.rows >= 6 and not ask(
            shop_url,
            "SELECT count(*) FROM ledger_journal_entry WHERE \"sourceId\" = '5' AND \"sourceType\" = 'Purchase'",
        ):
            run_sql(shop_url, entry)

    watch.on_advance = book_late
    migration(shop, watch=watch).run(Mode.ONLINE, fill=True)
    migration(shop).stop_filling()

    wanted = expected()
    wanted["stock_purchase"]["5"] = wanted["purchase_payment"]["5"] = 4
    assert found(shop_url) == wanted


def test_a_row_that_somebody_moved_meanwhile_stays_there(shop: Shop, shop_url: str) -> None:
    migration(shop).run(Mode.ONLINE, fill=True)
    run_sql(
        shop_url,
        "INSERT INTO stock_purchase (id, total) VALUES (5001, 1)",
        'UPDATE stock_purchase SET "channelId" = 3 WHERE id = 5001',
        """INSERT INTO ledger_journal_entry ("sourceType", "sourceId", "channelId") VALUES ('Purchase', '5001', 4)""",
    )

    migration(shop).stop_filling()

    assert ask(shop_url, 'SELECT "channelId" FROM stock_purchase WHERE id = 5001') == 3


def test_new_code_decides_by_itself_while_filling_goes_on(shop: Shop, shop_url: str) -> None:
    migration(shop).run(Mode.ONLINE, fill=True)
    run_sql(shop_url, 'INSERT INTO stock_purchase (id, total, "channelId") VALUES (5001, 1, 3)')

    migration(shop).stop_filling()

    assert ask(shop_url, 'SELECT "channelId" FROM stock_purchase WHERE id = 5001') == 3


@BOTH
@pytest.mark.parametrize("fill", [True, False])
def test_undone_it_was_never_there(shop: Shop, shop_url: str, mode: Mode, fill: bool) -> None:
    before, rows = structure(shop_url), values(shop_url)
    migration(shop).run(mode, fill=fill)

    migration(shop).undo()

    assert structure(shop_url) == before
    assert values(shop_url) == rows
    assert migration(shop).run(mode, fill=False).outcome == "finished"


def test_a_column_that_was_there_before_is_not_taken_away(shop: Shop, shop_url: str) -> None:
    run_sql(shop_url, 'ALTER TABLE stock_purchase ADD COLUMN "channelId" integer')
    migration(shop).run(Mode.ONLINE, fill=True)
    made = structure(shop_url)

    with pytest.raises(ConflictError, match="stock_purchase was not added by this migration"):
        migration(shop).undo()

    assert structure(shop_url) == made


@pytest.mark.parametrize("table", [USUAL.payments, USUAL.purchases, USUAL.adjustments, USUAL.channels])
@BOTH
def test_a_lock_that_does_not_come_is_given_up_with_nothing_half_done(
    shop: Shop, shop_url: str, table: str, mode: Mode
) -> None:
    before = structure(shop_url)
    hasty = migration(shop)
    hasty._patience_s = 0.2
    with psycopg.connect(shop_url) as holder:
        holder.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        with pytest.raises(DatabaseError):
            hasty.run(mode, fill=False)
        if mode is Mode.TRANSACTIONAL:
            assert structure(shop_url) == before

    assert migration(shop).run(mode, fill=False).outcome == "finished"
    assert found(shop_url) == expected()


def test_who_cannot_lock_every_table_tries_seldom(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    stop = Stop()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 9:
            stop.ask()
        stop.check()

    def busy(sql: str, *, lock_timeout_ms: int | None = None) -> int:
        raise LockBusyError("canceling statement due to lock timeout")

    monkeypatch.setattr(stop, "sleep", sleep)
    monkeypatch.setattr(shop, "run", busy)

    assert migration(shop, stop=stop).run(Mode.TRANSACTIONAL).outcome == "stopped"

    assert waits[0] < 2
    assert sum(waits[4:]) / len(waits[4:]) > 4  # of half a second in which everybody waits, each


def test_what_was_undone_by_a_deadlock_is_counted_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_before, failed = shop.run, list[str]()

    def run(sql: str, *, lock_timeout_ms: int | None = None) -> int:
        if "SET NOT NULL" in sql and not failed:
            failed.append(sql)
            raise LockBusyError("deadlock detected")
        return run_before(sql, lock_timeout_ms=lock_timeout_ms)

    monkeypatch.setattr(shop, "run", run)
    report = migration(shop).run(Mode.TRANSACTIONAL)

    assert failed
    assert report.checkpoint.values["stock_purchase_filled"] == PURCHASES
    assert len(report.warnings) == len(set(report.warnings))


def test_a_second_run_at_once_is_refused(shop: Shop, shop_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfsight.backfill.channel_id.migration._TURN_WITHIN_S", 0.1)
    migration(shop).run(Mode.ONLINE, fill=True)
    other = connect(shop_url)
    with pytest.raises(ConflictError, match="another run of channel-id is at work"):
        migration(other).undo()
    shop.close()

    assert migration(other).undo().outcome == "finished"
    other.close()


@BOTH
def test_asked_to_end_it_stops_and_goes_on_another_time(shop: Shop, shop_url: str, mode: Mode) -> None:
    before = structure(shop_url)
    stop, watch = Stop(), Told()
    watch.on_advance = lambda _rows: stop.ask() if watch.rows >= 7 else None  # some rows are filled

    report = migration(shop, watch=watch, stop=stop).run(mode, fill=False)

    assert (report.outcome, report.exit_code) == ("stopped", 143)
    if mode is Mode.TRANSACTIONAL:
        assert structure(shop_url) == before
        assert dict(report.checkpoint.values) == {}
    assert migration(shop).run(mode, fill=False).outcome == "finished"
    assert found(shop_url) == expected()


def test_a_rehearsal_counts_and_changes_nothing(shop: Shop, shop_url: str) -> None:
    before = structure(shop_url)

    findings, warnings = inspection.rehearse(shop, USUAL)

    assert structure(shop_url) == before
    assert findings.counts == {
        "rows of purchase_payment": PURCHASES + 1,
        "rows of stock_purchase": PURCHASES,
        "rows of inventory_stock_adjustment": 50,
        "rows of purchase_payment that the ledger knows": 1,
        "rows of purchase_payment that have a purchase": PURCHASES - 1,
        "rows of stock_purchase that the ledger knows": PURCHASES * 4 // 5 - 1,
        "rows of inventory_stock_adjustment that the ledger knows": 0,
    }
    assert findings.open["rows of stock_purchase without a channel"] == PURCHASES
    assert len(warnings) == 2


@BOTH
def test_the_plan_names_rows_locks_time_and_growth(shop: Shop, mode: Mode) -> None:
    facts = dict(inspection.plan(shop, USUAL, mode).facts)

    assert set(facts) == {
        USUAL.payments,
        USUAL.purchases,
        USUAL.adjustments,
        "Mode",
        "Locks",
        "Expected time",
        "Expected growth",
    }


def test_each_part_that_is_not_valid_makes_a_table_incomplete(shop: Shop, shop_url: str) -> None:
    migration(shop).run(Mode.TRANSACTIONAL, fill=False)
    table = Table(USUAL, Kind.PURCHASE)
    broken = {
        "null": 'ALTER TABLE stock_purchase ALTER "channelId" DROP NOT NULL',
        "key": "UPDATE pg_constraint SET convalidated = false WHERE conname = 'FK_stock_purchase_channel'",
        "index": INVALID,
    }
    for statement in broken.values():
        assert shop.value(table.is_complete)
        run_sql(shop_url, statement)
        assert not shop.value(table.is_complete)
        assert migration(shop).run(Mode.ONLINE, fill=False).outcome == "finished"

    assert all(shop.value(each.is_complete) for each in tables(USUAL))
