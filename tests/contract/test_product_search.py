"""What every search of products must keep: the database's own, on both kinds, and the one that Typesense helps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shelfsight.catalog.rules import ProductDetails, ProductState
from shelfsight.catalog.search import ProductSearch
from shelfsight.catalog.store import channels, products
from shelfsight.errors import NotFoundError
from shelfsight.jobs import product_index
from shelfsight.settings import TypesenseSettings
from tests.backfill.typesense_server import API_KEY, TypesenseServer, typesense_server
from tests.contract.catalog import MARIA, NAMES, NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.database.engine import Database

OLIVE_OIL = ProductDetails(name="Huile d'Olive Crème 1l", sku="OIL-12/3", barcodes=("4006381333931", "12345670"))
STOCK = {
    "oil": OLIVE_OIL,
    "soap": ProductDetails(name="Olive soap", sku="oil"),
    "jar": ProductDetails(name="GLASS JAR 50%_off"),
    "milk": ProductDetails(name="Milk"),
}


class Shop:
    """A catalogue and its search."""

    def __init__(self, database: Database, typesense: TypesenseSettings | None) -> None:
        self.database, self.typesense = database, typesense
        self.search = ProductSearch(database, typesense)
        with database.write() as tx:
            channels.create(tx, "other", {"name": "Other"}, MARIA)

    def put(self, stock: dict[str, ProductDetails], channel: str = "default") -> None:
        with self.database.write() as tx:
            products.put(tx, channel, stock, MARIA)

    def index(self) -> None:
        """Do what a worker does each minute."""
        if self.typesense is not None:
            product_index.follow(self.database, self.typesense)

    def found(self, text: str, *, after: str | None = None, limit: int = 100, channel: str = "default") -> list[str]:
        page = self.search.page(channel, state=ProductState.ACTIVE, text=text, after=after, limit=limit)
        return [product.id for product in page]


@pytest.fixture
def server() -> Iterator[TypesenseServer]:
    with typesense_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql", "typesense on sqlite", "typesense on postgresql"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop with some products, which Typesense knows where there is one."""
    helped, _, kind = request.param.rpartition(" on ")
    running = request.getfixturevalue("server") if helped else None
    settings = TypesenseSettings(url=running.url, api_key=API_KEY) if running else None
    made = Shop(request.getfixturevalue(kind), settings)
    made.put(STOCK)
    made.index()
    yield made
    if running:
        assert "GET search" in running.seen, "nothing was asked of Typesense"
    made.search.close()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("olive", ["oil", "soap"]),
        ("liv", ["oil", "soap"]),
        ("olive c", ["oil"]),
        ("ive cre", ["oil"]),
        ("cream", []),
        ("HUILE", ["oil"]),
        ("crème", ["oil"]),
        ("creme", ["oil"]),
        ("glass  jar", ["jar"]),
        ("50%", ["jar"]),
        ("%_off", ["jar"]),
        ("olive milk", []),
    ],
)
def test_a_part_of_the_name_finds_whatever_case_and_accents(shop: Shop, text: str, ids: list[str]) -> None:
    assert sorted(shop.found(text)) == sorted(ids)


@pytest.mark.parametrize("text", ["OIL-12/3", "oil-12/3", "4006381333931", "12345670", "638133"])
def test_sku_and_barcodes_find_their_product(shop: Shop, text: str) -> None:
    assert shop.found(text) == ["oil"]


def test_no_text_runs_across_name_and_sku(shop: Shop) -> None:
    assert shop.found("soap oil") == []


def test_a_deleted_product_is_hidden_until_it_is_restored(shop: Shop) -> None:
    with shop.database.write() as tx:
        products.delete(tx, "default", "oil", stamp=MARIA)
    assert shop.found("olive") == ["soap"]
    shop.index()
    assert shop.found("olive") == ["soap"]

    with shop.database.write() as tx:
        products.restore(tx, "default", "oil", stamp=MARIA)
    assert shop.found("olive") == ["oil", "soap"]


def test_another_channel_is_never_searched(shop: Shop) -> None:
    shop.put({"theirs": ProductDetails(name="Olive oil of theirs")}, channel="other")
    shop.index()

    assert shop.found("olive") == ["oil", "soap"]
    assert shop.found("olive", channel="other") == ["theirs"]
    with pytest.raises(NotFoundError):
        shop.found("olive", channel="none")


def test_what_was_just_written_is_found_at_once(shop: Shop) -> None:
    shop.put({"new": ProductDetails(name="Olive paste"), "oil": ProductDetails(name="Butter")})

    assert shop.found("olive") == ["new", "soap"]
    assert shop.found("butter") == ["oil"]


def test_pages_are_in_the_order_of_ids_and_hold_each_product_once(shop: Shop) -> None:
    shop.put({f"p{number:02}": ProductDetails(name=f"Olive no. {number}") for number in range(30)})
    shop.index()

    pages, after = [], None
    while page := shop.found("olive", after=after, limit=7):
        assert len(page) <= 7
        pages += page
        after = page[-1]

    assert pages == ["oil", *(f"p{number:02}" for number in range(30)), "soap"]


def test_more_than_a_page_of_typesense_are_all_found(shop: Shop) -> None:
    shop.put({f"p{number:03}": ProductDetails(name=f"Olive no. {number}") for number in range(300)})
    shop.index()

    assert len(shop.found("olive", limit=1000)) == 302


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_name_is_found_by_itself(shop: Shop, name: str) -> None:
    shop.put({"named": ProductDetails(name=name)})
    shop.index()

    assert shop.found(name) == ["named"]
    shop.found("milk")  # which asks Typesense in any case: some of the names have no word for it


def test_a_channel_that_was_deleted_and_made_again_is_another_one(shop: Shop) -> None:
    shop.put({"old": ProductDetails(name="Olive oil")}, channel="other")
    shop.index()
    with shop.database.write() as tx:
        channels.delete(tx, "other")
    with shop.database.write() as tx:
        channels.create(tx, "other", {"name": "Other"}, replace(MARIA, at=NOW + timedelta(seconds=1)))
    for number in range(3):
        shop.put({f"new{number}": ProductDetails(name="Olive oil")}, channel="other")
    assert shop.found("olive", channel="other") == ["new0", "new1", "new2"]
    shop.index()

    assert shop.found("olive", channel="other") == ["new0", "new1", "new2"]
