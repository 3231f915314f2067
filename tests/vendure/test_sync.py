"""What changes in a real Vendure arrives here: each kind of change, with its pictures, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

import httpx2
import pytest
from sqlalchemy import select, update

from shelfsight.catalog.images import Upload, add_images, read_image
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import due, products
from shelfsight.database import clock
from shelfsight.database.tables import vendure_assets, vendure_servers
from shelfsight.errors import BusyError, ConflictError, NotFoundError, VendureAccessError, VendureError
from shelfsight.leases.lease import held
from shelfsight.partners.vendure.client import VendureClient
from shelfsight.partners.vendure.credentials import SessionToken
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage
from shelfsight.training.progress import Silent
from shelfsight.vendure import catalogue, store, take_over
from shelfsight.vendure import sync as sync_module
from shelfsight.vendure.connections import disconnect
from shelfsight.vendure.rules import Sells, sync_lease
from tests.vendure.followed import BY, Followed
from tests.vendure.server import TO_CONNECT, jpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.vendure.rules import Details, Glance
    from tests.vendure.server import VendureServer

RED, GREEN, BLUE, GREY = jpeg((255, 0, 0)), jpeg((0, 255, 0)), jpeg((0, 0, 255)), jpeg((99, 99, 99))


def _followed(database: Database, vendure: VendureServer, folder: Path) -> Followed:
    stores = Registry(database=database, storage=open_storage(folder / "assets"))
    return Followed(stores, vendure, vendure.channel())


@pytest.fixture
def shop(sqlite: Database, vendure: VendureServer, tmp_path: Path) -> Followed:
    """Two channels that are not connected yet, ours in SQLite."""
    return _followed(sqlite, vendure, tmp_path)


@pytest.fixture
def each_shop(database: Database, vendure: VendureServer, tmp_path: Path) -> Followed:
    """The same on both kinds of database, one after the other."""
    return _followed(database, vendure, tmp_path)


def digest(picture: bytes) -> str:
    return sha256(picture).hexdigest()


def test_the_first_sync_takes_everything_over_and_the_next_one_finds_nothing_to_do(each_shop: Followed) -> None:
    shop = each_shop
    tea = shop.product("Tea", [RED, GREEN], skus=["T-1", "T-2"], price=199)
    cup = shop.product("Tasse für Tee 🍵", [RED])
    shop.connect()
    result = shop.sync()
    assert (result.seen, result.added, result.pictures, result.refused) == (2, 2, 3, ())
    found = shop.products
    assert set(found) == {tea, cup}
    assert (found[tea].name, found[tea].sku, found[tea].barcodes) == ("Tea", "T-1", ("T-2",))
    assert (found[tea].price, found[tea].currency) == (Decimal("1.99"), "EUR")
    assert found[cup].name == "Tasse für Tee 🍵"
    assert shop.pictures(tea) == {digest(RED), digest(GREEN)}
    assert shop.pictures(cup) == {digest(RED)}
    assert read_image(shop.stores.storage, "default", digest(GREEN)) == GREEN
    before = shop.history()
    assert before[:2] == [("product-added", tea), ("product-added", cup)]
    with shop.stores.database.read() as tx:
        assert due.get(tx, "default").train_at is not None  # the usual wait for a training has begun
    again = shop.sync()
    assert (again.seen, again.added, again.changed, again.pictures) == (2, 0, 0, 0)
    assert shop.history() == before


def test_what_changes_there_arrives_at_the_next_look(each_shop: Followed) -> None:
    shop = each_shop
    names = ("tea", "cup", "pot", "tray", "sold out")
    tea, cup, pot, tray, sold_out = (shop.product(name, [RED], skus=[f"{name}-1"]) for name in names)
    (green,) = shop.server.pictures([GREEN], shop.theirs)
    shop.update(pot, assetIds=[green], featuredAssetId=green)
    other = shop.server.channel("other")
    elsewhere, far = (shop.server.product(other, name, [BLUE], skus=[name]) for name in ("elsewhere", "far"))
    shop.assign_to_channel([far], other)
    shop.connect()
    shop.sync()
    revision = len(shop.history())

    shop.rename(tea, "Green tea")
    shop.update_variant(shop.variants(cup)["cup-1"], price=555)
    shop.delete_assets([green])  # product.updatedAt stays
    shop.update(tray, enabled=False)
    shop.remove_from_channel([far])  # stays, too
    shop.delete(sold_out)
    shop.assign_to_channel([elsewhere], other)  # stays, too
    result = shop.sync()

    assert (result.added, result.changed, result.deleted, result.pictures) == (1, 2, 3, 1)
    found = shop.products
    assert set(found) == {tea, cup, pot, elsewhere}
    assert (found[tea].name, found[cup].price) == ("Green tea", Decimal("5.55"))
    assert shop.pictures(pot) == set()
    assert shop.pictures(elsewhere) == {digest(BLUE)}
    assert sorted(shop.history(revision)) == sorted(
        [
            ("product-changed", tea),
            ("product-changed", cup),
            ("image-removed", pot),
            ("product-deleted", tray),
            ("product-deleted", far),
            ("product-deleted", sold_out),
            ("product-added", elsewhere),
            ("image-added", elsewhere),
        ]
    )

    shop.update(tray, enabled=True)
    shop.assign_to_channel([far], other)
    back = shop.sync()
    assert (back.restored, back.pictures) == (2, 0)  # their pictures are here
    assert set(shop.products) == {tea, cup, pot, elsewhere, tray, far}


def test_variants_are_products_of_their_own(shop: Followed) -> None:
    tea = shop.product("Tea", [RED], skus=["S", "L", "XL"])
    variants = shop.variants(tea)
    (green,) = shop.server.pictures([GREEN], shop.theirs)
    shop.update_variant(variants["L"], assetIds=[green], featuredAssetId=green, price=300)
    shop.connect(Sells.VARIANTS)
    shop.sync()
    small, large, huge = (f"{tea}-{variants[sku]}" for sku in ("S", "L", "XL"))
    assert set(shop.products) == {small, large, huge}
    assert (shop.products[large].sku, shop.products[large].price) == ("L", Decimal("3.00"))
    assert (shop.pictures(small), shop.pictures(large)) == ({digest(RED)}, {digest(GREEN)})

    shop.update_variant(variants["S"], enabled=False)
    shop.delete_assets([green])
    result = shop.sync()
    assert (result.deleted, set(shop.products)) == (1, {large, huge})
    assert shop.pictures(large) == {digest(RED)}
    shop.update_variant(variants["S"], enabled=True)
    assert shop.sync().restored == 1


def test_more_variants_than_one_batch_of_the_catalogue_are_taken_over(
    shop: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_over, "BATCH_MOST", 2)
    tea = shop.product("Tea", skus=["S", "M", "L", "XL", "XXL"])
    shop.connect(Sells.VARIANTS)
    assert shop.sync().added == 5
    assert {product.split("-")[0] for product in shop.products} == {tea}


def test_a_picture_of_several_products_is_fetched_once(shop: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "BATCH", 1)
    monkeypatch.setattr(sync_module, "FIRST_BATCH", 1)
    (red,) = shop.server.pictures([RED], shop.theirs)
    ids = [shop.product(name) for name in ("tea", "cup", "pot", "tray")]
    for product_id in ids:
        shop.update(product_id, assetIds=[red], featuredAssetId=red)
    shop.connect()
    assert shop.sync().pictures == 1
    assert [shop.pictures(product_id) for product_id in ids] == [{digest(RED)}] * 4


def test_events_bring_the_products_they_name_and_no_others(shop: Followed) -> None:
    tea, cup, pot = (shop.product(name, [RED]) for name in ("tea", "cup", "pot"))
    shop.connect()
    shop.sync()
    shop.rename(tea, "Green tea")
    shop.rename(cup, "Mug")
    shop.delete(pot)
    new = shop.product("new", [GREEN])
    shop.want(tea, pot, new, "999999")
    result = shop.sync(named=True)
    assert (result.seen, result.changed, result.deleted, result.added) == (2, 1, 1, 1)
    assert {product.name for product in shop.products.values()} == {"Green tea", "cup", "new"}
    assert shop.wanted() == set()
    assert shop.sync().changed == 1
    assert shop.products[cup].name == "Mug"


def test_what_people_made_here_stays_as_it_is(shop: Followed) -> None:
    tea = shop.product("Tea", [RED])
    cup = shop.product("Cup", [GREEN])
    by_hand = Stamp(actor="maria", at=shop.now())
    with shop.stores.database.write(actor="maria") as tx:
        products.add(tx, "default", tea, ProductDetails(name="Our own tea"), by_hand)
        products.add(tx, "default", "own", ProductDetails(name="Our own cup"), by_hand)
    shop.connect()
    result = shop.sync()
    assert [(one.product_id, one.asset) for one in result.refused] == [(tea, None)]
    assert "did not come from Vendure" in result.refused[0].reason
    assert shop.products[tea].name == "Our own tea"
    assert shop.pictures(tea) == set()

    add_images(shop.stores, "default", cup, [Upload(name="x.jpg", data=BLUE)], by_hand)
    shop.update(cup, assetIds=[])
    shop.delete(tea)
    shop.sync()
    assert shop.pictures(cup) == {digest(BLUE)}
    assert set(shop.products) == {tea, cup, "own"}


def test_a_shop_is_not_emptied_by_an_answer_that_is(shop: Followed) -> None:
    ids = [shop.product(f"p{number}", [RED]) for number in range(3)]
    shop.connect()
    shop.sync()
    shop.remove_from_channel(ids)
    for named in (True, False):
        shop.want(*ids)
        with pytest.raises(ConflictError, match=r"3 of the 3 products .* --allow-deletions"):
            shop.sync(named=named)
        assert set(shop.products) == set(ids)
        assert shop.wanted() == set(ids)
    state = shop.state().state
    assert state.attempts == 2
    assert state.error is not None
    assert "--allow-deletions" in state.error
    assert shop.sync(allow_deletions=True).deleted == 3
    assert shop.products == {}
    assert (shop.state().state.attempts, shop.state().state.error, shop.wanted()) == (0, None, set())


@pytest.mark.parametrize("named", [False, True])
def test_variants_of_products_that_stay_are_not_deleted_without_a_word_either(shop: Followed, named: bool) -> None:
    tea, cup = shop.product("Tea", skus=["S", "M", "L"]), shop.product("Cup", skus=["RED", "BLUE"])
    shop.connect(Sells.VARIANTS)
    shop.sync()
    before = set(shop.products)
    for vendure_id, kept in ((tea, "S"), (cup, "RED")):
        for sku, variant in shop.variants(vendure_id).items():
            shop.update_variant(variant, enabled=sku == kept)
    shop.rename(cup, "Mug")
    shop.want(tea, cup)
    revision = len(shop.history())
    with pytest.raises(ConflictError, match=r"3 of the 5 products .*, and nothing was deleted: .*--allow-deletions"):
        shop.sync(named=named)
    assert (set(shop.products), shop.history(revision)) == (before, [])
    assert shop.sync(named=named, allow_deletions=True).deleted == 3
    assert {product.sku for product in shop.products.values()} == {"S", "RED"}


def _without_variants(details: dict[str, Details]) -> dict[str, Details]:
    first = {one: found.glance.variants[:1] for one, found in details.items()}
    return {one: replace(found, glance=replace(found.glance, variants=first[one])) for one, found in details.items()}


def test_variants_that_vanish_while_a_sync_reads_are_not_deleted_by_it(
    shop: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = shop.product("Tea", skus=["S", "M", "L", "XL"])
    shop.connect(Sells.VARIANTS)
    shop.sync()
    shop.rename(tea, "Green tea")
    before, read = set(shop.products), catalogue.TheirChannel.read
    with monkeypatch.context() as broken:
        broken.setattr(catalogue.TheirChannel, "read", lambda *asked: _without_variants(read(*asked)))
        assert shop.sync().deleted == 0
        assert set(shop.products) == before
    assert shop.sync().deleted == 0
    assert set(shop.products) == before


def test_a_variant_that_a_list_has_passed_over_is_not_deleted(
    shop: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = shop.product("Tea", skus=["S", "M", "L"])
    shop.connect(Sells.VARIANTS)
    shop.sync()
    before, glances = set(shop.products), catalogue.TheirChannel.glances

    def passed_over(theirs: catalogue.TheirChannel) -> dict[str, Glance]:
        found = glances(theirs)
        return {**found, tea: replace(found[tea], variants=found[tea].variants[1:])}

    monkeypatch.setattr(catalogue.TheirChannel, "glances", passed_over)
    assert (shop.sync().deleted, set(shop.products)) == (0, before)


def test_one_kind_of_products_is_replaced_by_the_other_when_the_shop_is_connected_so(shop: Followed) -> None:
    tea, cup = shop.product("Tea", [RED], skus=["S", "M"]), shop.product("Cup", [GREEN], skus=["ONE"])
    shop.connect()
    shop.sync()
    shop.connect(Sells.VARIANTS)
    result = shop.sync()
    assert (result.added, result.deleted, result.pictures) == (3, 2, 0)
    assert {product.sku for product in shop.products.values()} == {"S", "M", "ONE"}
    shop.connect(Sells.PRODUCTS)
    result = shop.sync()
    assert (result.restored, result.deleted, set(shop.products)) == (2, 3, {tea, cup})
    assert [shop.pictures(one) for one in (tea, cup)] == [{digest(RED)}, {digest(GREEN)}]


def test_pictures_that_cannot_be_used_are_told_and_stop_nothing(shop: Followed) -> None:
    tiny = jpeg((1, 2, 3), size=8)
    tea = shop.product("Tea", [tiny, RED])
    shop.connect()
    first = shop.sync()
    assert [(one.product_id, one.reason[:9]) for one in first.refused] == [(tea, "too small")]
    assert shop.pictures(tea) == {digest(RED)}
    shop.rename(tea, "Green tea")
    second = shop.sync()
    assert (second.pictures, len(second.refused)) == (0, 1)  # it is not fetched again
    again = shop.sync(full=True)
    assert (again.pictures, len(again.refused)) == (1, 1)  # unless somebody asks for that


def test_after_a_connection_was_made_anew_products_go_on_where_they_were(shop: Followed) -> None:
    tea, cup, pot = (shop.product(name, [RED]) for name in ("tea", "cup", "pot"))
    shop.connect()
    shop.sync()
    disconnect(shop.stores.database, "default", by=BY)
    with pytest.raises(NotFoundError, match="not connected"):
        shop.sync()
    assert set(shop.products) == {tea, cup, pot}
    shop.delete(pot)
    revision = len(shop.history())
    shop.connect()
    shop.sync()
    assert shop.history(revision) == [("product-deleted", pot)]


class Meanwhile(Silent):
    """Does something when a sync has read what it is to do."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def stage(self, name: str, total: int | None = None) -> None:  # noqa: ARG002
        if total is not None:
            self._do()


def test_what_is_asked_for_during_a_look_at_everything_is_looked_at_afterwards(shop: Followed) -> None:
    shop.connect()

    def ask() -> None:
        with shop.stores.database.write() as tx:
            store.scan_now(tx, ["default"], clock.now(tx))

    sync_module.sync(shop.stores, "default", sync_module.Order(), Meanwhile(ask))
    assert shop.state().state.scan_at <= shop.now()
    shop.sync()
    assert shop.state().state.scan_at > shop.now()


def test_a_sync_of_what_is_disconnected_meanwhile_writes_nothing(shop: Followed) -> None:
    shop.product("tea", [RED])
    shop.connect()
    gone = Meanwhile(lambda: disconnect(shop.stores.database, "default", by=BY))
    with pytest.raises(BusyError):
        sync_module.sync(shop.stores, "default", sync_module.Order(), gone)
    assert shop.products == {}
    with shop.stores.database.read() as tx:
        assert tx.execute(select(vendure_assets)).all() == []


def test_one_sync_of_a_channel_runs_at_a_time(shop: Followed) -> None:
    shop.connect()
    with (
        held(shop.stores.database, sync_lease("default")),
        pytest.raises(BusyError, match="a sync of default with Vendure is running"),
    ):
        shop.sync()
    assert shop.state().state.attempts == 0  # that is no failure
    shop.sync()


@pytest.mark.parametrize(
    ("error", "has_barcodes"),
    [
        ({"message": "no", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}, None),
        ({"message": 'Cannot query field "barcode" on type "ProductVariantCustomFields".'}, False),
        ({"message": "must have a selection", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}, False),
    ],
)
def test_products_are_not_read_without_their_barcodes_because_of_a_failure(
    error: dict[str, object], has_barcodes: bool | None
) -> None:
    channel = {"defaultLanguageCode": "en", "defaultCurrencyCode": "EUR"}
    settings = {"serverConfig": {"moneyStrategyPrecision": 2}}
    answers = iter([{"data": {"activeChannel": channel, "globalSettings": settings}}, {"errors": [error]}])
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=next(answers)))
    with VendureClient("https://shop.example", SessionToken("t"), transport=transport) as client:
        if has_barcodes is None:
            with pytest.raises(VendureError, match="Vendure answers: no"):
                catalogue.their_channel(client, "t", Sells.PRODUCTS)
        else:
            found = catalogue.their_channel(client, "t", Sells.PRODUCTS).conditions
            assert found.has_barcodes is has_barcodes


def test_a_failure_is_written_and_tried_again_later(shop: Followed) -> None:
    shop.connect(credentials=shop.server.administrator(TO_CONNECT, [shop.theirs.id]))
    shop.sync()
    with shop.stores.database.write() as tx:
        tx.execute(update(vendure_servers).values(password="changed there"))
    with pytest.raises(VendureAccessError, match="check name and password"):
        shop.sync()
    state = shop.state().state
    assert (state.attempts, state.error is not None) == (1, True)
    assert state.retry_at is not None
    assert state.retry_at > shop.now()


def test_a_bug_of_ours_is_not_tried_again_every_second(shop: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.connect()
    monkeypatch.setattr(catalogue.TheirChannel, "ids", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shop.sync()
    state = shop.state().state
    assert (state.attempts, state.error) == (1, "Shelfsight failed (ZeroDivisionError)")
    assert state.retry_at is not None
