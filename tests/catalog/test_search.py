"""Product search with the help of Typesense: what is asked when, and what becomes of trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.catalog.index import ProductIndex, longest_word
from shelfsight.catalog.rules import ProductDetails, ProductState
from shelfsight.catalog.search import AGAIN_AFTER_S, ProductSearch
from shelfsight.catalog.store import channels, products
from shelfsight.errors import BusyError, UnavailableError
from shelfsight.jobs import product_index
from shelfsight.leases.lease import held
from shelfsight.partners.typesense import Patience
from shelfsight.settings import TypesenseSettings
from shelfsight.storage import open_storage
from tests.backfill.typesense_server import API_KEY, Fault, TypesenseServer, typesense_server
from tests.contract.catalog import MARIA, NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from shelfsight.database.engine import Database

NAME = "shelfsight_products"


@pytest.fixture
def server() -> Iterator[TypesenseServer]:
    with typesense_server() as running:
        yield running


@pytest.fixture
def settings(server: TypesenseServer) -> TypesenseSettings:
    return TypesenseSettings(url=server.url, api_key=API_KEY)


@pytest.fixture
def search(sqlite: Database, settings: TypesenseSettings) -> Iterator[ProductSearch]:
    made = ProductSearch(sqlite, settings)
    yield made
    made.close()


def _put(database: Database, *ids: str, name: str = "Olive") -> None:
    with database.write() as tx:
        products.put(tx, "default", {each: ProductDetails(name=name) for each in ids}, MARIA)


def _found(search: ProductSearch, text: str = "olive") -> list[str]:
    return [each.id for each in search.page("default", state=ProductState.ACTIVE, text=text, limit=10_000)]


def _searches(server: TypesenseServer) -> int:
    return server.seen.count("GET search")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Huile d'Olive", "huile"),
        ("OIL-12/3", "oil"),
        ("crème", "creme"),
        ("老干妈 oil", "oil"),
        ("老干妈", None),
        ("a_bc", "bc"),
        ("%", None),
        ("", None),
    ],
)
def test_the_longest_word_of_a_text_is_what_typesense_looks_for(text: str, word: str | None) -> None:
    assert longest_word(text) == word


def test_typesense_says_where_to_look(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch
) -> None:
    _put(sqlite, "a", "b")
    product_index.follow(sqlite, settings)
    del server.documents(NAME)["default:a"]

    assert _found(search) == ["b"], "the database looked by itself"


def test_only_active_products_are_asked_of_typesense(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch
) -> None:
    _put(sqlite, "a")
    product_index.follow(sqlite, settings)
    with sqlite.write() as tx:
        products.delete(tx, "default", "a", stamp=MARIA)

    deleted = search.page("default", state=ProductState.DELETED, text="olive", limit=10)

    assert ([each.id for each in deleted], _searches(server)) == (["a"], 0)


def test_a_channel_that_typesense_does_not_know_is_searched_in_the_database(
    sqlite: Database, server: TypesenseServer, search: ProductSearch
) -> None:
    _put(sqlite, "a")
    with capture_logs() as log:
        assert _found(search) == ["a"]

    assert (log, _searches(server)) == ([], 0)


@pytest.mark.parametrize("fault", [Fault.LAGGING, Fault.CUT_BEFORE, Fault.CUT_ANSWER])
def test_a_typesense_in_trouble_is_left_alone_for_a_while(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, fault: Fault
) -> None:
    _put(sqlite, "a")
    product_index.follow(sqlite, settings)
    seconds = [100.0]
    search = ProductSearch(sqlite, settings, now=lambda: seconds[0])
    server.fail_next(fault, "search")

    with capture_logs() as log:
        assert _found(search) == ["a"]
    asked = _searches(server)
    assert [(entry["event"], entry["log_level"]) for entry in log] == [
        ("products_searched_without_typesense", "warning")
    ]
    assert API_KEY not in str(log)
    assert _found(search) == ["a"]
    assert _searches(server) == asked
    seconds[0] += AGAIN_AFTER_S
    assert _found(search) == ["a"]
    assert _searches(server) == asked + 1
    search.close()


def test_what_many_changes_touched_is_searched_in_the_database_until_typesense_knows(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch
) -> None:
    product_index.follow(sqlite, settings)
    for start in range(0, 1200, 600):
        _put(sqlite, *(f"p{number:04}" for number in range(start, start + 600)))
    assert len(_found(search)) == 1200

    product_index.follow(sqlite, settings)

    assert len(server.documents(NAME)) == 1200
    assert server.documents(f"{NAME}_revisions")["default"]["revision"] == 1200


def test_only_what_changed_is_written_again(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings
) -> None:
    _put(sqlite, "a", "b")
    product_index.follow(sqlite, settings)
    server.documents(NAME)["default:a"]["text"] = "left alone"
    _put(sqlite, "b", name="Butter")

    product_index.follow(sqlite, settings)

    assert [each["text"] for each in server.documents(NAME).values()] == ["left alone", "butter"]


def _make(database: Database, *ids: str, at: datetime = NOW) -> None:
    for channel in ids:
        with database.write() as tx:
            channels.create(tx, channel, {"name": channel}, replace(MARIA, at=at))
            products.put(tx, channel, {"tea": ProductDetails(name="Tea")}, MARIA)


def test_where_nothing_changed_nothing_is_asked_for_each_channel(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings
) -> None:
    _make(sqlite, *(f"shop{number}" for number in range(20)))
    product_index.follow(sqlite, settings)
    before = len(server.seen)

    product_index.follow(sqlite, settings)

    assert server.seen[before:] == ["GET collection", "GET collection", "GET export"]


def test_of_a_channel_that_was_deleted_nothing_stays(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings
) -> None:
    _make(sqlite, "T-1", "t1")  # which are the same to a filter of Typesense
    product_index.follow(sqlite, settings)
    with sqlite.write() as tx:
        channels.delete(tx, "T-1")
    server.fail_next(Fault.CUT_ANSWER, "delete")
    with capture_logs() as log:
        product_index.follow(sqlite, settings)
    assert [entry["event"] for entry in log] == ["products_not_indexed"]

    product_index.follow(sqlite, settings)

    assert set(server.documents(NAME)) == {"t1:tea"}
    assert set(server.documents(f"{NAME}_revisions")) == {"default", "t1"}


def test_a_channel_that_was_made_again_has_none_of_the_former_products(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings
) -> None:
    _make(sqlite, "other")
    product_index.follow(sqlite, settings)
    with sqlite.write() as tx:
        channels.delete(tx, "other")
    with sqlite.write() as tx:
        channels.create(tx, "other", {"name": "Other"}, replace(MARIA, at=NOW + timedelta(seconds=1)))

    product_index.follow(sqlite, settings)

    assert server.documents(NAME) == {}


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_HALFWAY, Fault.CUT_ANSWER])
def test_what_broke_off_is_written_the_next_time(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch, fault: Fault
) -> None:
    _put(sqlite, "a", "b")
    server.fail_next(fault)
    with capture_logs() as log:
        product_index.follow(sqlite, settings)
    assert [entry["event"] for entry in log] == ["products_not_indexed"]
    assert _found(search) == ["a", "b"]

    product_index.follow(sqlite, settings)

    assert set(server.documents(NAME)) == {"default:a", "default:b"}
    assert _found(search) == ["a", "b"]
    assert _searches(server) == 1


def test_a_product_that_typesense_refuses_leaves_its_channel_to_the_database(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch
) -> None:
    _put(sqlite, "a", "b")
    server.refused_ids = {"default:a"}
    with capture_logs() as log:
        product_index.follow(sqlite, settings)

    assert "refuses 'default:a'" in log[0]["reason"]
    assert _found(search) == ["a", "b"]


def test_one_worker_at_a_time_writes(sqlite: Database, server: TypesenseServer, settings: TypesenseSettings) -> None:
    _put(sqlite, "a")
    with held(sqlite, product_index.PRODUCT_INDEX):
        product_index.follow(sqlite, settings)
        assert server.collections == {}
        with pytest.raises(BusyError, match="writing of products into Typesense is running"):
            product_index.rebuild(sqlite, settings, lambda _count: None)


def test_what_a_worker_wrote_that_was_overtaken_is_written_again(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings
) -> None:
    _put(sqlite, "a")
    index = ProductIndex(settings)
    index.follow(sqlite)
    _put(sqlite, "a", name="Oil")

    def overtaken() -> None:
        server.documents(NAME)["default:a"]["text"] = "stale"
        raise BusyError("another has taken over")

    with pytest.raises(BusyError):
        index.follow(sqlite, is_ours=overtaken)
    index.follow(sqlite)
    index.close()

    assert server.documents(NAME)["default:a"]["text"] == "oil"


def test_a_rebuild_starts_from_nothing(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, search: ProductSearch
) -> None:
    _put(sqlite, "a", "b")
    product_index.follow(sqlite, settings)
    server.documents(NAME).clear()
    server.collections[NAME].fields.clear()
    told: list[int] = []

    product_index.rebuild(sqlite, settings, told.append)

    assert (sum(told), set(server.documents(NAME))) == (2, {"default:a", "default:b"})
    assert _found(search) == ["a", "b"]


def test_a_rebuild_says_that_typesense_is_not_there(sqlite: Database) -> None:
    gone = TypesenseSettings(url="http://127.0.0.1:9", api_key=API_KEY)
    index = ProductIndex(gone, patience=Patience(seconds=0))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 cannot be reached"):
        index.drop()
    index.close()


def test_the_list_of_products_is_searched_with_typesense(
    sqlite: Database, server: TypesenseServer, settings: TypesenseSettings, tmp_path: Path
) -> None:
    _put(sqlite, "a")
    product_index.follow(sqlite, settings)
    services = Services(database=sqlite, storage=open_storage(tmp_path / "assets"), typesense=settings)
    token = create_token(sqlite, NewToken(name="test", scopes=("channel:default:read",)), by=COMMAND_LINE).text
    with TestClient(build_app(services), headers={"authorization": f"Bearer {token}"}) as client:
        answer = client.get("/api/v1/channels/default/products", params={"q": "liv"}).json()

    assert ([each["id"] for each in answer["items"]], _searches(server)) == (["a"], 1)
