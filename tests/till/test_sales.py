"""Sales by REST: each is booked once, whatever comes twice, at once, or with something wrong in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from shelfsight.access.limits import RequestLimits, VolumeLimit
from shelfsight.access.rules import Asker
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.rules import ProductDetails, Visibility
from shelfsight.catalog.store import changes, channels, products
from shelfsight.database import clock
from shelfsight.database.engine import open_database
from shelfsight.database.tables import sale_lines, sales, webhook_deliveries
from shelfsight.storage import open_storage
from shelfsight.till import sales as booking
from shelfsight.till import store
from shelfsight.till.rules import BATCH_MOST, LINES_MOST, NewLine, NewSale, Period
from shelfsight.webhooks import subscriptions
from tests.till.shop import MARIA, NOW, SALES, Shop, sale

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

CHANNEL = "/api/v1/channels/T_1"


def numbers(shop: Shop) -> list[int]:
    return [one["number"] for one in shop.sold()]


def new_sale(sale_id: str, product: str = "apple") -> NewSale:
    return NewSale(id=sale_id, at=NOW, lines=(NewLine(product_id=product, quantity=Decimal(1)),))


def refused(client: TestClient, *sold: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(SALES, json={"sales": list(sold)})
    assert answer.status_code in {409, 422}, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    return problem


def test_a_sale_is_booked_with_the_product_as_it_was(shop: Shop) -> None:
    said = sale(("apple", 2), ("pear", 0.347), ("bag", "1.000"), device="till 1", modelVersion="1.4.2")
    (receipt,) = shop.sell(said)
    assert (receipt["id"], receipt["recorded"]) == (said["id"], True)
    shop.change("apple", name="Boskop", sku="B-1", price=Decimal(9), currency="CHF")
    shop.delete("pear")
    found = shop.client("channel:T_1:read").get(f"{SALES}/{said['id']}").json()
    assert found == {
        "id": said["id"],
        "number": 1,
        "at": "2026-11-20T09:00:00Z",
        "receivedAt": receipt["receivedAt"],
        "device": "till 1",
        "modelVersion": "1.4.2",
        "lines": [
            line("apple", "Apple", "2", "0.35", "0.70", sku="A-1"),
            line("pear", "Pear", "0.347", "2.99", "1.04"),
            line("bag", "Bag", "1", None, None),
        ],
        "totals": [{"currency": "EUR", "amount": "1.74"}],
    }
    assert shop.sold() == [found]


def line(
    product: str, name: str, quantity: str, price: str | None, amount: str | None, *, sku: str | None = None
) -> dict[str, Any]:
    currency = None if price is None else "EUR"
    said = {"productId": product, "name": name, "sku": sku, "quantity": quantity}
    return {**said, "unitPrice": price, "currency": currency, "amount": amount}


def test_a_sale_that_comes_again_is_booked_once_and_told_when(shop: Shop) -> None:
    said = sale(("apple", 1.5), at="2026-11-20T10:00:00+01:00")
    (first,) = shop.sell(said)
    written_otherwise = {
        **said,
        "at": "2026-11-20T09:00:00.000Z",
        "lines": [{"productId": "apple", "quantity": "1.500"}],
    }
    assert shop.sell(written_otherwise) == [{**first, "recorded": False}]
    assert numbers(shop) == [1]


def test_a_lost_answer_is_asked_for_again_although_the_product_went_in_between(shop: Shop) -> None:
    said = sale(("apple", 1))
    (lost,) = shop.sell(said)
    shop.delete("apple")
    other = sale(("pear", 1))
    assert [one["recorded"] for one in shop.sell(said, other)] == [False, True]
    assert shop.sell(said)[0]["receivedAt"] == lost["receivedAt"]
    assert numbers(shop) == [2, 1]


def test_other_contents_under_the_same_id_are_refused_and_nothing_of_the_batch_is_recorded(shop: Shop) -> None:
    said = sale(("apple", 1))
    shop.sell(said)
    problem = refused(shop.till(), sale(("pear", 1)), {**said, "device": "till 2"})
    assert (problem["status"], problem["type"]) == (409, "urn:shelfsight:problem:sale_conflict")
    assert said["id"] in problem["detail"]
    assert [one["field"] for one in problem["errors"]] == ["body.sales.1.id"]
    assert numbers(shop) == [1]


def test_one_wrong_product_keeps_the_whole_batch_out_and_every_one_is_named(shop: Shop) -> None:
    good, bad = sale(("apple", 1)), sale(("pear", 1), ("plum", 1), ("nothing", 2))
    problem = refused(shop.till(), good, bad)
    assert problem["detail"].startswith(f"Product not found: sale {bad['id']} names product 'plum'")
    assert (problem["type"], problem["title"]) == ("urn:shelfsight:problem:product_not_found", "Product not found")
    assert [one["field"] for one in problem["errors"]] == [
        "body.sales.1.lines.1.productId",
        "body.sales.1.lines.2.productId",
    ]
    assert shop.sold() == []
    assert shop.sell(good)[0]["recorded"]
    assert numbers(shop) == [1]  # what was refused left no gap


def test_what_was_deleted_is_not_sold_until_it_is_restored(shop: Shop) -> None:
    said = sale(("apple", 1))
    shop.delete("apple")
    assert "which was deleted" in refused(shop.till(), said)["detail"]
    shop.restore("apple")
    assert shop.sell(said)[0]["recorded"]


def test_the_product_of_another_channel_is_not_sold_even_under_an_id_that_both_have(shop: Shop) -> None:
    assert "'plum', which is not in channel T_1" in refused(shop.till(), sale(("plum", 1)))["detail"]
    with shop.database.write() as tx:
        products.put(tx, "T_2", {"apple": ProductDetails(name="Other apple")}, MARIA)
        products.put(tx, "T_1", {"plum": ProductDetails(name="Own plum")}, MARIA)
    shop.sell(sale(("apple", 1), ("plum", 1)))
    assert [one["name"] for one in shop.sold()[0]["lines"]] == ["Apple", "Own plum"]


def test_ids_of_sales_are_a_channels_own(shop: Shop) -> None:
    said = sale(("apple", 1))
    shop.sell(said)
    other = {**said, "lines": [{"productId": "plum", "quantity": 1}]}
    answer = shop.till("T_2").post("/api/v1/channels/T_2/sales", json={"sales": [other]})
    assert [one["recorded"] for one in answer.json()["sales"]] == [True]
    assert numbers(shop) == [1]


def test_a_sale_that_is_twice_in_a_batch_is_booked_once(shop: Shop) -> None:
    said = sale(("apple", 1))
    first, second = shop.sell(said, said)
    assert (first["recorded"], second["recorded"]) == (True, False)
    assert first["receivedAt"] == second["receivedAt"]
    assert numbers(shop) == [1]


def test_the_same_sales_from_many_connections_at_once_are_booked_once_each(shop: Shop) -> None:
    url = shop.database.engine.url.render_as_string(hide_password=False)
    batch = [new_sale(f"sale-{number:04}") for number in range(5)]
    together = Barrier(6)

    def send(turn: int) -> list[bool]:
        database = open_database(url)
        together.wait()
        ordered = batch[turn % 5 :] + batch[: turn % 5]
        receipts = booking.book(database, "T_1", ordered, actor="test")
        database.close()
        return [receipt.recorded for receipt in receipts]

    with ThreadPoolExecutor(6) as pool:
        recorded = [flag for flags in pool.map(send, range(6)) for flag in flags]
    assert recorded.count(True) == 5
    assert sorted(numbers(shop)) == [1, 2, 3, 4, 5]
    assert len({one["id"] for one in shop.sold()}) == 5


def test_a_product_that_is_deleted_while_it_is_sold_is_sold_before_or_not_at_all(shop: Shop) -> None:
    url = shop.database.engine.url.render_as_string(hide_password=False)
    together = Barrier(2)

    def delete() -> None:
        database = open_database(url)
        together.wait()
        with database.write() as tx:
            products.delete(tx, "T_1", "apple", stamp=MARIA)
            deleted_at.append(clock.now(tx))
        database.close()

    deleted_at: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(delete)
        together.wait()
        for _ in range(50):
            if shop.till().post(SALES, json={"sales": [sale(("apple", 1))]}).status_code == 422:
                break
        done.result()
    with shop.database.read() as tx:
        received = list(tx.scalars(select(sales.c.received_at)))
    assert all(at <= deleted_at[0] for at in received)
    assert refused(shop.till(), sale(("apple", 1)))["title"] == "Product not found"


def test_prices_are_as_charged_and_exact(shop: Shop) -> None:
    said = sale()
    said["lines"] = [
        {"productId": "apple", "quantity": 3, "unitPrice": 0.1},
        {"productId": "pear", "quantity": 1, "unitPrice": "1.005"},
        {"productId": "bag", "quantity": 2, "unitPrice": "0.05", "currency": "CHF"},
    ]
    shop.sell(said)
    (found,) = shop.sold()
    assert [one["unitPrice"] for one in found["lines"]] == ["0.10", "1.005", "0.05"]
    assert found["totals"] == [{"currency": "CHF", "amount": "0.10"}, {"currency": "EUR", "amount": "1.31"}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"quantity": 0}, "greater than 0"),
        ({"quantity": 100001}, "less than or equal to 100000"),
        ({"quantity": "0.0005"}, "at most 3 places"),
        ({"quantity": "NaN"}, "finite"),
        ({"quantity": "9" * 10_000}, "no more than 30 digits"),
        ({"quantity": 1, "unitPrice": -1}, "greater than or equal to 0"),
        ({"quantity": 1, "unitPrice": 1, "currency": "euro"}, "match"),
        ({"quantity": 1, "currency": "EUR"}, "Name a unitPrice"),
        ({"quantity": 1, "productId": "bag", "unitPrice": 1}, "name one"),
    ],
)
def test_a_line_that_cannot_be_is_refused_and_its_sale_is_named(
    shop: Shop, values: dict[str, Any], said: str
) -> None:
    wrong = sale() | {"lines": [{"productId": "apple", **values}]}
    problem = refused(shop.till(), sale(), wrong)
    assert said in problem["detail"]
    assert all(one["field"].startswith("body.sales.1") for one in problem["errors"])
    assert shop.sold() == []


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2019-12-31T23:59:59+14:00", "2099-01-01T00:00:00Z"])
def test_a_till_whose_clock_is_wrong_loses_no_sale_and_both_times_are_kept(shop: Shop, at: str) -> None:
    (receipt,) = shop.sell(sale(at=at))
    (found,) = shop.sold()
    assert found["receivedAt"] == receipt["receivedAt"]
    assert found["receivedAt"][:4] not in found["at"]


@pytest.mark.parametrize(
    "at", ["yesterday", "2026-11-20T10:00:00", "0001-01-01T00:00:00+05:00", "1969-12-31T00:00:00Z"]
)
def test_what_no_clock_shows_is_refused(shop: Shop, at: str) -> None:
    refused(shop.till(), sale(at=at))


def test_a_batch_has_a_hundred_sales_at_most_and_one_at_least(shop: Shop) -> None:
    assert "at most 100" in refused(shop.till(), *[sale() for _ in range(101)])["detail"]
    assert "at least 1" in refused(shop.till())["detail"]
    shop.sell(*[sale(device=f"till {number}") for number in range(100)])
    assert numbers(shop) == list(range(100, 0, -1))


def test_a_channel_that_is_not_there_has_no_sales(shop: Shop) -> None:
    client = shop.client("admin")
    for path in ("/sales", "/sales.csv", "/sales/summary", "/sales/sale-0001", "/till/products"):
        assert client.get(f"/api/v1/channels/none{path}").status_code == 404, path
    assert client.post("/api/v1/channels/none/sales", json={"sales": [sale()]}).status_code == 404


@pytest.mark.parametrize("visibility", Visibility)
def test_tills_book_and_list_products_and_see_no_sales(shop: Shop, visibility: Visibility) -> None:
    with shop.database.write() as tx:
        channels.change(tx, "T_1", {"visibility": visibility}, stamp=MARIA)
    allowed = {
        "nobody": (shop.nobody(), (401, 401, 401)),
        "the channel's key": (shop.till(), (200, 200, 403)),
        "a device's token": (shop.client("device", channel="T_1"), (200, 200, 403)),
        "the key of another channel": (shop.till("T_2"), (403, 403, 403)),
        "a reader": (shop.client("channel:T_1:read"), (403, 200, 200)),
        "a writer": (shop.client("channel:T_1:write"), (200, 200, 200)),
        "a writer of another": (shop.client("channel:T_2:write"), (403, 403, 403)),
        "an administrator": (shop.client("admin"), (200, 200, 200)),
    }
    for who, (client, wanted) in allowed.items():
        booked = client.post(SALES, json={"sales": [sale()]}).status_code
        listed = client.get(f"{CHANNEL}/till/products").status_code
        seen = {client.get(f"{CHANNEL}{path}").status_code for path in ("/sales", "/sales.csv", "/sales/summary")}
        assert (booked, listed, *seen) == wanted, who


def test_who_asks_too_often_is_told_to_come_back_and_nothing_is_booked(shop: Shop, tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "assets")
    few = Services(database=shop.database, storage=storage, limits=RequestLimits(2))
    till = Shop(app=build_app(few), database=shop.database).till()
    assert till.get(f"{CHANNEL}/till/products").status_code == 200
    assert till.post(SALES, json={"sales": [sale()]}).status_code == 200
    refusal = till.post(SALES, json={"sales": [sale()]})
    assert (refusal.status_code, refusal.headers["retry-after"]) == (429, "60")
    assert till.get(f"{CHANNEL}/till/products").status_code == 429
    assert numbers(shop) == [1]


def test_whoever_has_a_channels_key_books_so_many_lines_a_minute_and_no_more(shop: Shop) -> None:
    shop.app.state.sale_line_volume = VolumeLimit(5)
    one = sale(("apple", 1), ("pear", 1), ("bag", 1))
    shop.sell(one)
    refusal = shop.till().post(SALES, json={"sales": [sale(("apple", 1), ("pear", 1)), sale()]})
    assert (refusal.status_code, refusal.headers["retry-after"]) == (429, "60")
    assert refusal.json()["type"] == "urn:shelfsight:problem:too_many_requests"
    assert numbers(shop) == [1]
    shop.sell(sale(("apple", 1), ("pear", 1)))
    assert shop.till().post(SALES, json={"sales": [sale()]}).status_code == 429
    own = shop.client("device", channel="T_1").post(SALES, json={"sales": [sale()]})
    other = shop.till("T_2").post("/api/v1/channels/T_2/sales", json={"sales": [sale(("plum", 1))]})
    assert (own.status_code, other.status_code) == (200, 200)


def test_the_largest_batch_that_may_be_sent_is_not_too_much_for_a_minute(shop: Shop) -> None:
    assert shop.app.state.sale_line_volume.allows(BATCH_MOST * LINES_MOST, "T_1")


def test_pages_stay_as_they_are_while_sales_arrive(shop: Shop) -> None:
    ids = [f"sale-{number:04}" for number in range(10)]
    shop.sell(*[sale(id=one) for one in ids])
    client = shop.client("channel:T_1:read")
    seen, cursor = [], None
    while True:
        page = client.get(SALES, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["items"]]
        shop.sell(sale(), sale())
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "cursor", ["bm90aGluZw", "IjIwMjYtMTEtMjAgMSI", "IjAwMDEtMDEtMDFUMDA6MDA6MDArMDU6MDAgMSI", "MQ"]
)
def test_what_is_no_place_in_the_list_is_refused(shop: Shop, cursor: str) -> None:
    answer = shop.client("channel:T_1:read").get(SALES, params={"cursor": cursor})
    assert answer.status_code == 422
    assert "nextCursor of the page before" in answer.json()["detail"]


def test_sales_are_listed_by_when_they_were_received_and_by_device(shop: Shop) -> None:
    times = [
        shop.sell(sale(id=f"sale-000{number}", device=f"till {number % 2}"))[0]["receivedAt"] for number in range(4)
    ]
    found = shop.sold(**{"from": times[1], "to": times[3]})
    assert [one["id"] for one in found] == ["sale-0002", "sale-0001"]
    assert [one["id"] for one in shop.sold(device="till 1")] == ["sale-0003", "sale-0001"]
    assert shop.sold(**{"from": "9999-12-31T23:59:59-12:00"}) == []
    assert len(shop.sold(**{"from": "0001-01-01T00:00:00+12:00"})) == 4


def test_a_period_that_has_ended_holds_every_sale_that_was_received_in_it(shop: Shop) -> None:
    """Somebody is booking when the period ends: it is waited for."""
    url = shop.database.engine.url.render_as_string(hide_password=False)
    other = open_database(url)
    began, goes_on = Event(), Event()
    insert = store.insert_sales

    def slowly(*args: Any, **values: Any) -> None:
        began.set()
        assert goes_on.wait(20)
        insert(*args, **values)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(store, "insert_sales", slowly)
        booked = pool.submit(booking.book, other, "T_1", [new_sale("sale-0001")], actor="test")
        assert began.wait(20)
        ending = pool.submit(booking.closed, shop.database, "T_1", Period())
        with pytest.raises(TimeoutError):
            ending.result(0.3)
        goes_on.set()
        period = ending.result(20)
        receipt = booked.result(20)[0]
    other.close()
    assert period.until is not None
    assert receipt.received_at < period.until
    with shop.database.read() as tx:
        later = clock.now(tx) + timedelta(days=1)
    assert [one.id for one in booking.each(shop.database, "T_1", period)] == ["sale-0001"]
    assert booking.closed(shop.database, "T_1", replace(period, until=later)).until != later


def test_a_summary_is_exact_and_by_product(shop: Shop) -> None:
    for _ in range(10):
        shop.sell(sale(("apple", 0.1), ("apple", 0.2), ("pear", 1), ("bag", 2)))
    shop.change("apple", name="Boskop")
    found = shop.client("channel:T_1:read").get(f"{SALES}/summary").json()
    assert (found["sales"], found["from"]) == (10, None)
    assert found["products"] == [
        sold("apple", "Boskop", "3", 10, "1.10", sku="A-1"),  # 10 × (0.04 + 0.07)
        sold("bag", "Bag", "20", 10, None),
        sold("pear", "Pear", "10", 10, "29.90"),
    ]
    assert found["totals"] == [{"currency": "EUR", "amount": "31.00"}]
    nothing = shop.client("channel:T_1:read").get(f"{SALES}/summary", params={"to": "2026-01-01T00:00:00Z"}).json()
    assert (nothing["sales"], nothing["totals"], nothing["products"]) == (0, [], [])
    assert nothing["to"] == "2026-01-01T00:00:00Z"


def sold(
    product: str, name: str, quantity: str, sales: int, amount: str | None, *, sku: str | None = None
) -> dict[str, Any]:
    amounts = [] if amount is None else [{"currency": "EUR", "amount": amount}]
    return {"productId": product, "name": name, "sku": sku, "quantity": quantity, "sales": sales, "amounts": amounts}


def test_what_webhooks_are_told_is_written_with_the_sale_or_not_at_all(shop: Shop) -> None:
    reach = replace(subscriptions.reach_of([]), resolve=lambda _host, _port: ["1.1.1.1"])
    for channel in ("T_1", "T_2"):
        subscriptions.add(
            shop.database, channel, "https://shop.example/", ["sale.recorded"], reach=reach, by=Asker(actor="maria")
        )
    said = sale()
    refused(shop.till(), said, sale(("plum", 1)))
    assert told(shop) == []
    shop.sell(said)
    shop.sell(said)
    ((channel, body),) = told(shop)
    (found,) = shop.sold()
    assert channel == "T_1"
    assert body == {
        "type": "sale.recorded",
        "timestamp": found["receivedAt"],
        "data": {"channelId": "T_1", "sale": found},
    }


def told(shop: Shop) -> list[tuple[str, Any]]:
    import json

    with shop.database.read() as tx:
        rows = tx.execute(select(webhook_deliveries.c.channel_id, webhook_deliveries.c.body)).all()
    return [(row.channel_id, json.loads(row.body)) for row in rows]


def test_a_deleted_channel_takes_its_sales_along(shop: Shop) -> None:
    shop.sell(sale())
    with shop.database.write() as tx:
        channels.delete(tx, "T_1")
    with shop.database.read() as tx:
        assert not tx.execute(select(sales)).all()
        assert not tx.execute(select(sale_lines)).all()


def test_on_postgresql_the_service_role_reads_sales_and_no_secrets(postgresql: Any) -> None:
    def may(role: str, table: str, right: str) -> bool:
        with postgresql.read() as tx:
            asked = text("SELECT has_table_privilege(:role, :table, :right)")
            return bool(tx.scalar(asked, {"role": role, "table": f"shelfsight.{table}", "right": right}))

    readable = {
        table
        for table in ("sales", "sale_lines", "webhooks", "webhook_deliveries")
        if may("service_role", table, "SELECT")
    }
    assert readable == {"sales", "sale_lines"}
    for role in ("anon", "authenticated", "service_role"):
        assert not any(may(role, table, "INSERT, UPDATE, DELETE") for table in ("sales", "sale_lines", "webhooks"))
    assert not any(may(role, "sales", "SELECT") for role in ("anon", "authenticated"))


def test_booking_waits_for_whoever_changes_the_catalogue_and_sees_what_they_did(shop: Shop) -> None:
    url = shop.database.engine.url.render_as_string(hide_password=False)
    other = open_database(url)
    with ThreadPoolExecutor(1) as pool:
        with shop.database.write() as tx:
            changes.lock(tx, "T_1")
            booked = pool.submit(booking.book, other, "T_1", [new_sale("sale-0001")], actor="test")
            products.change(tx, "T_1", "apple", {"price": Decimal(5)}, stamp=MARIA)
        assert booked.result(20)[0].recorded
    other.close()
    assert shop.sold()[0]["totals"] == [{"currency": "EUR", "amount": "5.00"}]
