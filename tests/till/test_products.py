"""The product list of tills: whole, small, cheap when nothing changed, and the same bytes under the same tag."""

from __future__ import annotations

import gzip
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from shelfsight.catalog.rules import Image, ProductDetails
from shelfsight.catalog.store import channels, images, products
from shelfsight.database.engine import open_database
from shelfsight.errors import NotFoundError
from shelfsight.till import store
from shelfsight.till.products import CHANGED_MOST, Packing, ProductLists, Wanted
from tests.till.shop import MARIA, NOW, PRODUCTS, Shop

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx2 import Response

    from shelfsight.database.engine import Database

APPLE = {
    "id": "apple",
    "name": "Apple",
    "sku": "A-1",
    "barcodes": ["4006381333931"],
    "price": "0.35",
    "currency": "EUR",
}
BAG = {"id": "bag", "name": "Bag"}
PEAR = {"id": "pear", "name": "Pear", "price": "2.99", "currency": "EUR"}


def listed(shop: Shop, since: str | None = None, **headers: str) -> Response:
    answer = shop.till().get(PRODUCTS, params={"since": since} if since else {}, headers=headers)
    assert answer.status_code in {200, 304}, answer.text
    return answer


def whole(database: Database, channel: str = "T_1", packing: Packing = Packing.NONE) -> Wanted:
    return Wanted(channel=channel, packing=packing)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Yield the SQL that is executed while the block runs."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_a_till_gets_every_active_product_and_nothing_it_has_not(shop: Shop) -> None:
    found = listed(shop)
    assert found.json() == {"revision": found.json()["revision"], "name": "T_1", "products": [APPLE, BAG, PEAR]}
    assert found.headers["etag"] == f'"{found.json()["revision"]}"'
    assert found.headers["cache-control"] == "private, no-cache"
    assert "accept-encoding" in found.headers["vary"]
    shop.delete("bag")
    assert [one["id"] for one in listed(shop).json()["products"]] == ["apple", "pear"]


def test_a_list_that_is_there_costs_one_look_at_one_row(shop: Shop) -> None:
    tag = listed(shop).headers["etag"]
    till = shop.till()
    with statements(shop.database) as seen:
        answer = till.get(PRODUCTS, headers={"if-none-match": tag})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    asked = [sql for sql in seen if "channels" in sql or "products" in sql]
    assert len(asked) == 2  # whose key it is, and the revision
    assert not any("products" in sql for sql in asked)
    shop.change("apple", price=Decimal(1))
    assert listed(shop, **{"if-none-match": tag}).status_code == 200


def test_the_lists_are_there_before_anybody_asks_so_there_is_one_memory_of_them(shop: Shop) -> None:
    before = shop.app.state.product_lists
    shop.till().get(PRODUCTS)
    assert (shop.app.state.product_lists is before, before.size_bytes > 0) == (True, True)


def test_a_list_that_was_prepared_is_not_prepared_again(shop: Shop) -> None:
    listed(shop)
    till = shop.till()
    with statements(shop.database) as seen:
        again = till.get(PRODUCTS)
    assert len(again.json()["products"]) == 3
    assert not any("products" in sql for sql in seen)


def test_each_packing_has_a_tag_of_its_own_and_all_of_them_are_known(shop: Shop) -> None:
    with shop.database.write() as tx:
        products.put(tx, "T_1", {f"p{one:03}": ProductDetails(name=f"Product {one}") for one in range(100)}, MARIA)
    plain = listed(shop, **{"accept-encoding": "identity"})
    zipped = listed(shop, **{"accept-encoding": "gzip"})
    packed = listed(shop, **{"accept-encoding": "gzip, zstd"})
    assert [one.headers.get("content-encoding") for one in (plain, zipped, packed)] == [None, "gzip", "zstd"]
    assert len({one.headers["etag"] for one in (plain, zipped, packed)}) == 3
    for one in (plain, zipped, packed):
        again = listed(shop, **{"if-none-match": one.headers["etag"], "accept-encoding": "gzip"})
        assert (again.status_code, again.headers["etag"]) == (304, one.headers["etag"])
    lists = ProductLists(shop.database)
    revision = lists.revision("T_1")
    bodies = {packing: lists.find(whole(shop.database, packing=packing), revision).body for packing in Packing}
    assert gzip.decompress(bodies[Packing.GZIP]) == zstd.decompress(bodies[Packing.ZSTD]) == bodies[Packing.NONE]
    assert len(bodies[Packing.ZSTD]) < len(bodies[Packing.NONE]) / 4


def test_what_changed_since_is_all_that_is_sent(shop: Shop) -> None:
    first = listed(shop).json()["revision"]
    shop.change("apple", name="Boskop")
    shop.delete("bag")
    with shop.database.write() as tx:
        products.put(tx, "T_1", {"kiwi": ProductDetails(name="Kiwi"), "gone": ProductDetails(name="Gone")}, MARIA)
    shop.delete("gone")
    found = listed(shop, first).json()
    assert found == {
        "revision": listed(shop).json()["revision"],
        "name": "T_1",
        "since": first,
        "products": [{**APPLE, "name": "Boskop"}, {"id": "kiwi", "name": "Kiwi"}],
        "removed": ["bag", "gone"],
    }
    shop.restore("bag")
    assert listed(shop, found["revision"]).json()["products"] == [BAG]


def test_a_till_that_asks_for_changes_and_has_them_all_hears_so(shop: Shop) -> None:
    found = listed(shop)
    revision = found.json()["revision"]
    assert listed(shop, revision, **{"if-none-match": found.headers["etag"]}).status_code == 304
    nothing = {"revision": revision, "name": "T_1", "since": revision, "products": [], "removed": []}
    assert listed(shop, revision).json() == nothing


def test_a_channel_that_is_renamed_is_news_for_its_tills(shop: Shop) -> None:
    first = listed(shop)
    with shop.database.write() as tx:
        channels.change(tx, "T_1", {"name": "Corner shop"}, stamp=MARIA)
    tag, since = first.headers["etag"], first.json()["revision"]
    news = listed(shop, since, **{"if-none-match": tag}).json()
    assert (news["name"], news["since"], news["products"]) == ("Corner shop", since, [])
    assert listed(shop).json()["name"] == "Corner shop"


def test_changes_and_the_list_before_them_are_the_list_after_them(shop: Shop) -> None:
    before = listed(shop).json()
    shop.change("apple", price=None, currency=None)
    shop.delete("pear")
    changed = listed(shop, before["revision"]).json()
    merged = {one["id"]: one for one in (*before["products"], *changed["products"])}
    for gone in changed["removed"]:
        merged.pop(gone, None)
    assert [merged[one] for one in sorted(merged)] == listed(shop).json()["products"]


def test_photos_and_settings_change_no_product_of_the_list(shop: Shop) -> None:
    first = listed(shop).json()["revision"]
    photo = Image(
        product_id="apple", sha256="0" * 64, media_type="image/jpeg", size_bytes=1, width=1, height=1, created_at=NOW
    )
    with shop.database.write() as tx:
        images.add(tx, "T_1", "apple", [photo], MARIA)
        channels.change(tx, "T_1", {"name": "Corner shop"}, stamp=MARIA)
    found = listed(shop, first).json()
    assert found["revision"] != first
    assert (found["products"], found["removed"]) == ([], [])


@pytest.mark.parametrize("since", ["0", "x", "99999-00000000", "2-00000000", "1" * 30 + "-00000000", "-1-00000000"])
def test_who_has_another_list_gets_the_whole_one(shop: Shop, since: str) -> None:
    assert "since" not in listed(shop, since).json()


def test_who_has_a_list_from_the_future_of_a_restored_database_gets_the_whole_one(shop: Shop) -> None:
    number, _, origin = listed(shop).json()["revision"].partition("-")
    assert "since" not in listed(shop, f"{int(number) + 1}-{origin}").json()


def test_after_many_changes_the_whole_list_is_sent(shop: Shop) -> None:
    first = listed(shop).json()["revision"]
    many = {f"p{one:04}": ProductDetails(name="Product") for one in range(CHANGED_MOST + 1)}
    with shop.database.write() as tx:
        products.put(tx, "T_1", dict(list(many.items())[:CHANGED_MOST]), MARIA)
    assert len(listed(shop, first).json()["products"]) == CHANGED_MOST
    with shop.database.write() as tx:
        products.put(tx, "T_1", many, MARIA)
    found = listed(shop, first).json()
    assert ("since" in found, len(found["products"])) == (False, CHANGED_MOST + 4)


def test_a_channel_that_was_made_anew_under_the_same_id_is_another_one(shop: Shop) -> None:
    first = listed(shop).json()["revision"]
    with shop.database.write() as tx:
        channels.delete(tx, "T_1")
        channels.create(tx, "T_1", {}, MARIA)
        tx.execute(text(f"UPDATE {shop.database.is_postgresql * 'shelfsight.'}channels SET revision = 3"))
    assert listed(shop).json()["revision"].split("-")[0] == first.split("-")[0] == "3"
    assert listed(shop).json()["revision"] == first  # made at the very same moment: nothing tells them apart
    with shop.database.write() as tx:
        later = "2026-11-21T00:00:00.000000Z"
        tx.execute(text(f"UPDATE {shop.database.is_postgresql * 'shelfsight.'}channels SET created_at = '{later}'"))
    assert "since" not in listed(shop, first).json()


def test_lists_are_of_a_channel_alone(shop: Shop) -> None:
    listed(shop)
    other = shop.till("T_2").get(PRODUCTS.replace("T_1", "T_2")).json()
    assert [one["id"] for one in other["products"]] == ["plum"]


def test_no_more_is_remembered_than_there_is_room_for(shop: Shop) -> None:
    with shop.database.write() as tx:
        for number in range(5):
            channels.create(tx, f"C_{number}", {}, MARIA)
            products.put(tx, f"C_{number}", {"p": ProductDetails(name="P" * 400)}, MARIA)
    lists = ProductLists(shop.database, held_bytes=1500)
    for channel in ("C_0", "C_1", "C_2", "C_3", "C_0", "C_4"):
        found = lists.find(whole(shop.database, channel), lists.revision(channel))
        assert 400 < len(found.body) < 500
        assert lists.size_bytes <= 1500
    with statements(shop.database) as seen:
        lists.find(whole(shop.database, "C_0"), lists.revision("C_0"))
        assert not any("products" in sql for sql in seen)
        lists.find(whole(shop.database, "C_1"), lists.revision("C_1"))
        assert any("products" in sql for sql in seen)
    small = ProductLists(shop.database, held_bytes=10)
    assert small.find(whole(shop.database), small.revision("T_1")).body
    assert small.size_bytes == 0


def test_a_newer_list_takes_the_place_of_the_one_before(shop: Shop) -> None:
    lists = ProductLists(shop.database)
    for price in range(5):
        shop.change("apple", price=Decimal(price + 1))
        found = lists.find(whole(shop.database), lists.revision("T_1"))
        assert lists.size_bytes == len(found.body)


def test_all_tills_that_ask_at_once_wait_for_one_list(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = ProductLists(shop.database)
    revision = lists.revision("T_1")
    listing, goes_on, asked = store.listing, Event(), []

    def slowly(*arguments: Any) -> Any:
        asked.append(1)
        assert goes_on.wait(20)
        return listing(*arguments)

    monkeypatch.setattr(store, "listing", slowly)
    together = Barrier(9)

    def find(_: int) -> bytes:
        together.wait()
        return lists.find(whole(shop.database), revision).body

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(find, one) for one in range(8)]
        together.wait()
        while not asked:
            pass
        goes_on.set()
        bodies = {one.result(20) for one in found}
    assert (len(asked), len(bodies)) == (1, 1)


def test_a_list_that_cannot_be_made_is_an_error_for_all_who_wait_and_is_tried_again(shop: Shop) -> None:
    lists = ProductLists(shop.database)
    revision = lists.revision("T_1")
    for _ in range(2):
        with pytest.raises(NotFoundError):
            lists.find(whole(shop.database, "none"), revision)
    assert lists.find(whole(shop.database), revision).body


def test_the_same_revision_is_the_same_list_while_somebody_changes_it(shop: Shop) -> None:
    other = open_database(shop.database.engine.url.render_as_string(hide_password=False))
    seen: dict[str, set[bytes]] = {}
    stop = Event()

    def change() -> None:
        price = 0
        while not stop.is_set():
            price += 1
            with other.write() as tx:
                products.change(tx, "T_1", "apple", {"price": Decimal(price)}, stamp=MARIA)

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        for _ in range(60):
            lists = ProductLists(shop.database)
            body = lists.find(whole(shop.database), lists.revision("T_1")).body
            seen.setdefault(json.loads(body)["revision"], set()).add(body)
        stop.set()
        changing.result(20)
    other.close()
    assert all(len(bodies) == 1 for bodies in seen.values())
    prices = [json.loads(body)["products"][0]["price"] for bodies in seen.values() for body in bodies]
    numbers = [int(revision.split("-")[0]) for revision in seen]
    steps = {number - Decimal(price) for number, price in zip(numbers, prices, strict=True) if price != "0.35"}
    assert len(steps) <= 1  # the price counts up with the revision
