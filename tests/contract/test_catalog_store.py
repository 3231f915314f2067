"""The catalogue keeps what it is told, in order, on either database and whoever else writes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from shelfsight.catalog.rules import (
    ChangeKind,
    ProductDetails,
    ProductState,
)
from shelfsight.catalog.store import channels, images, products
from shelfsight.catalog.store.changes import changes_since
from shelfsight.database import tables
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError, UsageError
from tests.contract.catalog import (
    APPLE,
    MARIA,
    NAMES,
    NOW,
    PEAR,
    add,
    history,
    image,
    kinds,
    listed,
    sha256,
    stored,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_every_script_come_back_as_they_were(database: Database, name: str) -> None:
    add(database, "p", ProductDetails(name=name, sku=name[:100].strip()))
    assert stored(database, "p").name == name
    assert listed(database, text=name) == ["p"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.decimals(min_value=0, max_value=Decimal("9999999999.9999"), places=4)
    | st.decimals(min_value=0, max_value=100, places=2)
)
def test_prices_are_exact(database: Database, price: Decimal) -> None:
    with database.write() as connection:
        batch = {"p": ProductDetails(name="p", price=price, currency="EUR")}
        products.put(connection, "default", batch, MARIA)
    assert stored(database, "p").price == price


def test_a_product_is_added_once(database: Database) -> None:
    added = add(database, "p")
    assert added == stored(database, "p")
    assert (added.revision, added.created_at, added.deleted_at) == (1, NOW, 0)
    with pytest.raises(ConflictError, match="is there already"):
        add(database, "p", PEAR)
    assert stored(database, "p").values() == wanted(APPLE)
    assert kinds(database) == ["product-added"]


def test_the_same_id_in_two_channels_is_two_products(database: Database) -> None:
    with database.write() as connection:
        channels.create(connection, "other", {}, MARIA)
    add(database, "p", APPLE)
    add(database, "p", PEAR, "other")
    with database.write() as connection:
        products.delete(connection, "other", "p", stamp=MARIA)
    assert stored(database, "p").values() == wanted(APPLE)
    assert [entry.revision for entry in history(database, "other")] == [1, 2]


def test_nothing_is_added_to_a_channel_that_is_not_there(database: Database) -> None:
    with pytest.raises(NotFoundError, match="channel 'none'"):
        add(database, "p", channel_id="none")


@pytest.mark.parametrize(
    "product_id", ["", "x" * 129, "a/b", "..", " a", "a\n", "a\0", "\ud800", "e\u0301", "a\u200b"]
)
def test_what_is_invisible_or_a_path_is_no_product_id(database: Database, product_id: str) -> None:
    with pytest.raises(UsageError, match="cannot be the id"):
        add(database, product_id)


def test_a_change_touches_what_it_names_only(database: Database) -> None:
    before = add(database, "p")
    with database.write() as connection:
        after = products.change(connection, "default", "p", {"price": Decimal("0.40")}, stamp=MARIA, expected=1)
    assert after == replace(before, price=Decimal("0.40"), revision=2) == stored(database, "p")
    assert kinds(database) == ["product-added", "product-changed"]


def test_a_change_to_what_is_so_already_makes_no_entry(database: Database) -> None:
    before = add(database, "p")
    with database.write() as connection:
        same = products.change(connection, "default", "p", {"price": Decimal("0.350"), "name": "Apple"}, stamp=MARIA)
        kept = products.put(connection, "default", {"p": APPLE}, MARIA)
        assert products.restore(connection, "default", "p", stamp=MARIA) == before
    assert same == before
    assert kept == {"p": (before, None)}
    assert kinds(database) == ["product-added"]


def test_a_deleted_product_is_kept_and_can_be_restored(database: Database) -> None:
    add(database, "p")
    with database.write() as connection:
        products.delete(connection, "default", "p", stamp=MARIA)
        again = products.delete(connection, "default", "p", stamp=replace(MARIA, at=datetime(2030, 1, 1, tzinfo=UTC)))
    assert stored(database, "p").deleted_at == again.deleted_at == int(NOW.timestamp())
    assert (listed(database), listed(database, state=ProductState.DELETED)) == ([], ["p"])
    with pytest.raises(ConflictError, match="restore it first"), database.write() as connection:
        products.change(connection, "default", "p", {"name": "x"}, stamp=MARIA)
    with pytest.raises(ConflictError, match="was deleted: restore it"):
        add(database, "p")
    with database.write() as connection:
        products.restore(connection, "default", "p", stamp=MARIA)
    assert (listed(database), listed(database, state=ProductState.DELETED)) == (["p"], [])
    assert kinds(database) == ["product-added", "product-deleted", "product-restored"]


def test_a_deletion_at_the_epoch_is_still_a_deletion(database: Database) -> None:
    add(database, "p")
    with database.write() as connection:
        products.delete(connection, "default", "p", stamp=replace(MARIA, at=datetime.fromtimestamp(0, UTC)))
    assert stored(database, "p").deleted_at == 1


def test_a_batch_adds_changes_restores_and_leaves_alone(database: Database) -> None:
    for product_id in ("same", "other", "deleted"):
        add(database, product_id)
    with database.write() as connection:
        products.delete(connection, "default", "deleted", stamp=MARIA)
        batch = {"new": PEAR, "same": APPLE, "other": PEAR, "deleted": APPLE}
        written = products.put(connection, "default", batch, MARIA)
    assert {product_id: kind for product_id, (_, kind) in written.items()} == {
        "new": ChangeKind.PRODUCT_ADDED,
        "same": None,
        "other": ChangeKind.PRODUCT_CHANGED,
        "deleted": ChangeKind.PRODUCT_RESTORED,
    }
    for product_id, (product, _) in written.items():
        assert stored(database, product_id) == product
    assert [entry.revision for entry in history(database)] == list(range(1, 8))


def test_a_batch_of_a_thousand_is_written_whole_and_one_more_is_refused(database: Database) -> None:
    batch = {f"p{number:04}": replace(APPLE, name=f"Apple {number}") for number in range(1000)}
    with database.write() as connection:
        products.put(connection, "default", batch, MARIA)
    with database.read() as connection:
        assert {each.id: each.values() for each in products.each(connection, "default")} == {
            product_id: wanted(details) for product_id, details in batch.items()
        }
        assert products.count(connection, "default") == 1000
    with pytest.raises(UsageError, match="at most 1000"), database.write() as connection:
        products.put(connection, "default", {**batch, "one more": APPLE}, MARIA)


def test_pages_follow_each_other_without_gap_or_repeat_while_products_come_and_go(database: Database) -> None:
    with database.write() as connection:
        products.put(connection, "default", {f"p{number:02}": APPLE for number in range(0, 20, 2)}, MARIA)
    seen: list[str] = []
    for new in (3, 11, 15):
        add(database, f"p{new:02}")
        with database.read() as connection:
            page = products.page(connection, "default", after=seen[-1] if seen else None, limit=4)
        seen += [product.id for product in page]
    assert seen == ["p00", "p02", "p03", "p04", "p06", "p08", "p10", "p11", "p12", "p14", "p15", "p16"]


@pytest.mark.parametrize(
    "text", ["crème", "CREME", "brulee", "  BRÛLÉE ", "b-77", "333931", "Ｃrème", "Crème  Brûlée"]
)
def test_a_search_minds_neither_case_nor_accents(database: Database, text: str) -> None:
    add(database, "p", replace(APPLE, name="Crème Brûlée", sku="B-77"))
    add(database, "q", replace(PEAR, name="100% Pear_juice"))
    assert listed(database, text=text) == ["p"]


@pytest.mark.parametrize(("text", "found"), [("%", ["q"]), ("_", ["q"]), ("juice b", []), ("", ["p", "q"])])
def test_a_search_takes_every_character_at_its_word(database: Database, text: str, found: list[str]) -> None:
    add(database, "p", APPLE)
    add(database, "q", ProductDetails(name="100% Pear_juice", sku="B-77"))
    assert sorted(listed(database, text=text)) == found


def test_images_belong_to_their_product_and_are_there_once(database: Database) -> None:
    add(database, "p")
    with database.write() as connection:
        new = images.add(connection, "default", "p", [image("p", 1), image("p", 2), image("p", 1)], MARIA)
        again = images.add(connection, "default", "p", [image("p", 2), image("p", 3)], MARIA)
        images.remove(connection, "default", "p", sha256(2), MARIA)
    assert (new, again) == ([image("p", 1), image("p", 2)], [image("p", 3)])
    with database.read() as connection:
        assert images.page(connection, "default", "p", limit=10) == [image("p", 1), image("p", 3)]
        assert images.page(connection, "default", "p", after=sha256(1), limit=10) == [image("p", 3)]
        assert images.get(connection, "default", "p", sha256(3)) == image("p", 3)
        assert images.known(connection, "default", map(sha256, (1, 2, 3))) == {sha256(1), sha256(3)}
        with pytest.raises(NotFoundError):
            images.get(connection, "default", "p", sha256(2))
    about = [(entry.kind, entry.product_id, entry.image_sha256) for entry in history(database)]
    assert about == [
        ("product-added", "p", None),
        ("image-added", "p", sha256(1)),
        ("image-added", "p", sha256(2)),
        ("image-added", "p", sha256(3)),
        ("image-removed", "p", sha256(2)),
    ]


def test_only_active_products_are_trained_on(database: Database) -> None:
    for product_id in ("p", "q", "gone", "bare"):
        add(database, product_id)
    with database.write() as connection:
        for product_id, number in (("q", 2), ("p", 1), ("gone", 1), ("q", 1)):
            images.add(connection, "default", product_id, [image(product_id, number)], MARIA)
        products.delete(connection, "default", "gone", stamp=MARIA)
    with database.read() as connection:
        pairs = list(images.of_active_products(connection, "default"))
        assert pairs == [("p", sha256(1)), ("q", sha256(1)), ("q", sha256(2))]
        assert images.count(connection, "default") == 3
        assert images.owners(connection, "default", [sha256(1), sha256(9)]) == {sha256(1): ["p", "q"]}
    with pytest.raises(ConflictError, match="deleted"), database.write() as connection:
        images.add(connection, "default", "gone", [image("gone", 5)], MARIA)
    with pytest.raises(NotFoundError), database.write() as connection:
        images.add(connection, "default", "never", [image("never", 5)], MARIA)


def test_two_writers_with_the_same_revision_and_one_of_them_is_refused(database: Database) -> None:
    add(database, "p")
    start = threading.Barrier(2)

    def write(name: str) -> str:
        start.wait()
        try:
            with database.write() as connection:
                products.change(connection, "default", "p", {"name": name}, stamp=MARIA, expected=1)
        except StaleWriteError:
            return "refused"
        return name

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(write, ["first", "second"]))
    assert results[1] == "refused" or results[0] == "refused"
    assert stored(database, "p").name in results
    assert stored(database, "p").revision == 2


def test_eight_writers_at_once_make_revisions_without_gap(database: Database) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            add(database, f"p{writer}-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert [entry.revision for entry in history(database)] == list(range(1, 81))
    with database.read() as connection:
        assert channels.get(connection, "default").revision == 80
        revisions = {product.id: product.revision for product in products.each(connection, "default")}
    assert {entry.product_id: entry.revision for entry in history(database)} == revisions


def test_a_reader_beside_writers_never_misses_a_change(database: Database) -> None:
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(10):
            with database.write() as connection:
                batch = {f"p{writer}-{number}-{part}": APPLE for part in range(3)}
                products.put(connection, "default", batch, MARIA)

    def read() -> list[int]:
        seen = [0]
        while True:
            ended = done.is_set()
            with database.read() as connection:
                new = changes_since(connection, "default", seen[-1], 7)
            seen += [entry.revision for entry in new]
            if ended and not new:
                return seen[1:]

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            list(pool.map(write, range(4)))
        finally:
            done.set()
        assert [reader.result() for reader in readers] == [list(range(1, 121))] * 2


def add_twice(database: Database) -> None:
    with database.write() as connection:
        products.add(connection, "default", "p", APPLE, MARIA)
        products.add(connection, "default", "p", APPLE, MARIA)


def test_what_is_undone_leaves_no_revision_behind(database: Database) -> None:
    with pytest.raises(ConflictError):
        add_twice(database)
    add(database, "q")
    assert [(entry.revision, entry.product_id) for entry in history(database)] == [(1, "q")]


CHANNELS = count()
PRODUCTS = st.sampled_from(["a", "b", "ü"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "put", "change", "delete", "restore"]), PRODUCTS, st.sampled_from(["Apfel", "Birne"])
    ),
    max_size=15,
)


def steps(name: str) -> dict[str, Callable[..., object]]:
    """What is done to a product of the store, by its word."""
    return {
        "add": lambda tx, channel, product: products.add(tx, channel, product, ProductDetails(name=name), MARIA),
        "put": lambda tx, channel, product: products.put(tx, channel, {product: ProductDetails(name=name)}, MARIA),
        "change": lambda tx, channel, product: products.change(tx, channel, product, {"name": name}, stamp=MARIA),
        "delete": lambda tx, channel, product: products.delete(tx, channel, product, stamp=MARIA),
        "restore": lambda tx, channel, product: products.restore(tx, channel, product, stamp=MARIA),
    }


def expected_after(before: tuple[str, bool] | None, step: str, name: str) -> tuple[str, bool] | None:
    """What (name, deleted) a product has after a step, the same as before where the step is refused."""
    match step, before:
        case ("add", None) | ("put", _):
            return name, False
        case ("change", (_, False)):
            return name, False
        case ("delete", (old, _)):
            return old, True
        case ("restore", (old, _)):
            return old, False
    return before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(STEPS)
def test_any_steps_leave_what_a_dictionary_would_hold(database: Database, taken: list[tuple[str, str, str]]) -> None:
    channel_id = f"c{next(CHANNELS)}"
    with database.write() as connection:
        channels.create(connection, channel_id, {}, MARIA)
    model: dict[str, tuple[str, bool]] = {}
    entries = 0
    for step, product_id, name in taken:
        after = expected_after(model.get(product_id), step, name)
        entries += after != model.get(product_id)
        try:
            with database.write() as connection:
                steps(name)[step](connection, channel_id, product_id)
        except (ConflictError, NotFoundError):
            assert after == model.get(product_id)
        if after:
            model[product_id] = after
    with database.read() as connection:
        kept = {each.id: each for each in products.each(connection, channel_id, state=ProductState.ALL)}
        last = {entry.product_id: entry.revision for entry in changes_since(connection, channel_id, 0, 1000)}
        amount = connection.scalar(select(func.count()).where(tables.changes.c.channel_id == channel_id))
    assert {each.id: (each.name, each.deleted_at > 0) for each in kept.values()} == model
    assert {each.id: each.revision for each in kept.values()} == last
    assert amount == entries
