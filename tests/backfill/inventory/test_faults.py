"""What goes wrong on either side while it runs, and what others do to rows and documents meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.backfill.inventory_fields.backfill import InventoryFields
from shelfsight.backfill.inventory_fields.store.products import Products
from shelfsight.backfill.rules import Pace
from shelfsight.errors import ConflictError
from shelfsight.partners.typesense import Typesense
from tests.backfill.inventory.shop import COLLECTION, Watched, client_of, counts, fill, open_shop, run
from tests.backfill.typesense_server import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
    from tests.backfill.inventory.shop import Shop


def clean(shop: Shop, store: SqlCheckpoints) -> tuple[dict[str, Any], Any]:
    """Return what one run without faults comes to, and let the shop be as it was."""
    report = run(shop, store)
    documents = dict(shop.documents)
    open_shop(shop.settings, shop.typesense)
    fill(shop, 60, only_in_search=9)
    return documents, counts(report)


@pytest.mark.parametrize("fault", list(Fault))
def test_whatever_happens_to_a_request_it_comes_to_the_same(shop: Shop, store: SqlCheckpoints, fault: Fault) -> None:
    wanted = clean(shop, store)
    route = "alter" if fault is Fault.ALTERING else "import"
    for place in (route, "export"):
        if not (place == "export" and fault in {Fault.ALTERING, Fault.SILENT}):
            shop.typesense.fail_next(fault, place, times=2)
    watch = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shelfsight.backfill.patience._FIRST_WAIT_S", 0.01)
        report = run(shop, store, reset=True, watch=watch, import_s=0.5)
    assert report.outcome == "finished"
    assert (dict(shop.documents), counts(report)) == wanted
    assert shop.is_done()


def test_documents_that_the_search_refuses_are_kept_aside_with_the_reason(shop: Shop, store: SqlCheckpoints) -> None:
    orphan = next(key for key in shop.documents if key not in shop.rows())
    shop.typesense.refused_ids = {"7", orphan}
    report = run(shop, store)
    assert {(one.key, one.phase) for one in report.refused} == {("7", 1), (orphan, 2)}
    assert report.refused[0].reason.startswith("Typesense answers 400: ")
    assert (report.outcome, report.exit_code) == ("finished", 1)
    assert "created_at" not in shop.documents["7"]
    assert shop.rows()["7"][2] is not None
    before = counts(report)
    shop.typesense.refused_ids = set()
    shop.typesense.seen.clear()
    report = run(shop, store, retry=True)
    assert (report.outcome, report.exit_code, list(report.refused)) == ("finished", 0, [])
    assert shop.is_done()
    assert counts(report)["updated_typesense"] == before["updated_typesense"] + 1
    assert counts(report)["default_set_count"] == before["default_set_count"] + 1
    assert shop.typesense.seen.count("POST import") == 2  # these two alone


def test_rows_that_a_trigger_refuses_are_kept_aside_and_the_others_of_their_page_are_set(
    shop: Shop, store: SqlCheckpoints
) -> None:
    shop.do("""CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW.id IN (9, 10) THEN RAISE EXCEPTION 'row % is locked', NEW.id; END IF; RETURN NEW; END$$""")
    shop.do("CREATE TRIGGER refuse BEFORE UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION public.refuse()")
    unset = sum(row[2] is None for row in shop.rows().values())
    report = run(shop, store)
    assert {(one.key, one.reason) for one in report.refused} == {
        ("9", "PostgreSQL says: row 9 is locked"),
        ("10", "PostgreSQL says: row 10 is locked"),
    }
    assert {key for key, row in shop.rows().items() if row[2] is None} == {"9", "10"}
    assert counts(report)["updated_supabase"] == unset - 2
    shop.do("DROP TRIGGER refuse ON public.products")
    report = run(shop, store, retry=True)
    assert (report.exit_code, counts(report)["updated_supabase"]) == (0, unset)
    assert shop.is_done()


def test_a_date_that_is_none_is_refused_and_the_rest_goes_on(shop: Shop, store: SqlCheckpoints) -> None:
    shop.do("UPDATE public.products SET created_at = 'infinity' WHERE id = 8")
    report = run(shop, store)
    assert [one.key for one in report.refused] == ["8"]
    assert "int64" in report.refused[0].reason
    shop.do("UPDATE public.products SET created_at = '1969-12-31 23:59:58.5+00' WHERE id = 8")
    assert run(shop, store, retry=True).exit_code == 0
    assert shop.documents["8"]["created_at"] == -2


def test_a_lock_of_the_shop_is_waited_for_without_hurry(shop: Shop, store: SqlCheckpoints) -> None:
    watch, other = Watched(), shop.connect()
    other.autocommit = False
    other.execute("UPDATE public.products SET name = 'being edited' WHERE id = 9")
    runner = threading.Thread(target=run, args=(shop, store), kwargs={"watch": watch})
    runner.start()
    while runner.is_alive() and not any("lock timeout" in text for text in watch.told):
        runner.join(0.01)
    assert any("lock timeout" in text for text in watch.told)
    other.commit()
    runner.join(30)
    other.close()
    assert shop.is_done()
    assert shop.rows()["9"][0] == "being edited"


def test_connections_that_the_server_ends_are_made_again(shop: Shop, store: SqlCheckpoints) -> None:
    wanted = clean(shop, store)
    killed = 0

    def kill(_: object = None) -> None:
        nonlocal killed
        killed += 1
        if killed % 7 == 0:
            shop.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'backfill'")

    with meanwhile(Typesense, "import_documents", kill), pytest.MonkeyPatch.context() as patch:
        patch.setattr("shelfsight.backfill.patience._FIRST_WAIT_S", 0.01)
        report = run(shop, store, pace=Pace(size=3), page_size=1, reset=True)
    assert killed > 14
    assert dict(shop.documents) == wanted[0]
    assert {name: counts(report)[name] for name in ("updated_supabase", "default_set_count")} == {
        name: wanted[1][name] for name in ("updated_supabase", "default_set_count")
    }


@contextmanager
def meanwhile(owner: type, name: str, action: Callable[[int], object]) -> Iterator[None]:
    """Do something of the shop's before each call of a method, while the block runs."""
    calls, before = iter(range(10_000)), getattr(owner, name)

    def instead(*args: Any, **kwargs: Any) -> Any:
        action(next(calls))
        return before(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, instead)
        yield


def test_products_added_changed_and_deleted_while_it_runs_are_right_in_the_end(
    shop: Shop, store: SqlCheckpoints
) -> None:
    def work(call: int) -> None:
        """Do what a shop does between reading a page and sending it: first in the database, then in the search."""
        new, deleted, gone = 1000 + call, 2 * call + 1, 2 * call + 2
        shop.do("INSERT INTO public.products VALUES (%s, 'new', '2026-01-01', NULL)", new)
        shop.documents[str(new)] = {"id": str(new), "name": "new"}
        shop.do("INSERT INTO public.products VALUES (%s, 'low', '2026-01-01', NULL)", -new)
        shop.do("UPDATE public.products SET deleted_at = 99 WHERE id = %s", deleted)
        if str(deleted) in shop.documents:
            shop.documents[str(deleted)]["deleted_at"] = 99
        shop.do("DELETE FROM public.products WHERE id = %s", gone)
        shop.documents.pop(str(gone), None)

    with meanwhile(Typesense, "import_documents", work):
        report = run(shop, store, pace=Pace(size=5, sleep_s=0.001))
    assert (report.outcome, report.exit_code) == ("finished", 0)  # though the shop never rested
    late = {key for key, row in shop.rows().items() if row[2] is None}
    assert all(abs(int(key)) >= 1000 for key in late)
    assert run(shop, store, reset=True).outcome == "finished"  # the shop has closed
    assert shop.is_done()
    assert shop.rows()["1"][2] == 99


def test_a_product_deleted_while_its_document_is_on_its_way_stays_deleted(shop: Shop, store: SqlCheckpoints) -> None:
    def delete(call: int) -> None:
        if call == 0:  # its page was read, with deleted_at 0
            shop.do("UPDATE public.products SET deleted_at = 4711 WHERE id = 1")

    with meanwhile(Typesense, "import_documents", delete):
        report = run(shop, store)
    assert shop.documents["1"]["deleted_at"] == 4711
    assert (report.outcome, counts(report)["mended"]) == ("finished", 1)
    assert shop.is_done()


@pytest.mark.parametrize("looks", [1, 2])
def test_a_product_created_between_the_look_and_the_default_keeps_its_own_values(
    shop: Shop, store: SqlCheckpoints, looks: int
) -> None:
    orphan = min(key for key in shop.documents if key not in shop.rows())

    def create(call: int) -> None:
        if call == looks - 1:  # after it was found without a row: before the first look, or between look and default
            shop.do("INSERT INTO public.products VALUES (%s, 'late', '2026-01-01', NULL)", int(orphan))

    with meanwhile(Products, "lines_of", create):
        report = run(shop, store, page_size=100)
    assert shop.documents[orphan]["created_at"] == 1767225600
    assert shop.is_done()
    assert counts(report)["default_set_count"] == 8


def test_what_was_refused_and_is_taken_at_the_next_look_is_told_as_taken(shop: Shop, store: SqlCheckpoints) -> None:
    orphan = min(key for key in shop.documents if key not in shop.rows())
    shop.typesense.refused_ids = {orphan}

    def create(call: int) -> None:
        if call == 1:  # the default was refused just before
            shop.typesense.refused_ids = set()
            shop.do("INSERT INTO public.products VALUES (%s, 'late', '2026-01-01', NULL)", int(orphan))

    with meanwhile(Products, "lines_of", create):
        report = run(shop, store, page_size=100)
    assert shop.documents[orphan]["created_at"] == 1767225600
    assert (report.outcome, report.exit_code) == ("finished", 0)


def test_a_document_deleted_meanwhile_does_not_come_back(shop: Shop, store: SqlCheckpoints) -> None:
    orphan = min(key for key in shop.documents if key not in shop.rows())

    def delete(call: int) -> None:
        if call == 0:
            del shop.documents["1"]
            del shop.documents[orphan]

    with meanwhile(Typesense, "import_documents", delete):
        run(shop, store)
    assert not {"1", orphan} & shop.documents.keys()
    assert shop.is_done()


def test_a_second_run_after_reset_changes_nothing_and_counts_the_same_documents(
    shop: Shop, store: SqlCheckpoints
) -> None:
    first = counts(run(shop, store))
    before = (shop.rows(), dict(shop.documents))
    second = counts(run(shop, store, reset=True))
    assert (shop.rows(), dict(shop.documents)) == before
    assert second == {**first, "updated_supabase": 0}


def test_a_database_that_does_not_belong_to_the_search_is_noticed(shop: Shop, store: SqlCheckpoints) -> None:
    shop.do("DELETE FROM public.products WHERE id > 10")
    with pytest.raises(ConflictError, match="documents have no row: does this database belong to this search"):
        run(shop, store)
    assert not any(document.get("created_at") == 0 for key, document in shop.documents.items() if int(key) > 10)
    assert run(shop, store, accepts_missing_rows=True).outcome == "finished"
    assert shop.is_done()


def test_ids_that_no_row_can_have_are_documents_without_a_row(shop: Shop, store: SqlCheckpoints) -> None:
    for key in ("007", "seven", "9" * 30, "-0", "1\t2", "a\\b"):
        shop.documents[key] = {"id": key, "name": key}
    report = run(shop, store)
    assert counts(report)["default_set_count"] == 15
    assert shop.is_done()


def test_dates_may_be_without_time_zone_or_seconds(empty_shop: Shop, store: SqlCheckpoints) -> None:
    for kind, value, seconds in (
        ("timestamp", "2024-05-01 12:00:00.9", 1714564800),
        ("date", "2024-05-01", 1714521600),
        ("bigint", "4711", 4711),
    ):
        shop = open_shop(empty_shop.settings, empty_shop.typesense)
        shop.do(f"ALTER TABLE public.products ALTER created_at TYPE {kind} USING NULL")
        shop.do(f"INSERT INTO public.products VALUES (1, 'one', '{value}', NULL)")
        shop.documents["1"] = {"id": "1", "name": "one"}
        run(shop, store, reset=True)
        assert shop.documents["1"] == {"id": "1", "name": "one", "created_at": seconds, "deleted_at": 0}


def test_neighbours_are_set_in_strides_and_the_table_grows_by_a_fraction(
    empty_shop: Shop, store: SqlCheckpoints
) -> None:
    def grown(action: Callable[[], object]) -> float:
        shop = open_shop(empty_shop.settings, empty_shop.typesense)
        shop.do("""INSERT INTO public.products SELECT g, 'product ' || md5(g::text), now(), NULL
            FROM generate_series(1, 20000) g""")
        shop.do("VACUUM (FREEZE, ANALYZE) public.products")
        before = shop.do("SELECT pg_relation_size('public.products')")[0][0]
        action()
        return float(shop.do("SELECT pg_relation_size('public.products')")[0][0] / before)

    single = grown(lambda: empty_shop.do("UPDATE public.products SET deleted_at = 0"))
    ours = grown(lambda: run(empty_shop, store, pace=Pace(size=1000)))
    assert single > 1.9
    assert ours < 1.4


def test_a_plan_says_how_long_the_defaults_take_and_what_is_locked(shop: Shop) -> None:
    shop.do("INSERT INTO public.products SELECT g, 'x', now(), NULL FROM generate_series(1000, 6000) g")
    with client_of(shop) as typesense:
        backfill = InventoryFields(shop.settings, typesense, _stop())
        plan = backfill.plan(Pace(size=10, sleep_s=1.0))
        backfill.close()
    facts = dict(plan.facts)
    assert "8 min 26 s of sleep (507 pages, 1 s after each)" in facts["Expected time"]
    assert facts["Schema"] == "created_at, deleted_at added, optional"
    assert "ROW EXCLUSIVE on public.products" in facts["Locks"]
    assert "ALTER deleted_at SET DEFAULT 0" in plan.warnings[0]
    assert shop.typesense.collections[COLLECTION].fields == [{"name": "name", "type": "string", "optional": False}]


def _stop() -> Any:
    from shelfsight.backfill.stop import Stop

    return Stop()
